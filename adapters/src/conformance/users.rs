//! Users over the cluster, and which host leads.

use std::time::Duration;

use super::Cluster;
use super::recording::PATIENCE;
use super::stage::{Host, Stage, rooms};
use crate::{BindError, Command, ManagerError, Status, Target, UserPolicy, user_room};

impl Host {
    async fn bind(&self, sid: &str, user: &str, policy: UserPolicy) -> Result<(), BindError> {
        self.connect(sid, &[]);
        self.manager.bind_user("/", sid, user, policy).await
    }

    async fn bind_many(&self, sid: &str, user: &str) {
        self.bind(sid, user, UserPolicy::Many).await.expect("a user is bound");
    }

    /// What a host does for a socket whose client has gone.
    fn leave(&self, sid: &str) {
        self.sockets.end("/", sid);
        self.manager.unbind_user("/", sid);
    }

    async fn until_online(&self, user: &str, is_online: bool) {
        let is_so = |sockets: &super::RecordingSockets| {
            let changes = sockets.user_changes("/").into_iter();
            changes.rev().find(|(name, _)| name == user).map(|(_, last)| last) == Some(is_online)
        };
        self.sockets.until("a user to come or go", is_so).await;
        assert_eq!(self.manager.is_online("/", user), is_online, "{user}");
    }

    async fn until_leads(&self) {
        let mut leads = self.manager.leads();
        let came = tokio::time::timeout(PATIENCE, leads.wait_for(|leads| *leads)).await;
        assert!(
            came.is_ok_and(|leads| leads.is_ok()),
            "waited in vain for a host to lead"
        );
    }

    fn leads(&self) -> bool {
        *self.manager.leads().borrow()
    }

    fn is_here(&self, sid: &str) -> bool {
        self.sockets.rooms("/", sid).is_some()
    }
}

/// A user is online on all hosts, once, from the first socket to the last.
pub async fn online(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    a.bind_many("a1", "ann").await;
    a.bind_many("a2", "ann").await;
    b.bind_many("b1", "ann").await;
    b.bind_many("b2", "bob ☃").await;
    a.sockets.connect("/chat", "a1");
    let elsewhere = a.manager.bind_user("/chat", "a1", "cleo", UserPolicy::Many);
    elsewhere.await.expect("a user is bound");
    for host in [&a, &b] {
        host.until_online("ann", true).await;
        host.until_online("bob ☃", true).await;
        let mut users = host.manager.users("/");
        users.sort();
        assert_eq!(users, ["ann", "bob ☃"]);
        assert_eq!(host.manager.user_count("/"), 2);
        assert!(!host.manager.is_online("/", "cleo"));
    }
    // A host that comes learns who is there.
    let c = stage.start(stage.options.clone());
    c.until_online("ann", true).await;
    c.until_online("bob ☃", true).await;
    for (host, sid) in [(&a, "a1"), (&a, "a2"), (&b, "b2"), (&b, "b1")] {
        assert!(host.manager.is_online("/", "ann"));
        host.leave(sid);
    }
    for host in [&a, &b, &c] {
        host.until_online("ann", false).await;
        host.until_online("bob ☃", false).await;
        assert_eq!(host.manager.user_count("/"), 0);
        assert_eq!(host.sockets.user_changes("/").len(), 4, "once each");
    }
    assert_eq!(a.manager.users("/chat"), ["cleo"]);
    // A socket that has gone before it was bound is bound to nobody.
    let late = a.manager.bind_user("/", "a1", "ann", UserPolicy::Many).await;
    assert!(late.is_ok() && !a.manager.is_online("/", "ann"), "{late:?}");
    let worker = stage.worker();
    let refused = worker.bind_user("/", "a1", "ann", UserPolicy::Many).await;
    assert!(
        matches!(refused, Err(BindError::Manager(ManagerError::WriteOnly))),
        "{refused:?}"
    );
}

/// A host that closes, or dies, takes its users with it.
pub async fn hosts_go(cluster: &dyn Cluster) {
    let mut stage = Stage::new(cluster);
    stage.options.canary_interval = Duration::from_secs(1);
    let [a, b, c] = stage.hosts().await;
    a.bind_many("a1", "ann").await;
    b.bind_many("b1", "ann").await;
    b.bind_many("b2", "bob").await;
    c.bind_many("c1", "cleo").await;
    for user in ["ann", "bob", "cleo"] {
        a.until_online(user, true).await;
    }
    c.manager.close().await;
    a.until_online("cleo", false).await;
    // Without a word.
    drop(b);
    a.until_online("bob", false).await;
    assert_eq!(a.manager.users("/"), ["ann"]);
    assert_eq!(a.sockets.user_changes("/").len(), 5, "ann never went");
}

/// The newest socket of a user stays, wherever it is.
pub async fn replace_old(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    let replace = async |host: &Host, sid: &str| {
        let bound = host.bind(sid, "ann", UserPolicy::ReplaceOld).await;
        bound.expect("a user is bound");
    };
    replace(&a, "a1").await;
    b.until_online("ann", true).await;
    replace(&b, "b1").await;
    a.sockets.until("the older one to go", |_| !a.is_here("a1")).await;
    let gone = Command::Disconnect {
        namespace: "/".into(),
        sid: "a1".into(),
        connection: false,
    };
    assert_eq!(a.sockets.calls().last(), Some(&gone));
    replace(&b, "b2").await;
    assert!(!b.is_here("b1") && b.is_here("b2"), "on one host at once");
    for number in 0..20 {
        let sid = format!("s{number}");
        tokio::join!(replace(&a, &sid), replace(&b, &sid));
        tokio::select! {
            () = a.sockets.until("one of two to go", |_| !a.is_here(&sid)) => {}
            () = b.sockets.until("one of two to go", |_| !b.is_here(&sid)) => {}
        }
        assert!(a.is_here(&sid) || b.is_here(&sid), "both went");
    }
    stage.settle(&[&a, &b]).await;
    let here = [&a, &b].map(|host| (0..20).filter(|number| host.is_here(&format!("s{number}"))).count());
    assert_eq!(here[0] + here[1], 1, "{here:?}");
    assert!(a.manager.is_online("/", "ann") && b.manager.is_online("/", "ann"));
}

