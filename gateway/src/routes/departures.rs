//! Clients that have gone, on their way to who is told.
//!
//! Many may go at once. They are told of together, as many as have gone by the time the next can be sent, and again until somebody takes it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hallporter_adapters::LogLimit;
use hallporter_adapters::envelope::{Disconnect, Event};
use metrics::{Counter, counter};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::error::RouteError;
use super::event;
use super::remote::Way;
use crate::app::{Error, Request};
use crate::metric;

/// Bytes of disconnects that may wait.
const MAX_WAITING: u32 = 64 << 20;

/// What a disconnect takes beside its text, so that empty ones fill the queue some time, too.
const OVERHEAD: usize = 256;

/// Disconnects that are told at once.
const BATCH: usize = 100;

/// Disconnects that are looked at together, of whatever namespaces.
const ARRIVED: usize = 1000;

/// Batches on their way at once.
const IN_FLIGHT: usize = 4;

/// What is waited before a batch is sent again: first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The disconnects of a route.
#[derive(Debug)]
pub(super) struct Departures {
    /// Bounded by `room`.
    queue: UnboundedSender<Gone>,
    room: Arc<Semaphore>,
    way: Arc<Way>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Gone {
    scope: Scope,
    disconnect: Disconnect,
    room: OwnedSemaphorePermit,
}

/// Those of the same are told of together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Scope {
    namespace: String,
    /// The instance that is told, where the route is to single ones.
    instance: Option<String>,
}

/// What those who tell share.
#[derive(Debug)]
struct Shared {
    label: String,
    /// How long one batch may take.
    timeout: Duration,
    waiting: AtomicUsize,
    over: CancellationToken,
    told: Counter,
    log: LogLimit,
}

impl Departures {
    /// Needs a tokio runtime.
    pub(super) fn new(way: Arc<Way>, timeout: Duration, label: &str) -> Self {
        let (queue, gone) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            label: label.to_owned(),
            timeout,
            waiting: AtomicUsize::new(0),
            over: CancellationToken::new(),
            told: counter!(metric::ROUTE_DISCONNECTS, "route" => label.to_owned()),
            log: LogLimit::default(),
        });
        // It ends with the queue, so nobody has to wait for it.
        tokio::spawn(hand_over(gone, way.clone(), shared.clone()));
        let room = Arc::new(Semaphore::new(MAX_WAITING as usize));
        Self {
            queue,
            room,
            way,
            shared,
        }
    }

    /// Notes that a client has gone, and returns at once. What finds no room is dropped.
    ///
    /// # Errors
    /// When its session should name an instance and does not.
    pub(super) fn push(&self, request: &Request) -> Result<(), RouteError> {
        let (session, session_version) = request.session().load()?;
        let instance = self
            .way
            .instance(&session)
            .inspect_err(|_| self.shared.lose("no_instance", 1));
        let instance = instance?.map(str::to_owned);
        let disconnect = Disconnect {
            sid: request.sid().unwrap_or_default().to_owned(),
            user: request.user(),
            reason: request.reason().unwrap_or_default().to_owned(),
            session,
            session_version,
        };
        let size = serde_json::to_vec(&disconnect).map_err(Error::from)?.len() + OVERHEAD;
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let Ok(room) = self.room.clone().try_acquire_many_owned(size) else {
            self.shared.lose("full", 1);
            return Ok(());
        };
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        // The other end is there as long as the runtime is.
        let _ = self.queue.send(Gone {
            scope: Scope {
                namespace: request.namespace().to_owned(),
                instance,
            },
            disconnect,
            room,
        });
        Ok(())
    }

    /// Waits until everybody who has gone is told of.
    pub(super) async fn flush(&self) {
        let _ = self.room.acquire_many(MAX_WAITING).await;
    }

    /// Tells nobody any more.
    pub(super) fn close(&self) {
        self.shared.over.cancel();
        let lost = self.shared.waiting.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.shared.lose("closed", lost);
            tracing::warn!(
                route = self.shared.label,
                lost,
                "the gateway closes, and nobody has been told of these clients that have gone"
            );
        }
    }
}

impl Shared {
    fn lose(&self, reason: &'static str, count: usize) {
        let route = self.label.clone();
        counter!(metric::ROUTE_DISCONNECTS_DROPPED, "route" => route, "reason" => reason).increment(count as u64);
    }
}

