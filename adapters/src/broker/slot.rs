//! One connection for all who need it.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::BrokerError;

/// How long to connect, and how long for an answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// Holds a connection, which is made when it is first needed and again after it broke.
#[derive(Debug)]
pub(super) struct Slot<C>(Mutex<Option<C>>);

/// Something that can break.
pub(super) trait Whole {
    /// Whether it can still be used, as far as is known.
    fn is_whole(&self) -> bool;
}

impl<C: Whole + Clone> Slot<C> {
    /// The connection there is, or the one that `open` makes.
    ///
    /// Those who come while a connection is being made wait for it, but none longer than making one may take.
    pub(super) async fn get<F>(&self, open: impl FnOnce() -> F) -> Result<C, BrokerError>
    where
        F: Future<Output = Result<C, BrokerError>>,
    {
        let connection = async {
            let mut slot = self.0.lock().await;
            if let Some(connection) = slot.as_ref().filter(|connection| connection.is_whole()) {
                return Ok(connection.clone());
            }
            *slot = None;
            // Making one takes tens of kilobytes, which no message needs that finds one made.
            Ok(slot.insert(Box::pin(open()).await?).clone())
        };
        within(connection).await
    }
}

impl<C> Default for Slot<C> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

/// Gives up after [`TIMEOUT`].
pub(super) async fn within<T>(action: impl Future<Output = Result<T, BrokerError>>) -> Result<T, BrokerError> {
    let done = timeout(TIMEOUT, action).await;
    done.unwrap_or(Err(BrokerError::TimedOut(TIMEOUT)))
}
