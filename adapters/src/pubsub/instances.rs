//! Which instances are alive: gateways, and workers that show themselves.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::living::{Beat, Living};
use crate::Instance;
use crate::log_limit::LogLimit;

/// The longest id or type of an instance, in bytes; who has a longer one is passed over.
const MAX_NAME: usize = 64;

/// This instance and the others.
///
/// Where two that are alive have the same id, that id means the one that started last: it replaces one that died, or is about to.
#[derive(Debug)]
pub(super) struct Instances {
    own: Instance,
    started: Instant,
    others: Mutex<Living<Other>>,
    doubles: LogLimit,
}

#[derive(Debug)]
struct Other {
    instance: Instance,
    started: Instant,
}

impl Instances {
    pub(super) fn new(own: Instance, interval: Duration) -> Self {
        Self {
            others: Mutex::new(Living::new(own.host_id.clone(), interval)),
            own,
            started: Instant::now(),
            doubles: LogLimit::default(),
        }
    }

    pub(super) const fn own(&self) -> &Instance {
        &self.own
    }

    /// How long ago this one started. Others are told this and no time of day, on which clocks may not agree.
    pub(super) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// An instance showed itself.
    pub(super) fn alive(&self, instance: Instance, age: Duration) -> Beat {
        if instance.id.len() > MAX_NAME || instance.kind.len() > MAX_NAME {
            return Beat::Ignored;
        }
        let now = Instant::now();
        let started = now.checked_sub(age).unwrap_or(now);
        let (id, host) = (instance.id.clone(), instance.host_id.clone());
        let beat = self.others().see(host.clone(), Other { instance, started });
        if beat == Beat::Known && self.find(&id).is_some_and(|newest| newest != host) {
            self.warn_of_doubles(&id, &host);
        }
        beat
    }

    /// An instance left.
    pub(super) fn gone(&self, host: &str) {
        self.others().leave(host);
    }

    /// The hosts of all of them.
    pub(super) fn hosts(&self) -> HashSet<String> {
        let others = self.others();
        let others = others.iter().map(|(host, _)| host);
        others.chain([&self.own.host_id]).cloned().collect()
    }

    /// Whether the host of an instance is alive.
    pub(super) fn has(&self, host: &str) -> bool {
        host == self.own.host_id || self.others().contains(host)
    }

    /// The host of the instance with this id.
    pub(super) fn find(&self, id: &str) -> Option<String> {
        let others = self.others();
        let others = others.iter().map(|(_, other)| (other.started, &other.instance));
        let same = others
            .chain([(self.started, &self.own)])
            .filter(|(_, its)| its.id == id);
        let newest = same.max_by_key(|(started, instance)| (*started, &instance.host_id));
        newest.map(|(_, instance)| instance.host_id.clone())
    }

    /// All of them, in the order of their types and ids.
    pub(super) fn all(&self) -> Vec<Instance> {
        let others = self.others();
        let others = others.iter().map(|(_, other)| &other.instance);
        let mut all: Vec<Instance> = others.chain([&self.own]).cloned().collect();
        all.sort();
        all
    }

    fn others(&self) -> MutexGuard<'_, Living<Other>> {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.forget_the_silent();
        others
    }

    /// One that has been replaced goes on.
    fn warn_of_doubles(&self, id: &str, host: &str) {
        if let Some(unlogged) = self.doubles.allow("same id") {
            tracing::warn!(
                instance = id,
                host_id = host,
                unlogged,
                "two instances have one id; what is for it goes to the one that started last"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(2);

    fn instance(kind: &str, id: &str, host: &str) -> Instance {
        Instance {
            kind: kind.into(),
            id: id.into(),
            host_id: host.into(),
        }
    }

    fn instances() -> Instances {
        Instances::new(instance("gateway", "g", "me"), INTERVAL)
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_started_last_is_meant() {
        let instances = instances();
        let show = |host: &str, age: u64| instances.alive(instance("chat", "chat-1", host), Duration::from_secs(age));
        assert_eq!(instances.find("chat-1"), None);
        assert_eq!(show("new", 5), Beat::New);
        assert_eq!(show("old", 500), Beat::New);
        tokio::time::advance(INTERVAL).await;
        assert_eq!([show("old", 502), show("new", 7)], [Beat::Known; 2]);
        assert_eq!(instances.find("chat-1").as_deref(), Some("new"));
        assert_eq!(instances.all().len(), 3, "both are shown");
        instances.gone("new");
        assert_eq!(instances.find("chat-1").as_deref(), Some("old"));
        // Nor is this one meant when it has been replaced.
        instances.alive(instance("gateway", "g", "replaces me"), Duration::ZERO);
        assert_eq!(instances.find("g").as_deref(), Some("replaces me"));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_death_and_names_are_bounded() {
        let instances = instances();
        instances.alive(instance("a", "a", "a"), Duration::ZERO);
        tokio::time::advance(INTERVAL * 3).await;
        assert_eq!((instances.find("a"), instances.has("a")), (None, false));
        assert_eq!(instances.all(), [instance("gateway", "g", "me")]);
        assert!(instances.has("me"));
        let long = instance("a", &"a".repeat(MAX_NAME + 1), "a");
        assert_eq!(instances.alive(long, Duration::MAX), Beat::Ignored);
    }
}
