//! A host that does not hear itself, although its broker takes and gives messages.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "this is a test")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use hallporter_adapters::broker::{Broker, BrokerError, Delivery, MemoryBroker, MemoryHub};
use hallporter_adapters::conformance::RecordingSockets;
use hallporter_adapters::wire::PythonWire;
use hallporter_adapters::{ClientManager, ManagerError, ManagerOptions, PubSubManager, Status};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

const INTERVAL: Duration = Duration::from_secs(2);

/// A broker whose subscriptions can fall silent, and whose publisher can be refused or held up.
#[derive(Debug)]
struct Faulty {
    hub: MemoryBroker,
    faults: Arc<Faults>,
}

#[derive(Debug)]
struct Faults {
    /// The subscriptions made so far.
    subscriptions: watch::Sender<usize>,
    /// How many of them hear nothing any more, counted from the first.
    silent: watch::Sender<usize>,
    refuse_publish: watch::Sender<bool>,
    /// Who publishes takes one and gives it back.
    publishers: Semaphore,
}

impl Broker for Faulty {
    fn url(&self) -> &str {
        self.hub.url()
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn publish(&self, topic: &str, body: Bytes) -> Result<(), BrokerError> {
        let _turn = self.faults.publishers.acquire().await;
        if *self.faults.refuse_publish.borrow() {
            return Err(BrokerError::Refused("no right to publish".into()));
        }
        self.hub.publish(topic, body).await
    }

    async fn listeners(&self, topics: [&str; 2]) -> Option<[usize; 2]> {
        self.hub.listeners(topics).await
    }

    async fn listen(
        &self,
        topics: &[String],
    ) -> Result<impl Stream<Item = Delivery> + Send + Unpin + 'static, BrokerError> {
        let messages = self.hub.listen(topics).await?;
        let mut number = 0;
        self.faults.subscriptions.send_modify(|count| {
            *count += 1;
            number = *count;
        });
        let silent = self.faults.silent.subscribe();
        Ok(Box::pin(
            messages.filter(move |_| std::future::ready(number > *silent.borrow())),
        ))
    }
}

struct Stage {
    manager: PubSubManager<Faulty, PythonWire>,
    faults: Arc<Faults>,
    status: watch::Receiver<Status>,
}

impl Stage {
    fn new() -> Self {
        let faults = Arc::new(Faults {
            subscriptions: watch::Sender::default(),
            silent: watch::Sender::default(),
            refuse_publish: watch::Sender::default(),
            publishers: Semaphore::new(1),
        });
        let broker = Faulty {
            hub: MemoryBroker::new(Arc::<MemoryHub>::default()),
            faults: faults.clone(),
        };
        let options = ManagerOptions {
            canary_interval: INTERVAL,
            ..ManagerOptions::default()
        };
        let manager = PubSubManager::new(broker, PythonWire::new("socketio"), options);
        let status = manager.status();
        Self {
            manager,
            faults,
            status,
        }
    }

    fn start(self) -> Self {
        self.manager.start(Arc::new(RecordingSockets::default()));
        self
    }

    /// Waits for a status and returns how long that took.
    async fn until(&mut self, reached: impl FnMut(&Status) -> bool) -> Duration {
        let asked = Instant::now();
        let status = timeout(INTERVAL * 100, self.status.wait_for(reached)).await;
        status.expect("the status is reached").unwrap();
        asked.elapsed()
    }

    fn reason(&self) -> String {
        match &*self.status.borrow() {
            Status::Away(reason) => reason.clone(),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deaf_host_recovers_within_two_canary_intervals() {
    let mut stage = Stage::new().start();
    stage.until(|status| *status == Status::Listening).await;
    stage.faults.silent.send_replace(1);
    let silent = Instant::now();
    stage.until(|status| *status != Status::Listening).await;
    assert!(
        stage.reason().contains("has not heard its own messages"),
        "{}",
        stage.reason()
    );
    assert_eq!(silent.elapsed(), INTERVAL * 2, "two canaries were missed");
    let recovered = stage.until(|status| *status == Status::Listening).await;
    assert!(recovered < INTERVAL / 4, "{recovered:?} after it was noticed");
    assert_eq!(*stage.faults.subscriptions.borrow(), 2);
}

/// A new subscription proves nothing: the host counts as away until it has heard itself.
#[tokio::test(start_paused = true)]
async fn a_host_that_stays_deaf_is_not_ready() {
    let stage = Stage::new();
    stage.faults.silent.send_replace(4);
    let mut stage = stage.start();
    for subscription in 1..=4 {
        let mut made = stage.faults.subscriptions.subscribe();
        made.wait_for(|made| *made >= subscription).await.unwrap();
        assert_ne!(*stage.status.borrow(), Status::Listening);
    }
    stage.until(|status| *status == Status::Listening).await;
    assert_eq!(*stage.faults.subscriptions.borrow(), 5);

    let stage = Stage::new();
    stage.faults.refuse_publish.send_replace(true);
    let mut stage = stage.start();
    stage.until(|status| matches!(status, Status::Away(_))).await;
    assert!(stage.reason().contains("no right to publish"), "{}", stage.reason());
    stage.faults.refuse_publish.send_replace(false);
    stage.until(|status| *status == Status::Listening).await;
}

/// What waits for the broker is bounded in bytes, and what finds no room is refused at once.
#[tokio::test(start_paused = true)]
async fn the_publish_queue_is_bounded() {
    let stage = Stage::new();
    let turn = stage.faults.publishers.acquire().await.unwrap();
    let manager = Arc::new(stage.manager);
    let room = "r".repeat(1 << 19);
    let emit = || {
        let (manager, room) = (manager.clone(), room.clone());
        async move { manager.close_room("/", &room).await }
    };
    let mut waiting = Vec::new();
    let refused = loop {
        let mut emit = Box::pin(emit());
        match futures_util::poll!(&mut emit) {
            std::task::Poll::Pending => waiting.push(emit),
            std::task::Poll::Ready(refused) => break refused,
        }
        assert!(waiting.len() < 1000);
    };
    let Err(ManagerError::QueueFull { limit, .. }) = refused else {
        panic!("{refused:?}");
    };
    let most = limit / room.len();
    assert!((most - 2..=most).contains(&waiting.len()), "{}", waiting.len());
    drop(turn);
    for emit in waiting {
        emit.await.unwrap();
    }
    emit().await.unwrap();
}
