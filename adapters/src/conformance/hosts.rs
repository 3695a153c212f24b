//! Hosts know each other, and ask each other.

use bytes::Bytes;

use super::Cluster;
use super::stage::{Host, Stage, except, rooms};
use crate::{Args, ManagerError, SocketInfo, Status, Target};

/// A host that comes or closes is seen by the others at once.
pub async fn come_and_go(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    let mut expected = [a.manager.host_id().to_owned(), b.manager.host_id().to_owned()];
    expected.sort();
    let mut known = a.manager.hosts();
    known.sort();
    assert_eq!(known, expected);
    let c = stage.start(stage.options.clone());
    for host in [&a, &b, &c] {
        host.until_hosts(3).await;
    }
    assert!(a.manager.hosts().contains(&c.manager.host_id().to_owned()));
    c.manager.close().await;
    c.until_status("to be idle", |status| *status == Status::Idle).await;
    for host in [&a, &b] {
        host.until_hosts(2).await;
        assert!(!host.manager.hosts().contains(&c.manager.host_id().to_owned()));
    }
    // A closed host is deaf, and nobody waits for it.
    c.connect("c1", &[]);
    b.connect("b1", &[]);
    a.emit(Target::all(), 1).await;
    stage.settle(&[&a, &b]).await;
    assert_eq!((b.heard("b1").len(), c.heard("c1").len()), (1, 0));
    let sockets = a.manager.sockets("/", &Target::all()).await.expect("all hosts answer");
    assert_eq!(sockets.len(), 1);
}

async fn sids(host: &Host, target: Target) -> Vec<SocketInfo> {
    let mut sockets = host.manager.sockets("/", &target).await.expect("all hosts answer");
    sockets.sort_by(|a, b| a.sid.cmp(&b.sid));
    for socket in &mut sockets {
        socket.rooms.sort();
    }
    sockets
}

/// A query finds the sockets of all hosts.
pub async fn query(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b, c] = stage.hosts().await;
    a.connect("a1", &["r"]);
    b.connect("b1", &["r", "s"]);
    b.connect("b2", &[]);
    c.connect("c1", &["s"]);
    c.sockets.connect("/chat", "c2");
    let info = |sid: &str, host: Option<&Host>, rooms: &[&str]| SocketInfo {
        sid: sid.into(),
        host_id: host.map_or_else(String::new, |host| host.manager.host_id().to_owned()),
        rooms: rooms.iter().map(|&room| room.to_owned()).collect(),
    };
    let a1 = info("a1", None, &["a1", "r"]);
    let b1 = info("b1", Some(&b), &["b1", "r", "s"]);
    let b2 = info("b2", Some(&b), &["b2"]);
    let c1 = info("c1", Some(&c), &["c1", "s"]);
    let expected = [a1.clone(), b1.clone(), b2, c1.clone()];
    assert_eq!(sids(&a, Target::all()).await, expected);
    assert_eq!(sids(&a, rooms(&["r"])).await, [a1, b1.clone()]);
    assert_eq!(sids(&a, rooms(&["b1"])).await[..], *std::slice::from_ref(&b1));
    assert_eq!(sids(&a, except(rooms(&["s", "r"]), &["a1", "c1"])).await, [b1]);
    assert_eq!(sids(&a, except(Target::all(), &["r", "b2"])).await, [c1]);
    assert_eq!(sids(&a, rooms(&[])).await, []);
}

/// An answer may be larger than a message.
pub async fn query_in_parts(cluster: &dyn Cluster) {
    let mut stage = Stage::new(cluster);
    stage.options.max_message = 4096;
    let [a, b] = stage.hosts().await;
    for number in 0..500 {
        b.connect(&format!("b{number:04}"), &["a room with a rather long name"]);
    }
    let sockets = sids(&a, Target::all()).await;
    assert_eq!(sockets.len(), 500);
    assert_eq!(sockets[499].sid, "b0499");
}

/// The code of all other hosts hears an event, in order; that of this host, and clients, do not.
pub async fn server_side_emit(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b, c] = stage.hosts().await;
    b.connect("b1", &[]);
    let binary = Args::from_json_array(
        r#"[{"_placeholder":true,"num":0},"\u20ac"]"#,
        vec![Bytes::from_static(&[0, 255])],
    );
    let sent = [Args::none(), binary.expect("an attachment and a text")];
    for args in &sent {
        let emitted = a.manager.server_side_emit("/chat", "news", args.clone()).await;
        emitted.expect("an event is published");
    }
    stage.settle(&[&a, &b, &c]).await;
    let heard = sent.map(|args| ("/chat".to_owned(), "news".to_owned(), args));
    assert_eq!(b.sockets.server_side_events(), heard);
    assert_eq!(c.sockets.server_side_events(), heard);
    assert_eq!(a.sockets.server_side_events(), []);
    assert_eq!(b.heard("b1"), Vec::<String>::new());
    let refused = stage.worker().server_side_emit("/", "news", Args::none()).await;
    assert!(matches!(refused, Err(ManagerError::WriteOnly)), "{refused:?}");
}

/// Two clusters on one broker never hear each other.
pub async fn clusters_apart(cluster: &dyn Cluster) {
    let (one, two) = (Stage::new(cluster), Stage::new(cluster));
    let [a, b] = one.hosts().await;
    let [c, d] = two.hosts().await;
    for (host, sid) in [(&a, "s1"), (&b, "s2"), (&c, "s1"), (&d, "s2")] {
        host.connect(sid, &["r"]);
    }
    a.emit(rooms(&["r"]), 1).await;
    a.manager.close_room("/", "r").await.expect("a room is closed");
    a.manager.disconnect("/", "s2").await.expect("published");
    one.settle(&[&a, &b]).await;
    c.emit(rooms(&["r"]), 2).await;
    two.settle(&[&c, &d]).await;
    assert_eq!((a.heard("s1"), b.heard("s2")), (vec!["e 1".into()], vec!["e 1".into()]));
    assert_eq!((c.heard("s1"), d.heard("s2")), (vec!["e 2".into()], vec!["e 2".into()]));
    assert_eq!(c.manager.hosts().len(), 2);
    assert_eq!(sids(&c, Target::all()).await.len(), 2);
}
