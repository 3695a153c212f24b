//! Users and the lead when messages are lost and hosts fall silent, and how long it takes to be right again.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "this is a test")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use hallporter_adapters::broker::{Broker, BrokerError, Delivery, MemoryBroker, MemoryHub};
use hallporter_adapters::conformance::RecordingSockets;
use hallporter_adapters::wire::PythonWire;
use hallporter_adapters::{ClientManager, ManagerOptions, MemoryManager, PubSubManager, UserPolicy};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

const INTERVAL: Duration = Duration::from_secs(2);

/// How often a host looks for others that fell silent.
const LOOK: Duration = Duration::from_millis(500);

/// A host's way to the hub, on which messages can be lost.
#[derive(Debug)]
struct Lossy {
    hub: MemoryBroker,
    faults: Arc<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    /// Messages with this text are taken, and reach nobody.
    lost: watch::Sender<Option<&'static str>>,
    /// How many were.
    count: watch::Sender<usize>,
    deaf: watch::Sender<bool>,
}

impl Broker for Lossy {
    fn url(&self) -> &str {
        self.hub.url()
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn publish(&self, topic: &str, body: Bytes) -> Result<(), BrokerError> {
        let lost = *self.faults.lost.borrow();
        if lost.is_some_and(|lost| String::from_utf8_lossy(&body).contains(lost)) {
            self.faults.count.send_modify(|count| *count += 1);
            return Ok(());
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
        let deaf = self.faults.deaf.subscribe();
        Ok(Box::pin(messages.filter(move |_| std::future::ready(!*deaf.borrow()))))
    }
}

struct Host {
    manager: PubSubManager<Lossy, PythonWire>,
    sockets: Arc<RecordingSockets>,
    faults: Arc<Faults>,
}

impl Host {
    fn start(hub: &Arc<MemoryHub>) -> Self {
        let faults = Arc::<Faults>::default();
        let broker = Lossy {
            hub: MemoryBroker::new(hub.clone()),
            faults: faults.clone(),
        };
        let manager = PubSubManager::new(broker, PythonWire::new("socketio"), options());
        let sockets = Arc::<RecordingSockets>::default();
        manager.start(sockets.clone());
        Self {
            manager,
            sockets,
            faults,
        }
    }

    async fn bind(&self, sid: &str, user: &str) {
        self.sockets.connect("/", sid);
        let bound = self.manager.bind_user("/", sid, user, UserPolicy::Many).await;
        bound.expect("a user is bound");
    }

    /// Loses messages with this text, and waits until it has.
    async fn lose(&self, text: &'static str) {
        self.faults.lost.send_replace(Some(text));
        let mut count = self.faults.count.subscribe();
        let before = *count.borrow();
        let lost = timeout(INTERVAL * 10, count.wait_for(|count| *count > before)).await;
        drop(lost.expect("a message is lost").unwrap());
        self.faults.lost.send_replace(None);
    }

    /// How long it takes until the newest change told is this one.
    async fn until(&self, user: &str, is_online: bool) -> Duration {
        let asked = Instant::now();
        let change = (user.to_owned(), is_online);
        let is_last = |sockets: &RecordingSockets| sockets.user_changes("/").last() == Some(&change);
        self.sockets.until("a user to come or go", is_last).await;
        assert_eq!(self.manager.is_online("/", user), is_online);
        asked.elapsed()
    }

    async fn until_leads(&self, expected: bool) -> Duration {
        let asked = Instant::now();
        let mut leads = self.manager.leads();
        let reached = timeout(INTERVAL * 10, leads.wait_for(|leads| *leads == expected)).await;
        drop(reached.expect("the lead changes").unwrap());
        asked.elapsed()
    }

    fn leads(&self) -> bool {
        *self.manager.leads().borrow()
    }
}

fn options() -> ManagerOptions {
    ManagerOptions {
        canary_interval: INTERVAL,
        ..ManagerOptions::default()
    }
}

/// Two hosts that know each other, the first of which leads.
async fn pair() -> (Arc<MemoryHub>, Host, Host) {
    let hub = Arc::default();
    let a = Host::start(&hub);
    let asked = a.until_leads(true).await;
    assert!((INTERVAL..INTERVAL + LOOK * 2).contains(&asked), "{asked:?}");
    let b = Host::start(&hub);
    let met = async {
        while a.manager.hosts().len() < 2 || b.manager.hosts().len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(INTERVAL, met).await.expect("hosts meet");
    (hub, a, b)
}

#[tokio::test(start_paused = true)]
async fn a_change_is_told_at_once() {
    let (_hub, a, b) = pair().await;
    a.bind("a1", "ann").await;
    assert_eq!(b.until("ann", true).await, Duration::ZERO);
    a.manager.unbind_user("/", "a1");
    assert_eq!(b.until("ann", false).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_lost_change_is_noticed_by_the_next_heartbeat() {
    let (_hub, a, b) = pair().await;
    tokio::join!(a.lose("changes"), a.bind("a1", "ann"));
    assert!(!b.manager.is_online("/", "ann"));
    assert!(b.until("ann", true).await <= INTERVAL);
    let leave = async { a.manager.unbind_user("/", "a1") };
    tokio::join!(a.lose("changes"), leave);
    assert!(b.until("ann", false).await <= INTERVAL);
}

/// Neither the question nor the answer has to arrive the first time.
#[tokio::test(start_paused = true)]
async fn what_is_asked_in_vain_is_asked_again() {
    let (_hub, a, b) = pair().await;
    tokio::join!(a.lose("changes"), a.bind("a1", "ann"));
    let lost = async {
        b.lose("who").await;
        a.lose("\"all\"").await;
    };
    let (wait, ()) = tokio::join!(b.until("ann", true), lost);
    assert!((INTERVAL * 4..=INTERVAL * 7).contains(&wait), "{wait:?}");
}

/// A user's sockets on a host that was killed, and the lead if it had it.
#[tokio::test(start_paused = true)]
async fn a_host_that_dies_is_noticed_within_its_patience() {
    let (_hub, a, b) = pair().await;
    a.bind("a1", "ann").await;
    b.until("ann", true).await;
    drop(a);
    let (gone, leads) = tokio::join!(b.until("ann", false), b.until_leads(true));
    for wait in [gone, leads] {
        assert!((INTERVAL * 2..=INTERVAL * 3 + LOOK).contains(&wait), "{wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_says_farewell_hands_over_at_once() {
    let (hub, a, b) = pair().await;
    // Until b has a rank.
    tokio::time::sleep(INTERVAL * 2).await;
    let c = Host::start(&hub);
    a.bind("a1", "ann").await;
    b.until("ann", true).await;
    a.manager.close().await;
    assert!(!a.leads());
    let (gone, leads) = tokio::join!(b.until("ann", false), b.until_leads(true));
    assert_eq!([gone, leads], [Duration::ZERO; 2]);
    assert!(!c.leads());
}

/// A leader that cannot reach the others any more knows before they take the lead.
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_first() {
    let (_hub, a, b) = pair().await;
    a.bind("a1", "ann").await;
    b.until("ann", true).await;
    a.faults.deaf.send_replace(true);
    a.faults.lost.send_replace(Some(""));
    let stopped = a.until_leads(false).await;
    assert!(stopped <= INTERVAL * 2 + LOOK && !b.leads(), "{stopped:?}");
    let taken = b.until_leads(true).await;
    assert!(taken >= LOOK, "{taken:?}");
    b.until("ann", false).await;
    // It comes back, with its users and without the lead.
    a.faults.deaf.send_replace(false);
    a.faults.lost.send_replace(None);
    b.until("ann", true).await;
    tokio::time::sleep(INTERVAL * 3).await;
    assert!(b.leads() && !a.leads());
}

/// One that only hears nothing lets the others know.
#[tokio::test(start_paused = true)]
async fn a_deaf_leader_gives_the_lead_away() {
    let (_hub, a, b) = pair().await;
    tokio::time::sleep(INTERVAL * 2).await;
    a.faults.deaf.send_replace(true);
    let (stopped, taken) = tokio::join!(a.until_leads(false), b.until_leads(true));
    assert!(
        stopped <= INTERVAL * 2 + LOOK && taken >= stopped,
        "{stopped:?} {taken:?}"
    );
    assert!(taken <= stopped + INTERVAL, "{stopped:?} {taken:?}");
}

/// What a later version may say, or somebody who is no host.
#[tokio::test(start_paused = true)]
async fn what_is_not_understood_is_passed_over() {
    let (hub, a, _b) = pair().await;
    let broker = MemoryBroker::new(hub.clone());
    let long = "x".repeat(2000);
    for body in [
        r#"{"later": {"host": "c"}}"#.to_owned(),
        r#"{"users": {"later": {"host": "c"}}}"#.to_owned(),
        r#"{"users": {"changes": {"host": "c", "number": 1, "users": [{"namespace": "/", "user": "u", "claim": {"stamp": -1}}]}}}"#.to_owned(),
        r#"{"users": {"changes": {"host": "unknown", "number": 1, "users": [{"namespace": "/", "user": "u", "claim": {"stamp": 1}}]}}}"#.to_owned(),
        r#"{"alive": {"host": "c"}}"#.to_owned(),
        format!(r#"{{"users": {{"changes": {{"host": "c", "number": 1, "users": [{{"namespace": "/", "user": "{long}", "claim": {{"stamp": 18446744073709551615}}}}]}}}}}}"#),
        r#"{"users": {"changes": {"host": "c", "number": 2, "users": [{"namespace": "/", "user": "cleo", "claim": {"stamp": 1}}]}}}"#.to_owned(),
    ] {
        broker.publish("socketio.hallporter", body.into()).await.unwrap();
    }
    a.until("cleo", true).await;
    assert_eq!(a.manager.users("/"), ["cleo"]);
    // The clock is at its end, and users come and go all the same.
    a.bind("a1", "ann").await;
    a.until("ann", true).await;
}

/// Nobody else can be there.
#[tokio::test(start_paused = true)]
async fn alone_in_memory_a_host_leads_at_once() {
    let broker = MemoryBroker::new(Arc::default());
    let manager = MemoryManager::new(broker, PythonWire::new("socketio"), options());
    let mut leads = manager.leads();
    assert!(!*leads.borrow());
    let asked = Instant::now();
    manager.start(Arc::new(RecordingSockets::default()));
    drop(leads.wait_for(|leads| *leads).await.unwrap());
    assert_eq!(asked.elapsed(), Duration::ZERO);
}
