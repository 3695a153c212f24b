//! Emits tell where they have gone, when they are asked.

use std::time::Duration;

use bytes::Bytes;

use super::Cluster;
use super::recording::PATIENCE;
use super::stage::{Host, Stage, emit, except, rooms};
use crate::{Args, ManagerError, Receipt, Target};

/// A time-out that no case waits for.
const LONG: Duration = Duration::from_secs(60);

/// One that is waited for.
const SHORT: Duration = Duration::from_millis(500);

impl Host {
    async fn receipt(&self, target: Target, timeout: Duration) -> Receipt {
        let emitted = self.manager.emit_with_receipt(emit(target, "e", &1), timeout);
        let ended = tokio::time::timeout(PATIENCE, emitted).await;
        let receipt = ended.expect("a receipt is there once all gateways have said so, not at its time-out");
        receipt.expect("an emit with receipt is published")
    }
}

const fn of(gateways: usize, sockets: usize) -> Receipt {
    Receipt {
        sockets,
        gateways,
        missing: Vec::new(),
    }
}

/// Each gateway says to how many sockets it has delivered; what is here alone goes nowhere else.
pub async fn of_all_gateways(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    // A worker is no gateway, and nobody waits for it.
    let worker = stage.instance("chat-1").await;
    a.until_instances(3).await;
    worker.until_hosts(2).await;
    a.connect("a1", &["r"]);
    b.connect("b1", &["r"]);
    b.connect("b2", &["r", "s"]);
    assert_eq!(a.receipt(Target::all(), LONG).await, of(2, 3));
    assert_eq!(a.receipt(rooms(&["s"]), LONG).await, of(2, 1));
    assert_eq!(a.receipt(except(rooms(&["r"]), &["b2"]), LONG).await, of(2, 2));
    assert_eq!(a.receipt(rooms(&["nobody's"]), LONG).await, of(2, 0));
    assert_eq!(a.receipt(rooms(&["b1"]), LONG).await, of(2, 1));
    assert_eq!(a.receipt(rooms(&["a1"]), LONG).await, of(1, 1), "it was not published");
    assert_eq!(a.receipt(rooms(&[]), LONG).await, of(1, 0), "nor was this");
    assert_eq!((a.heard("a1").len(), b.heard("b2").len()), (3, 2));
    b.manager.close().await;
    a.until_hosts(1).await;
    assert_eq!(a.receipt(Target::all(), LONG).await, of(1, 1));
}

/// A gateway that is alive and does not say so is named.
pub async fn missing(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    b.connect("b1", &[]);
    let topic = format!("{}.hallporter", stage.options.channel);
    let alive = r#"{"alive":{"host":"hallporter-mute"}}"#;
    cluster.publish(&topic, Bytes::from_static(alive.as_bytes())).await;
    a.until_hosts(3).await;
    let receipt = a.receipt(Target::all(), SHORT).await;
    assert_eq!((receipt.gateways, receipt.sockets), (2, 1));
    assert_eq!(receipt.missing, ["hallporter-mute"]);
    // One that leaves meanwhile is not alive.
    let gone = r#"{"gone":{"host":"hallporter-mute"}}"#;
    let leave = async {
        b.sockets
            .until("the second event", |sockets| sockets.count("/", "b1") == 2)
            .await;
        cluster.publish(&topic, Bytes::from_static(gone.as_bytes())).await;
    };
    let (receipt, ()) = tokio::join!(a.receipt(Target::all(), LONG), leave);
    assert_eq!(receipt, of(2, 1));
}

/// Acks come with a receipt.
pub async fn with_acks(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    a.sockets.connect_answering("/", "a1", |_| Some(Args::none()));
    b.sockets.connect_answering("/", "b1", |_| Some(Args::none()));
    b.connect("b2", &[]);
    let asked = a.manager.emit_with_ack(emit(Target::all(), "e", &1), SHORT).await;
    let mut stream = asked.expect("an emit with ack is published");
    let mut answered = Vec::new();
    while let Some(ack) = stream.next().await {
        answered.extend(ack.sid);
    }
    answered.sort();
    assert_eq!(answered, ["a1", "b1"]);
    assert_eq!((stream.receipt(), stream.missing()), (of(2, 3), 1));
}

/// A worker that listens has receipts, one that only writes has none.
pub async fn by_a_worker(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    let worker = stage.instance("chat-1").await;
    worker.until_hosts(2).await;
    a.connect("a1", &[]);
    b.connect("b1", &[]);
    assert_eq!(worker.receipt(Target::all(), LONG).await, of(2, 2));
    let asked = worker.manager.emit_with_ack(emit(rooms(&["b1"]), "e", &1), SHORT).await;
    let mut stream = asked.expect("an emit with ack is published");
    assert_eq!(stream.next().await, None, "nobody answers");
    assert_eq!(stream.receipt(), of(2, 1));
    let refused = stage
        .worker()
        .emit_with_receipt(emit(Target::all(), "e", &1), SHORT)
        .await;
    assert!(matches!(refused, Err(ManagerError::WriteOnly)), "{refused:?}");
}
