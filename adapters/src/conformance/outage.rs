//! What happens while the broker is away, and after.

use std::time::Duration;

use super::Cluster;
use super::recording::PATIENCE;
use super::stage::{Host, Stage, emit, rooms};
use crate::{Status, Target};

/// While the broker is away a host says so and goes on for its own sockets; when it is back, so is everything else.
pub async fn messages_flow_again(cluster: &dyn Cluster) {
    let outage = cluster.outage().expect("left out where the broker cannot be cut");
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    let worker = stage.worker();
    a.connect("a1", &["r"]);
    b.connect("b1", &["r"]);
    a.emit(rooms(&["r"]), 1).await;
    worker
        .emit(emit(rooms(&["r"]), "e", &2))
        .await
        .expect("an emit is published");
    stage.fence(&worker, &[&a, &b]).await;
    stage.settle(&[&a, &b]).await;

    outage.cut().await;
    for host in [&a, &b] {
        host.until_status(
            "to notice",
            |status| matches!(status, Status::Away(reason) if !reason.is_empty()),
        )
        .await;
    }
    let failed = a.manager.emit(emit(rooms(&["r"]), "e", &3)).await;
    assert!(failed.is_err(), "an emit succeeded without a broker");
    assert_eq!(a.heard("a1").last().unwrap(), "e 3", "it is done here all the same");
    let found = a.manager.sockets("/", &Target::all()).await;
    assert!(found.is_err(), "nobody knows which sockets there are");

    outage.restore().await;
    for host in [&a, &b] {
        host.until_status("to be back", |status| *status == Status::Listening)
            .await;
    }
    for host in [&a, &b] {
        host.until_hosts(2).await;
    }
    until_published(&a, 4).await;
    worker
        .emit(emit(Target::all(), "e", &5))
        .await
        .expect("its first emit after the outage");
    stage.fence(&worker, &[&a, &b]).await;
    stage.settle(&[&a, &b]).await;
    assert_eq!(b.heard("b1"), ["e 1", "e 2", "e 4", "e 5"]);
    let sockets = b.manager.sockets("/", &Target::all()).await.expect("all hosts answer");
    assert_eq!(sockets.len(), 2);
}

/// A connection that broke may be noticed only by using it, so the first attempt may fail. What failed here is not sent.
async fn until_published(host: &Host, data: u32) {
    let attempts = async {
        while let Err(error) = host.manager.emit(emit(rooms(&["b1"]), "e", &data)).await {
            tracing::debug!(%error, "not published yet");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let published = tokio::time::timeout(PATIENCE, attempts).await;
    assert!(published.is_ok(), "no emit succeeds after the outage");
}
