//! Logging a cause that a peer can repeat without end.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a cause is not logged again.
const PAUSE: Duration = Duration::from_secs(10);

/// Lets one line per cause and ten seconds through. Causes are a fixed set of words.
#[derive(Debug, Default)]
pub struct LogLimit {
    last: Mutex<HashMap<&'static str, (Instant, u64)>>,
}

impl LogLimit {
    /// `Some` when the cause may be logged now, with the number of times it was not since the last time.
    pub fn allow(&self, cause: &'static str) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let Some((since, unlogged)) = last.get_mut(cause) else {
            last.insert(cause, (now, 0));
            return Some(0);
        };
        if now - *since < PAUSE {
            *unlogged += 1;
            return None;
        }
        *since = now;
        Some(std::mem::take(unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_cause_is_logged_once_in_a_while() {
        let limit = LogLimit::default();
        assert_eq!(limit.allow("a"), Some(0));
        assert_eq!(
            (limit.allow("a"), limit.allow("a"), limit.allow("b")),
            (None, None, Some(0))
        );
        tokio::time::advance(PAUSE).await;
        assert_eq!(limit.allow("a"), Some(2));
    }
}
