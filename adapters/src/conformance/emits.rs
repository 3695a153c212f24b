//! Whom an emit reaches.

use super::Cluster;
use super::stage::{Stage, emit, except, rooms};
use crate::{Emit, Target};

const NOTHING: [&str; 0] = [];

/// An emit to a room reaches its members on all hosts, each once, and nobody else.
pub async fn to_a_room(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    a.connect("a1", &["r"]);
    a.connect("a2", &[]);
    b.connect("b1", &["r"]);
    b.connect("b2", &["other"]);
    a.emit(rooms(&["r"]), 1).await;
    b.emit(rooms(&["r"]), 2).await;
    stage.settle(&[&a, &b]).await;
    // Two hosts have no order between them.
    for (host, sid) in [(&a, "a1"), (&b, "b1")] {
        let mut heard = host.heard(sid);
        heard.sort();
        assert_eq!(heard, ["e 1", "e 2"], "{sid}");
    }
    assert_eq!(a.heard("a2"), NOTHING);
    assert_eq!(b.heard("b2"), NOTHING);
}

/// An emit to the whole namespace reaches everyone once, on the sender's host too.
pub async fn to_everyone(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b, c] = stage.hosts().await;
    for (host, sids) in [(&a, ["a1", "a2"]), (&b, ["b1", "b2"]), (&c, ["c1", "c2"])] {
        sids.iter().for_each(|sid| host.connect(sid, &["r", "s"]));
    }
    a.emit(Target::all(), 1).await;
    stage.settle(&[&a, &b, &c]).await;
    for (host, sids) in [(&a, ["a1", "a2"]), (&b, ["b1", "b2"]), (&c, ["c1", "c2"])] {
        sids.iter()
            .for_each(|sid| assert_eq!(host.heard(sid), ["e 1"], "{sid}"));
    }
}

/// Who is in several of the rooms that are meant is sent the event once.
pub async fn to_several_rooms(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    a.connect("a1", &["r", "s"]);
    b.connect("b1", &["r", "s"]);
    b.connect("b2", &["s"]);
    b.connect("b3", &["t"]);
    a.emit(rooms(&["r", "s"]), 1).await;
    stage.settle(&[&a, &b]).await;
    for (host, sid) in [(&a, "a1"), (&b, "b1"), (&b, "b2")] {
        assert_eq!(host.heard(sid), ["e 1"], "{sid}");
    }
    assert_eq!(b.heard("b3"), NOTHING);
}

/// Each sid is a room.
pub async fn to_a_sid(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    a.connect("a1", &["r"]);
    b.connect("b1", &["r"]);
    b.connect("b2", &["r"]);
    a.emit(rooms(&["b1"]), 1).await;
    a.emit(rooms(&["a1"]), 2).await;
    a.emit(rooms(&["b1", "r", "a1"]), 3).await;
    stage.settle(&[&a, &b]).await;
    assert_eq!(a.heard("a1"), ["e 2", "e 3"]);
    assert_eq!(b.heard("b1"), ["e 1", "e 3"]);
    assert_eq!(b.heard("b2"), ["e 3"]);
}

/// Where no room is named, or none that anybody is in, nobody is meant.
pub async fn to_nobody(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    a.connect("a1", &[]);
    b.connect("b1", &[]);
    for target in [rooms(&[]), rooms(&[""]), rooms(&["nobody's"])] {
        a.emit(target, 1).await;
    }
    stage.settle(&[&a, &b]).await;
    assert_eq!(a.heard("a1"), NOTHING);
    assert_eq!(b.heard("b1"), NOTHING);
}

/// Sids that are excepted are passed over, one or several, here and on other hosts.
pub async fn past_some(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    a.connect("a1", &["r"]);
    a.connect("a2", &["r"]);
    b.connect("b1", &["r"]);
    b.connect("b2", &["r", "quiet"]);
    a.emit(except(Target::all(), &["b1"]), 1).await;
    a.emit(except(rooms(&["r"]), &["a1", "b2"]), 2).await;
    a.emit(except(rooms(&["r"]), &["nobody's"]), 3).await;
    a.emit(except(rooms(&["b1", "b2"]), &["b1"]), 4).await;
    a.emit(except(rooms(&["r"]), &["quiet"]), 5).await;
    stage.settle(&[&a, &b]).await;
    assert_eq!(a.heard("a1"), ["e 1", "e 3", "e 5"]);
    assert_eq!(a.heard("a2"), ["e 1", "e 2", "e 3", "e 5"]);
    assert_eq!(b.heard("b1"), ["e 2", "e 3", "e 5"]);
    assert_eq!(b.heard("b2"), ["e 1", "e 3", "e 4"]);
}

/// Namespaces have nothing in common, not even rooms and sids of the same name.
pub async fn by_namespace(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    for (host, sid) in [(&a, "s"), (&b, "t")] {
        for namespace in ["/", "/chat", "/chat/é"] {
            host.sockets.connect(namespace, sid);
            host.sockets.join(namespace, sid, &["r"]);
        }
    }
    let targets = [Target::all(), rooms(&["r"]), rooms(&["s", "t"])];
    for (number, target) in targets.into_iter().enumerate() {
        for namespace in ["/chat", "/chat/é", "/nobody's"] {
            let emit = Emit {
                namespace: namespace.into(),
                ..emit(target.clone(), namespace, &number)
            };
            a.manager.emit(emit).await.expect("an emit is published");
        }
    }
    stage.settle(&[&a, &b]).await;
    for (host, sid) in [(&a, "s"), (&b, "t")] {
        assert_eq!(host.heard(sid), NOTHING);
        for namespace in ["/chat", "/chat/é"] {
            let received = host.sockets.received(namespace, sid);
            let names: Vec<String> = received.iter().map(|emit| emit.event.decode()).collect();
            assert_eq!(names, [namespace; 3]);
        }
    }
}

/// A manager that only writes is heard by all hosts.
pub async fn by_a_worker(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    let worker = stage.worker();
    worker.connect().await.expect("the broker is there");
    a.connect("a1", &["r"]);
    b.connect("b1", &["r"]);
    b.connect("b2", &[]);
    worker
        .emit(emit(rooms(&["r"]), "e", &1))
        .await
        .expect("an emit is published");
    worker
        .emit(emit(Target::all(), "e", &2))
        .await
        .expect("an emit is published");
    stage.fence(&worker, &[&a, &b]).await;
    assert_eq!(a.heard("a1"), ["e 1", "e 2"]);
    assert_eq!(b.heard("b1"), ["e 1", "e 2"]);
    assert_eq!(b.heard("b2"), ["e 2"]);
}
