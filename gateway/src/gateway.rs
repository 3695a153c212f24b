//! A gateway, put together and run.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hallporter_adapters::url::UrlError;
use hallporter_adapters::{ClientManager, manager};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client_rooms::ClientRooms;
use crate::config::{Config, Namespace};
use crate::engine::Engine;
use crate::http::{self, Visitors};
use crate::socketio::Server;
use crate::{Handler, metric};

/// How long connections may take to end when the gateway goes.
const GOODBYE: Duration = Duration::from_secs(5);

/// A gateway to be.
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    handlers: Vec<Arc<dyn Handler>>,
    routes: Router,
}

/// Why a gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}{}", advice(reason))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        reason: io::Error,
    },
    /// The broker's URL is of no use.
    #[error("manager.url: {0}")]
    Manager(#[from] UrlError),
    /// A namespace's name is no pattern.
    #[error("namespace: {0}")]
    Namespace(String),
}

impl Gateway {
    /// With this configuration, and no code of the user's.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            handlers: Vec::new(),
            routes: Router::new(),
        }
    }

    /// Hands events to this code first; what it gives back goes to whoever comes after.
    #[must_use]
    pub fn handler(mut self, handler: impl Handler) -> Self {
        self.handlers.push(Arc::new(handler));
        self
    }

    /// Serves these HTTP routes too.
    #[must_use]
    pub fn routes(mut self, routes: Router) -> Self {
        self.routes = self.routes.merge(routes);
        self
    }

    /// Takes the address; clients may connect once [`Bound::serve`] is called.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the configuration names what does not exist.
    pub async fn bind(self) -> Result<Bound, GatewayError> {
        // Before anything is counted.
        let _ = metric::recorder();
        let Self {
            config,
            handlers,
            routes,
        } = self;
        let address = config.listen;
        let listen = |reason| GatewayError::Listen { address, reason };
        let listener = http::listen(address, config.limits.write_stall).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let manager = manager(&config.manager.url, config.manager.options())?;
        let of_namespace = |namespace: &Namespace| {
            let demo = (config.demo == Some(true)).then(|| Arc::new(Visitors) as Arc<dyn Handler>);
            let rooms = ClientRooms::new(namespace).map(|rooms| Arc::new(rooms) as Arc<dyn Handler>);
            handlers.iter().cloned().chain(demo).chain(rooms).collect()
        };
        let (engine, handlers) = Server::open(&config, manager.clone(), of_namespace)
            .map_err(|error| GatewayError::Namespace(error.to_string()))?;
        let router = http::router(&config, manager.clone()).merge(routes);
        Ok(Bound {
            router: http::guarded(http::with_engine(router, &config, engine.clone()), &config),
            config,
            listener,
            address,
            manager,
            engine,
            handlers,
        })
    }
}

/// A gateway that has its address.
pub struct Bound {
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    manager: Arc<dyn ClientManager>,
    engine: Engine,
    /// The handlers that are running.
    handlers: TaskTracker,
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Bound {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The cluster.
    pub fn manager(&self) -> &Arc<dyn ClientManager> {
        &self.manager
    }

    /// Serves until `shutdown`, then lets everybody go.
    ///
    /// # Errors
    /// None at present: what can go wrong has gone wrong before.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), GatewayError> {
        tracing::info!(
            address = %self.address,
            path = self.config.path,
            manager = %self.config.manager.url,
            host_id = self.manager.host_id(),
            "listening"
        );
        let closing = CancellationToken::new();
        let server = tokio::spawn(http::serve(
            self.listener,
            self.router,
            self.config.limits.request_head,
            closing.clone(),
        ));
        shutdown.await;
        tracing::info!("closing");
        closing.cancel();
        self.engine.close();
        self.handlers.close();
        let ended = async { tokio::join!(server, self.handlers.wait(), self.manager.close()) };
        if tokio::time::timeout(GOODBYE, ended).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        Ok(())
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; is another gateway running? choose another address with --listen or HALLPORTER_LISTEN"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege",
        _ => "",
    }
}
