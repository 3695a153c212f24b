//! Rooms and sockets, wherever they are.

use super::Cluster;
use super::stage::{Stage, emit, membership, rooms};
use crate::{ManagerError, Target};

/// A socket enters and leaves rooms at the word of any host or worker.
pub async fn enter_and_leave(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    let worker = stage.worker();
    a.connect("a1", &[]);
    b.connect("b1", &[]);
    for (sid, room) in [("b1", "r"), ("a1", "r"), ("b1", "s"), ("nobody", "r")] {
        a.manager
            .enter_room(membership(sid, room))
            .await
            .expect("a room is entered");
    }
    stage.settle(&[&a, &b]).await;
    assert_eq!(a.rooms("a1").unwrap(), ["a1", "r"]);
    assert_eq!(b.rooms("b1").unwrap(), ["b1", "r", "s"]);
    a.emit(rooms(&["r"]), 1).await;
    a.manager
        .leave_room(membership("b1", "r"))
        .await
        .expect("a room is left");
    a.manager
        .leave_room(membership("b1", "never entered"))
        .await
        .expect("no error");
    a.emit(rooms(&["r"]), 2).await;
    stage.settle(&[&a, &b]).await;
    assert_eq!(
        (a.heard("a1"), b.heard("b1")),
        (vec!["e 1".into(), "e 2".into()], vec!["e 1".into()])
    );
    worker
        .enter_room(membership("a1", "w"))
        .await
        .expect("a room is entered");
    worker.leave_room(membership("b1", "s")).await.expect("a room is left");
    stage.fence(&worker, &[&a, &b]).await;
    assert_eq!(a.rooms("a1").unwrap(), ["a1", "r", "w"]);
    assert_eq!(b.rooms("b1").unwrap(), ["b1"]);
}

/// A room is closed on all hosts; the sockets and their other rooms remain.
pub async fn close(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    a.connect("a1", &["r", "s"]);
    b.connect("b1", &["r", "s"]);
    b.sockets.connect("/chat", "b1");
    b.sockets.join("/chat", "b1", &["r"]);
    a.manager.close_room("/", "r").await.expect("a room is closed");
    a.emit(rooms(&["r"]), 1).await;
    a.emit(rooms(&["s"]), 2).await;
    stage.settle(&[&a, &b]).await;
    assert_eq!((a.heard("a1"), b.heard("b1")), (vec!["e 2".into()], vec!["e 2".into()]));
    assert!(
        b.sockets.rooms("/chat", "b1").unwrap().contains("r"),
        "another namespace's room"
    );
    let worker = stage.worker();
    worker.close_room("/", "s").await.expect("a room is closed");
    stage.fence(&worker, &[&a, &b]).await;
    assert_eq!(
        (a.rooms("a1").unwrap(), b.rooms("b1").unwrap()),
        (vec!["a1".into()], vec!["b1".into()])
    );
}

/// A socket is disconnected from its namespace at the word of any host or worker.
pub async fn disconnect(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    for sid in ["b1", "b2", "b3"] {
        b.connect(sid, &["r"]);
    }
    b.sockets.connect("/chat", "b1");
    a.manager.disconnect("/", "b1").await.expect("published");
    a.manager.disconnect("/", "nobody").await.expect("published");
    stage.settle(&[&a, &b]).await;
    assert_eq!(b.rooms("b1"), None);
    assert!(b.sockets.rooms("/chat", "b1").is_some(), "another namespace's socket");
    stage.worker().disconnect("/", "b2").await.expect("published");
    b.sockets
        .until("a disconnect by a worker", |sockets| sockets.rooms("/", "b2").is_none())
        .await;
    a.emit(rooms(&["r"]), 1).await;
    stage.settle(&[&a, &b]).await;
    assert_eq!(b.heard("b3"), ["e 1"]);
    assert!(b.heard("b1").is_empty() && b.heard("b2").is_empty());
}

/// What concerns one socket stays on its host.
pub async fn what_is_here_is_not_published(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    a.connect("a1", &[]);
    a.manager
        .enter_room(membership("a1", "r"))
        .await
        .expect("a room is entered");
    assert_eq!(a.rooms("a1").unwrap(), ["a1", "r"]);
    a.manager
        .leave_room(membership("a1", "r"))
        .await
        .expect("a room is left");
    assert_eq!(a.rooms("a1").unwrap(), ["a1"]);
    a.manager.disconnect("/", "a1").await.expect("a socket is disconnected");
    assert_eq!(a.rooms("a1"), None);
    stage.settle(&[&a, &b]).await;
    assert_eq!(b.sockets.calls(), []);
}

/// Nobody enters or closes the room of somebody else's sid.
pub async fn room_is_sid(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    a.connect("a1", &[]);
    a.connect("a2", &[]);
    let entered = a.manager.enter_room(membership("a1", "a2")).await;
    assert!(matches!(entered, Err(ManagerError::RoomIsSid(_))), "{entered:?}");
    let closed = a.manager.close_room("/", "a2").await;
    assert!(matches!(closed, Err(ManagerError::RoomIsSid(_))), "{closed:?}");
    a.manager
        .enter_room(membership("a1", "a1"))
        .await
        .expect("its own room");
    // The host that asks cannot know; the one that holds the sockets refuses.
    b.manager.enter_room(membership("a1", "a2")).await.expect("published");
    b.manager.close_room("/", "a2").await.expect("published");
    b.manager.emit(emit(rooms(&["a2"]), "e", &1)).await.expect("published");
    b.emit(Target::all(), 2).await;
    stage.settle(&[&a, &b]).await;
    assert_eq!(a.heard("a1"), ["e 2"]);
    assert_eq!(a.heard("a2"), ["e 1", "e 2"]);
}
