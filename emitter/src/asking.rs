//! What an emitter keeps for emits that ask where they go.

use std::sync::Arc;

use hallporter_adapters::url::BrokerUrl;
use hallporter_adapters::{Asking, AskingError, ClientManager, ManagerOptions};
use tokio::sync::OnceCell;

/// Opened by the first emit that asks; an emitter that never asks takes no part in the cluster.
#[derive(Clone, Debug)]
pub(crate) enum Asker {
    /// Over a connection of its own.
    Later(Arc<Later>),
    /// By a worker, which takes part already.
    Known(Arc<Asking>),
}

#[derive(Debug)]
pub(crate) struct Later {
    url: BrokerUrl,
    options: ManagerOptions,
    asking: OnceCell<Asking>,
}

impl Asker {
    pub(crate) fn new(url: BrokerUrl, options: ManagerOptions) -> Self {
        Self::Later(Arc::new(Later {
            url,
            options,
            asking: OnceCell::new(),
        }))
    }

    /// By this manager, which has been started.
    pub(crate) fn over(manager: Arc<dyn ClientManager>) -> Self {
        Self::Known(Arc::new(Asking::Host(manager)))
    }

    /// # Errors
    /// When the broker is away.
    pub(crate) async fn asking(&self) -> Result<&Asking, AskingError> {
        match self {
            Self::Later(later) => {
                let open = || Asking::open(&later.url, later.options.clone());
                later.asking.get_or_try_init(open).await
            }
            Self::Known(asking) => Ok(asking),
        }
    }
}