/// Sends what has come, a few batches at once. What comes meanwhile is sent together then.
async fn hand_over(mut queue: UnboundedReceiver<Gone>, way: Arc<Way>, shared: Arc<Shared>) {
    let slots = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut arrived = Vec::new();
    while queue.recv_many(&mut arrived, ARRIVED).await > 0 {
        for batch in batches(arrived.drain(..)) {
            let Ok(slot) = slots.clone().acquire_owned().await else {
                return;
            };
            let (way, shared) = (way.clone(), shared.clone());
            tokio::spawn(async move {
                let _slot = slot;
                let over = shared.over.clone();
                over.run_until_cancelled(batch.tell(&way, &shared)).await;
            });
        }
    }
}

/// Those who are told of together.
struct Batch {
    scope: Scope,
    gone: Vec<Gone>,
}

fn batches(gone: impl Iterator<Item = Gone>) -> Vec<Batch> {
    let mut scopes: BTreeMap<Scope, Vec<Gone>> = BTreeMap::new();
    for gone in gone {
        scopes.entry(gone.scope.clone()).or_default().push(gone);
    }
    let mut batches = Vec::new();
    for (scope, mut gone) in scopes {
        while !gone.is_empty() {
            let rest = gone.split_off(gone.len().min(BATCH));
            batches.push(Batch {
                scope: scope.clone(),
                gone: std::mem::replace(&mut gone, rest),
            });
        }
    }
    batches
}

impl Batch {
    /// Tells until somebody takes it. It bears the same id each time.
    async fn tell(self, way: &Way, shared: &Shared) {
        let Scope { namespace, instance } = self.scope;
        let count = self.gone.len();
        let gone = self.gone.into_iter().map(|gone| (gone.disconnect, gone.room));
        // Their room is free once they are told of.
        let (disconnects, _room): (Vec<_>, Vec<_>) = gone.unzip();
        let told = match event::of_disconnects(&way.gateway, &namespace, disconnects) {
            Ok(event) => repeat(&event, instance.as_deref(), way, shared).await,
            Err(error) => Err(Error::from(error).into()),
        };
        match told {
            Ok(()) => shared.told.increment(count as u64),
            Err(error) => shared.lose(error.outcome(), count),
        }
        shared.waiting.fetch_sub(count, Ordering::Relaxed);
    }
}

/// # Errors
/// When the instance is not there any more, which knew these clients.
async fn repeat(event: &Event, instance: Option<&str>, way: &Way, shared: &Shared) -> Result<(), RouteError> {
    let (mut pause, most) = PAUSE;
    loop {
        let error = match way.tell(event, instance, shared.timeout).await {
            Err(error @ RouteError::NoInstance(_)) => return Err(error),
            Err(error) => error,
            Ok(()) => return Ok(()),
        };
        if let Some(unlogged) = shared.log.allow(error.outcome()) {
            let route = &shared.label;
            tracing::warn!(
                route,
                unlogged,
                "clients have gone, and nobody takes it; it is told again: {error}"
            );
        }
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        pause = (pause * 2).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_of_one_namespace_and_instance_are_told_of_together() {
        let room = Arc::new(Semaphore::new(1000));
        let gone = |namespace: &str, instance: Option<&str>, number: usize| Gone {
            scope: Scope {
                namespace: namespace.to_owned(),
                instance: instance.map(str::to_owned),
            },
            disconnect: Disconnect {
                sid: number.to_string(),
                user: None,
                reason: String::new(),
                session: serde_json::Map::new(),
                session_version: 0,
            },
            room: room.clone().try_acquire_owned().unwrap(),
        };
        let all = (0..250).map(|number| match number % 2 {
            0 => gone("/", None, number),
            _ => gone("/chat", Some(if number < 20 { "a" } else { "b" }), number),
        });
        let batches = batches(all);
        let sizes: Vec<_> = batches.iter().map(|batch| batch.gone.len()).collect();
        assert_eq!(sizes, [100, 25, 10, 100, 15]);
        for Batch { scope, gone } in &batches {
            assert!(gone.iter().all(|gone| gone.scope == *scope));
        }
        let sids = batches[0].gone.iter().map(|gone| gone.disconnect.sid.as_str());
        assert!(
            sids.eq((0..100).map(|number| (number * 2).to_string())),
            "their order is kept"
        );
        drop(batches);
        assert_eq!(room.available_permits(), 1000);
    }
}
