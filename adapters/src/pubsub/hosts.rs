//! Which gateways are alive.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::gauge;

use super::living::{self, Beat, Living};
use crate::metric;

/// The other hosts that hold sockets, and where each stands among those that may [`lead`](super::lead::Lead).
#[derive(Debug)]
pub(super) struct Hosts {
    patience: Duration,
    seen: Mutex<Living<Option<u64>>>,
}

impl Hosts {
    pub(super) fn new(own: String, interval: Duration) -> Self {
        Self {
            patience: living::patience(interval),
            seen: Mutex::new(Living::new(own, interval)),
        }
    }

    /// How long a host may be silent.
    pub(super) const fn patience(&self) -> Duration {
        self.patience
    }

    /// A host showed itself.
    pub(super) fn alive(&self, host: String, rank: Option<u64>) -> Beat {
        self.change(|seen| seen.see(host, rank))
    }

    /// A host left.
    pub(super) fn gone(&self, host: &str) {
        self.change(|seen| seen.leave(host));
    }

    /// All that are alive but this one.
    pub(super) fn others(&self) -> HashSet<String> {
        self.change(|seen| seen.iter().map(|(host, _)| host.clone()).collect())
    }

    /// Whether a host that is alive has a lower rank, or the same and a lower id.
    pub(super) fn has_senior(&self, rank: u64, own: &str) -> bool {
        let is_senior = |(id, its): (&String, &Option<u64>)| its.is_some_and(|its| (its, id.as_str()) < (rank, own));
        self.change(|seen| seen.iter().any(is_senior))
    }

    /// The highest rank of a host that is alive; zero when none has one.
    pub(super) fn highest_rank(&self) -> u64 {
        let highest = |seen: &mut Living<Option<u64>>| seen.iter().filter_map(|(_, rank)| *rank).max();
        self.change(highest).unwrap_or_default()
    }

    fn change<R>(&self, action: impl FnOnce(&mut Living<Option<u64>>) -> R) -> R {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.forget_the_silent();
        let result = action(&mut seen);
        #[expect(clippy::cast_precision_loss, reason = "at most ten thousand")]
        gauge!(metric::HOSTS).set((seen.len() + 1) as f64);
        result
    }
}
