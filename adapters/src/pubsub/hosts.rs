//! Which Hallporter hosts are alive.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::gauge;
use tokio::time::Instant;

use crate::metric;

/// Heartbeats a host may miss before it counts as dead, and before one that does not hear its own counts as deaf.
const MISSED: u32 = 3;

/// Hosts remembered at most; whoever can publish could invent any number.
const MAX_HOSTS: usize = 10_000;

#[derive(Debug)]
pub(super) struct Hosts {
    own: String,
    patience: Duration,
    seen: Mutex<HashMap<String, Instant>>,
}

impl Hosts {
    pub(super) fn new(own: String, interval: Duration) -> Self {
        Self {
            own,
            patience: interval * MISSED,
            seen: Mutex::default(),
        }
    }

    /// How long a host may be silent.
    pub(super) const fn patience(&self) -> Duration {
        self.patience
    }

    /// A host showed itself. Returns whether it is new.
    pub(super) fn alive(&self, host: String) -> bool {
        self.change(|seen| {
            if host == self.own || (seen.len() >= MAX_HOSTS && !seen.contains_key(&host)) {
                return false;
            }
            seen.insert(host, Instant::now()).is_none()
        })
    }

    /// A host left.
    pub(super) fn gone(&self, host: &str) {
        self.change(|seen| seen.remove(host));
    }

    /// Whether it is one of ours, and alive.
    pub(super) fn contains(&self, host: &str) -> bool {
        self.change(|seen| seen.contains_key(host))
    }

    /// All that are alive but this one.
    pub(super) fn others(&self) -> HashSet<String> {
        self.change(|seen| seen.keys().cloned().collect())
    }

    fn change<R>(&self, action: impl FnOnce(&mut HashMap<String, Instant>) -> R) -> R {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        seen.retain(|_, last| now - *last < self.patience);
        let result = action(&mut seen);
        #[expect(clippy::cast_precision_loss, reason = "at most ten thousand")]
        gauge!(metric::HOSTS).set((seen.len() + 1) as f64);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_that_falls_silent_is_forgotten() {
        let hosts = Hosts::new("me".into(), Duration::from_secs(1));
        assert!(hosts.alive("a".into()) && hosts.alive("b".into()));
        assert!(!hosts.alive("a".into()) && !hosts.alive("me".into()));
        tokio::time::advance(Duration::from_secs(2)).await;
        hosts.alive("a".into());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(hosts.others(), HashSet::from(["a".to_owned()]));
        hosts.gone("a");
        assert!(!hosts.contains("a"));
    }
}
