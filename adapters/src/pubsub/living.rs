//! Who showed itself lately.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Heartbeats a host may miss before it counts as dead, and before one that does not hear its own counts as deaf.
const MISSED: u32 = 3;

/// Hosts remembered at most; whoever can publish could invent any number.
pub(super) const MAX_HOSTS: usize = 10_000;

/// Other hosts by their ids, with what each told last.
#[derive(Debug)]
pub(super) struct Living<T> {
    own: String,
    patience: Duration,
    alive: HashMap<String, (Instant, T)>,
    /// Hosts that said farewell. An id is never used again, so a heartbeat that comes later was sent before.
    gone: HashMap<String, Instant>,
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

/// How long a host may be silent.
pub(super) fn patience(interval: Duration) -> Duration {
    interval * MISSED
}

impl<T> Living<T> {
    pub(super) fn new(own: String, interval: Duration) -> Self {
        Self {
            own,
            patience: patience(interval),
            alive: HashMap::new(),
            gone: HashMap::new(),
        }
    }

    /// A host showed itself.
    pub(super) fn see(&mut self, host: String, told: T) -> Beat {
        let full = self.alive.len() >= MAX_HOSTS && !self.alive.contains_key(&host);
        if full || host == self.own || self.gone.contains_key(&host) {
            return Beat::Ignored;
        }
        match self.alive.insert(host, (Instant::now(), told)) {
            Some(_) => Beat::Known,
            None => Beat::New,
        }
    }

    /// A host left.
    pub(super) fn leave(&mut self, host: &str) {
        self.alive.remove(host);
        if self.gone.len() < MAX_HOSTS {
            self.gone.insert(host.to_owned(), Instant::now());
        }
    }

    /// Whoever is silent for too long is dead. To be called before anybody is asked for.
    pub(super) fn forget_the_silent(&mut self) {
        let now = Instant::now();
        self.alive.retain(|_, (last, _)| now - *last < self.patience);
        self.gone.retain(|_, last| now - *last < self.patience);
    }

    /// All that are alive but this one.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &T)> {
        self.alive.iter().map(|(host, (_, told))| (host, told))
    }

    pub(super) fn len(&self) -> usize {
        self.alive.len()
    }

    pub(super) fn contains(&self, host: &str) -> bool {
        self.alive.contains_key(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_that_falls_silent_is_forgotten() {
        let mut living = Living::new("me".into(), Duration::from_secs(1));
        let see = |living: &mut Living<_>, host: &str| {
            living.forget_the_silent();
            living.see(host.into(), ())
        };
        assert_eq!([see(&mut living, "a"), see(&mut living, "b")], [Beat::New; 2]);
        assert_eq!(
            [see(&mut living, "a"), see(&mut living, "me")],
            [Beat::Known, Beat::Ignored]
        );
        tokio::time::advance(Duration::from_secs(2)).await;
        see(&mut living, "a");
        tokio::time::advance(Duration::from_secs(2)).await;
        living.forget_the_silent();
        assert_eq!(living.iter().map(|(host, ())| host).collect::<Vec<_>>(), ["a"]);
        living.leave("a");
        assert_eq!((living.len(), see(&mut living, "a")), (0, Beat::Ignored));
        tokio::time::advance(Duration::from_secs(3)).await;
        living.forget_the_silent();
        assert_eq!(living.gone.len(), 0, "farewells are forgotten too");
    }
}
