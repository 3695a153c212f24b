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
pub(super) const MAX_HOSTS: usize = 10_000;

#[derive(Debug)]
pub(super) struct Hosts {
    own: String,
    patience: Duration,
    seen: Mutex<Seen>,
}

/// When each host was last heard of.
#[derive(Debug, Default)]
struct Seen {
    alive: HashMap<String, Alive>,
    /// Hosts that said farewell. An id is never used again, so a heartbeat that comes later was sent before.
    gone: HashMap<String, Instant>,
}

#[derive(Debug)]
struct Alive {
    last: Instant,
    /// See [`Lead`](super::lead::Lead).
    rank: Option<u64>,
}

/// What a heartbeat is to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Of a host not known before.
    New,
    Known,
    /// Of this host itself, of one that has said farewell, or of one too many.
    Ignored,
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

    /// A host showed itself.
    pub(super) fn alive(&self, host: String, rank: Option<u64>) -> Beat {
        self.change(|seen| {
            let full = seen.alive.len() >= MAX_HOSTS && !seen.alive.contains_key(&host);
            if full || host == self.own || seen.gone.contains_key(&host) {
                return Beat::Ignored;
            }
            let last = Instant::now();
            match seen.alive.insert(host, Alive { last, rank }) {
                Some(_) => Beat::Known,
                None => Beat::New,
            }
        })
    }

    /// A host left.
    pub(super) fn gone(&self, host: &str) {
        self.change(|seen| {
            seen.alive.remove(host);
            if seen.gone.len() < MAX_HOSTS {
                seen.gone.insert(host.to_owned(), Instant::now());
            }
        });
    }

    /// All that are alive but this one.
    pub(super) fn others(&self) -> HashSet<String> {
        self.change(|seen| seen.alive.keys().cloned().collect())
    }

    /// Whether a host that is alive has a lower rank, or the same and a lower id.
    pub(super) fn has_senior(&self, rank: u64, own: &str) -> bool {
        let is_senior = |(id, host): (&String, &Alive)| host.rank.is_some_and(|its| (its, id.as_str()) < (rank, own));
        self.change(|seen| seen.alive.iter().any(is_senior))
    }

    /// The highest rank of a host that is alive; zero when none has one.
    pub(super) fn highest_rank(&self) -> u64 {
        let highest = |seen: &mut Seen| seen.alive.values().filter_map(|host| host.rank).max();
        self.change(highest).unwrap_or_default()
    }

    fn change<R>(&self, action: impl FnOnce(&mut Seen) -> R) -> R {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        seen.alive.retain(|_, host| now - host.last < self.patience);
        seen.gone.retain(|_, last| now - *last < self.patience);
        let result = action(&mut seen);
        #[expect(clippy::cast_precision_loss, reason = "at most ten thousand")]
        gauge!(metric::HOSTS).set((seen.alive.len() + 1) as f64);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_that_falls_silent_is_forgotten() {
        let hosts = Hosts::new("me".into(), Duration::from_secs(1));
        let alive = |host: &str| hosts.alive(host.into(), None);
        assert_eq!([alive("a"), alive("b")], [Beat::New; 2]);
        assert_eq!([alive("a"), alive("me")], [Beat::Known, Beat::Ignored]);
        tokio::time::advance(Duration::from_secs(2)).await;
        alive("a");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(hosts.others(), HashSet::from(["a".to_owned()]));
        hosts.gone("a");
        assert_eq!((hosts.others().len(), alive("a")), (0, Beat::Ignored));
        tokio::time::advance(Duration::from_secs(3)).await;
        hosts.gone("b");
        assert_eq!(hosts.seen.lock().unwrap().gone.len(), 1, "farewells are forgotten too");
    }
}