/// A user who is online does not come a second time, wherever it is tried.
pub async fn refuse_new(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    let refuse = async |host: &Host, sid: &str| host.bind(sid, "ann", UserPolicy::RefuseNew).await;
    let is_taken = |bound: Result<(), BindError>| match bound {
        Ok(()) => false,
        Err(BindError::Taken) => true,
        Err(error) => panic!("{error}"),
    };
    assert!(!is_taken(refuse(&a, "a1").await));
    assert!(is_taken(refuse(&b, "b1").await), "whether b has heard of it or not");
    assert!(is_taken(refuse(&a, "a2").await));
    assert!(a.is_here("a1") && b.is_here("b1"), "who is refused is not disconnected");
    let again = a.manager.bind_user("/", "a1", "ann", UserPolicy::RefuseNew).await;
    assert!(again.is_ok(), "the same socket: {again:?}");
    // Or b would not hear of a user who has gone already.
    b.sockets
        .until("a user to come", |_| b.manager.is_online("/", "ann"))
        .await;
    a.leave("a1");
    let came_and_went = [("ann".to_owned(), true), ("ann".to_owned(), false)];
    let told = |sockets: &super::RecordingSockets| sockets.user_changes("/") == came_and_went;
    b.sockets.until("the user to come and go", told).await;
    for number in 0..20 {
        let sid = format!("s{number}");
        let (at_a, at_b) = tokio::join!(refuse(&a, &sid), refuse(&b, &sid));
        assert!(is_taken(at_a) != is_taken(at_b), "exactly one of two comes in");
        assert!(is_taken(refuse(&a, "a9").await) && is_taken(refuse(&b, "b9").await));
        for host in [&a, &b] {
            host.leave(&sid);
        }
        for host in [&a, &b] {
            let is_free = async {
                while host.manager.is_online("/", "ann") {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(PATIENCE, is_free)
                .await
                .expect("the user is free again");
        }
    }
}

/// Whoever can emit reaches all sockets of a user by their room, and can disconnect them.
pub async fn to_a_user(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    let worker = stage.worker();
    for (host, sid) in [(&a, "a1"), (&a, "a2"), (&b, "b1")] {
        host.bind_many(sid, "ann").await;
    }
    b.bind_many("b2", "bob").await;
    a.emit(Target::room(user_room("ann")), 1).await;
    // As an unchanged python-socketio worker does it.
    let python = r#"{"method": "emit", "event": "e", "data": [2], "namespace": "/", "room": "hallporter:user:ann"}"#;
    stage.publish(python).await;
    for (host, sid) in [(&a, "a2"), (&b, "b1")] {
        host.sockets
            .until("emits to a user", |_| host.heard(sid).len() == 2)
            .await;
    }
    // A socket that becomes another user is reached as that one.
    a.bind_many("a3", "ann").await;
    let becomes = a.manager.bind_user("/", "a3", "bob", UserPolicy::Many);
    becomes.await.expect("a user is bound");
    b.emit(rooms(&[&user_room("ann")]), 0).await;
    b.emit(rooms(&[&user_room("bob")]), 3).await;
    stage.settle(&[&a, &b]).await;
    for (host, sid) in [(&a, "a1"), (&a, "a2"), (&b, "b1")] {
        assert_eq!(host.heard(sid), ["e 1", "e 2", "e 0"], "{sid}");
    }
    assert_eq!((a.heard("a3"), b.heard("b2")), (vec!["e 3".into()], vec!["e 3".into()]));

    let disconnect = |user: &str, connection| Command::Disconnect {
        namespace: "/".into(),
        sid: user_room(user),
        connection,
    };
    a.manager.send(disconnect("ann", false)).await.expect("published");
    b.sockets.until("a disconnect", |_| !b.is_here("b1")).await;
    assert!(!a.is_here("a1") && !a.is_here("a2") && a.is_here("a3"));
    worker.send(disconnect("bob", true)).await.expect("published");
    for (host, sid) in [(&a, "a3"), (&b, "b2")] {
        host.sockets
            .until("a disconnect by a worker", |_| !host.is_here(sid))
            .await;
        let gone = Command::Disconnect {
            namespace: "/".into(),
            sid: sid.into(),
            connection: true,
        };
        assert!(host.sockets.calls().contains(&gone));
    }
}

/// One host leads: not the one that comes, and the next one when it goes.
pub async fn one_leads(cluster: &dyn Cluster) {
    let mut stage = Stage::new(cluster);
    stage.options.canary_interval = Duration::from_secs(1);
    let [a, b] = stage.hosts().await;
    tokio::select! {
        () = a.until_leads() => {}
        () = b.until_leads() => {}
    }
    stage.settle(&[&a, &b]).await;
    assert_ne!(a.leads(), b.leads());
    let (first, second) = if a.leads() { (a, b) } else { (b, a) };
    let third = stage.start(stage.options.clone());
    third
        .until_status("to listen", |status| *status == Status::Listening)
        .await;
    for host in [&first, &second, &third] {
        host.until_hosts(3).await;
    }
    first.manager.close().await;
    assert!(!first.leads());
    second.until_leads().await;
    assert!(!third.leads(), "the newest of three");
    // Without a word.
    drop(second);
    third.until_leads().await;
    assert!(!*stage.worker().leads().borrow());
}
