//! Emits of those who hold no clients, and want to know where they have gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

#[cfg(feature = "http")]
use crate::GatewayClient;
#[cfg(feature = "http")]
use crate::url::Scheme;
use crate::url::{BrokerUrl, UrlError};
use crate::{Ack, ClientManager, Emit, ManagerError, ManagerOptions, NoSockets, Receipt, Role, Status, manager};

/// How long the broker may take until this host hears itself.
const LISTEN: Duration = Duration::from_secs(5);

/// Asks the gateways of a cluster: as a host of its own that listens to the broker, or, by `http://`, through one of them.
#[derive(Debug)]
pub enum Asking {
    /// A host without sockets, which goes when this is dropped.
    Host(Arc<dyn ClientManager>),
    /// The HTTP API of a gateway.
    #[cfg(feature = "http")]
    Gateway(Box<GatewayClient>),
}

/// Who answered an emit, and where it has gone.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// What the clients answered in time.
    pub acks: Vec<Ack>,
    /// How many were asked and did not answer in time.
    pub missing: usize,
    /// Where it was delivered.
    pub receipt: Receipt,
}

/// Why there is nobody to ask.
#[derive(Debug, thiserror::Error)]
pub enum AskingError {
    /// The URL names nobody.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The broker is away, or said no.
    #[error(transparent)]
    Manager(#[from] ManagerError),
}

impl Asking {
    /// Over a broker, this waits until the gateways have been heard of: for half a canary interval after it listens.
    ///
    /// # Errors
    /// When the URL names neither a broker nor a gateway, or the broker is away.
    pub async fn open(url: &BrokerUrl, options: ManagerOptions) -> Result<Self, AskingError> {
        #[cfg(feature = "http")]
        if url.scheme() == Scheme::Http {
            let client = GatewayClient::new(url.clone(), None)?;
            return Ok(Self::Gateway(Box::new(client)));
        }
        let until_known = options.canary_interval / 2;
        let options = ManagerOptions {
            role: Role::Worker,
            instance_type: "emitter".into(),
            ..options
        };
        let manager = manager(url, options)?;
        manager.connect().await?;
        // Nobody is expected to ask anything of who only asks.
        manager.start(Arc::new(NoSockets::new(drop)));
        let mut status = manager.status();
        let listening = timeout(LISTEN, status.wait_for(|status| *status == Status::Listening)).await;
        if listening.is_err() {
            let (url, after) = (url.masked().to_owned(), LISTEN);
            return Err(ManagerError::TimedOut { url, after }.into());
        }
        sleep(until_known).await;
        Ok(Self::Host(manager))
    }

    /// Emits, and says how many gateways and sockets it was delivered to. Hosts of python-socketio deliver it, and do not say so.
    ///
    /// # Errors
    /// When the broker or gateway did not take it.
    pub async fn emit_with_receipt(&self, emit: Emit, timeout: Duration) -> Result<Receipt, ManagerError> {
        match self {
            Self::Host(manager) => manager.emit_with_receipt(emit, timeout).await,
            #[cfg(feature = "http")]
            Self::Gateway(gateway) => gateway.emit_with_receipt(&emit, timeout).await,
        }
    }

    /// Emits, and collects the acks of the clients. Those of hosts of python-socketio answer to other hosts and through gateways alone.
    ///
    /// # Errors
    /// When the broker or gateway did not take it.
    pub async fn emit_with_ack(&self, emit: Emit, timeout: Duration) -> Result<Answers, ManagerError> {
        match self {
            Self::Host(manager) => {
                let mut stream = manager.emit_with_ack(emit, timeout).await?;
                let mut answers = Answers::default();
                while let Some(ack) = stream.next().await {
                    answers.acks.push(ack);
                }
                answers.missing = stream.missing();
                answers.receipt = stream.receipt();
                Ok(answers)
            }
            #[cfg(feature = "http")]
            Self::Gateway(gateway) => gateway.emit_with_ack(&emit, timeout).await,
        }
    }

    /// Says farewell to the cluster.
    pub async fn close(&self) {
        match self {
            Self::Host(manager) => manager.close().await,
            #[cfg(feature = "http")]
            Self::Gateway(_) => {}
        }
    }
}
