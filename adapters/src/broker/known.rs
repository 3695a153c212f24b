//! Which queues are there, so that they need not be made before each message.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::BrokerError;

/// Queues that are remembered as made.
const MAX_KNOWN: usize = 1024;

/// The queues that one connection has made, or found.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<Mutex<HashSet<String>>>);

impl Known {
    /// Makes a queue unless it is known; who comes meanwhile waits.
    pub(super) async fn see(
        &self,
        queue: &str,
        make: impl Future<Output = Result<(), BrokerError>>,
    ) -> Result<(), BrokerError> {
        let mut known = self.0.lock().await;
        if known.contains(queue) {
            return Ok(());
        }
        make.await?;
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(queue.to_owned());
        Ok(())
    }

    /// It may not be there any more.
    pub(super) async fn forget(&self, queue: &str) {
        self.0.lock().await.remove(queue);
    }
}
