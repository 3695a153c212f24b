//! Instances know each other, and call each other.

use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::Cluster;
use super::recording::PATIENCE;
use super::stage::{Host, Stage, emit, rooms};
use crate::envelope::{Call, Event, Reply, ReplyError, VERSION, encode_args};
use crate::{Args, AskError, Asked, ManagerError, Status, Target, UserPolicy};

/// A time-out that no case waits for.
const LONG: Duration = Duration::from_secs(60);

/// One that is waited for.
const SHORT: Duration = Duration::from_millis(500);

impl Host {
    fn instance_id(&self) -> String {
        let all = self.manager.instances();
        let own = all
            .into_iter()
            .find(|instance| instance.host_id == self.manager.host_id());
        own.expect("an instance knows itself").id
    }

    /// The call with this number, from zero.
    async fn called(&self, number: usize) -> Call {
        self.sockets
            .until("a call", |sockets| sockets.asked().len() > number)
            .await;
        match self.sockets.asked().swap_remove(number) {
            Asked::Call(call) => *call,
            Asked::Event(event) => panic!("an event instead of a call: {event:?}"),
        }
    }

    /// Answers with the method and its arguments.
    async fn echo(&self, call: &Call) {
        let reply = Reply {
            id: call.id.clone(),
            ack: Some(json(&format!("[{:?},{}]", call.method, call.args.get()))),
            attachments: call.attachments.clone(),
            ..Reply::default()
        };
        self.answer(call, &reply).await;
    }

    async fn answer(&self, call: &Call, reply: &Reply) {
        let reply_to = call.reply_to.as_deref().expect("somebody waits");
        let answered = self.manager.answer(reply_to, reply).await;
        answered.expect("a reply is published");
    }

    async fn call(&self, instance: &str, args: &Args, timeout: Duration) -> Result<Reply, AskError> {
        let called = self.manager.call(instance, "echo", args, timeout);
        let ended = tokio::time::timeout(PATIENCE, called).await;
        ended.expect("a call ends once it is replied to, not at its time-out")
    }
}

fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("JSON of a test")
}

fn args(array: &str) -> Args {
    Args::from_json_array(array, Vec::new()).expect("arguments of a test")
}

fn echoed(reply: Result<Reply, AskError>) -> String {
    let reply = reply.expect("a reply");
    reply.args().expect("arguments of a client").as_json().to_owned()
}

/// An event of a client.
fn client_event() -> Event {
    let array = r#"["é",{"_placeholder":true,"num":0}]"#;
    let binary = Args::from_json_array(array, vec![Bytes::from_static(b"\x00\xff")]).expect("a placeholder fits");
    let (args, attachments) = encode_args(&binary).expect("arguments are JSON");
    Event {
        version: VERSION,
        id: String::new(),
        retry_of: None,
        gateway: "g".into(),
        namespace: "/".into(),
        event: "e".into(),
        sid: Some("a1".into()),
        user: None,
        args,
        attachments,
        session: serde_json::Map::new(),
        session_version: 7,
        handshake: None,
        disconnects: Vec::new(),
        reply_to: None,
    }
}

/// Gateways and workers know each other; a newcomer knows all at once, and who closes is forgotten.
pub async fn come_and_go(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    let two = stage.instance("chat-2").await;
    let one = stage.instance("chat-1").await;
    for host in [&a, &b, &one, &two] {
        host.until_instances(4).await;
        let all = host.manager.instances();
        let known: Vec<_> = all.iter().map(|its| (its.kind.as_str(), its.id.as_str())).collect();
        let mut gateways = [a.manager.host_id(), b.manager.host_id()];
        gateways.sort_unstable();
        let [first, second] = gateways.map(|id| ("gateway", id));
        assert_eq!(known, [("chat", "chat-1"), ("chat", "chat-2"), first, second]);
    }
    // Only gateways are hosts that clients may be at.
    one.until_hosts(2).await;
    assert_eq!(a.manager.hosts().len(), 2);
    two.manager.close().await;
    two.until_status("to be idle", |status| *status == Status::Idle).await;
    b.manager.close().await;
    for host in [&a, &one] {
        host.until_instances(2).await;
    }
    one.until_hosts(1).await;
    assert!(stage.worker().instances().is_empty(), "who only writes knows nobody");
}

/// Calls go to the instance that is named, and their replies to who called.
pub async fn call(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    let worker = stage.instance("chat-1").await;
    for host in [&a, &b, &worker] {
        host.until_instances(3).await;
    }
    let answer = async {
        let first = worker.called(0).await;
        let second = worker.called(1).await;
        // In the other order.
        worker.echo(&second).await;
        worker.echo(&first).await;
    };
    let (one, two) = (args("[1]"), args(r#"["€",null]"#));
    let (of_a, of_b, ()) = tokio::join!(a.call("chat-1", &one, LONG), b.call("chat-1", &two, LONG), answer);
    assert_eq!(
        (echoed(of_a).as_str(), echoed(of_b).as_str()),
        (r#""echo",[1]"#, r#""echo",["€",null]"#)
    );
    // The other way round, and to oneself.
    let id = a.instance_id();
    for (number, caller) in [&worker, &a].into_iter().enumerate() {
        let answer = async {
            let call = a.called(number).await;
            assert_eq!(call.from, caller.instance_id());
            a.echo(&call).await;
        };
        let (reply, ()) = tokio::join!(caller.call(&id, &one, LONG), answer);
        assert_eq!(echoed(reply), r#""echo",[1]"#);
    }
    // An error is a reply.
    let answer = async {
        let call = worker.called(2).await;
        let error = Some(ReplyError {
            code: "unhandled".into(),
            message: "there is no such method".into(),
            data: None,
        });
        let reply = Reply {
            id: call.id.clone(),
            error,
            ..Reply::default()
        };
        worker.answer(&call, &reply).await;
    };
    let (reply, ()) = tokio::join!(a.call("chat-1", &one, LONG), answer);
    assert_eq!(reply.expect("a reply").error.expect("an error").code, "unhandled");
}

/// Nobody waits for a reply to what is only told.
pub async fn notify(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a] = stage.hosts().await;
    let worker = stage.instance("chat-1").await;
    a.until_instances(2).await;
    a.manager
        .notify("chat-1", "wake", &args("[1]"))
        .await
        .expect("it is published");
    let call = worker.called(0).await;
    assert_eq!(
        (call.method.as_str(), call.args.get(), call.reply_to),
        ("wake", "[1]", None)
    );
}

/// An event is handled by one instance, which may answer on topics of hosts alone.
pub async fn event(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a] = stage.hosts().await;
    let worker = stage.instance("chat-1").await;
    a.until_instances(2).await;
    let answer = async {
        worker
            .sockets
            .until("an event", |sockets| !sockets.asked().is_empty())
            .await;
        let Asked::Event(event) = worker.sockets.asked().remove(0) else {
            panic!("a call instead of an event");
        };
        let reply = Reply {
            id: event.id.clone(),
            ack: Some(event.args.clone()),
            attachments: event.attachments.clone(),
            ..Reply::default()
        };
        let reply_to = event.reply_to.as_deref().expect("somebody waits");
        worker
            .manager
            .answer(reply_to, &reply)
            .await
            .expect("a reply is published");
        for elsewhere in [stage.options.channel.as_str(), "", "other.hallporter.hallporter-1"] {
            let refused = worker.manager.answer(elsewhere, &reply).await;
            assert!(
                matches!(refused, Err(ManagerError::Refused { .. })),
                "{elsewhere}: {refused:?}"
            );
        }
        *event
    };
    let asked = client_event();
    let (reply, heard) = tokio::join!(a.manager.ask_instance("chat-1", asked.clone(), LONG), answer);
    let reply = reply.expect("a reply");
    assert_eq!(
        reply.args().expect("arguments").attachments(),
        [Bytes::from_static(b"\x00\xff")]
    );
    assert_eq!((reply.id, heard.session_version), (heard.id, asked.session_version));
}

/// Who is not there is not called.
pub async fn none(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a] = stage.hosts().await;
    let called = a.call("chat-1", &Args::none(), LONG).await;
    assert!(
        matches!(&called, Err(AskError::NoInstance(id)) if id == "chat-1"),
        "{called:?}"
    );
    let told = a.manager.notify("chat-1", "echo", &Args::none()).await;
    assert!(matches!(told, Err(AskError::NoInstance(_))), "{told:?}");
    let called = stage.worker().call("chat-1", "echo", &Args::none(), LONG).await;
    assert!(
        matches!(called, Err(AskError::Manager(ManagerError::WriteOnly))),
        "{called:?}"
    );
    let too_large = Args::encode(&"x".repeat(stage.options.max_message)).expect("JSON");
    let called = a.call(&a.instance_id(), &too_large, LONG).await;
    assert!(
        matches!(called, Err(AskError::Manager(ManagerError::TooLarge { .. }))),
        "{called:?}"
    );
}

/// Nobody waits for an instance that closes.
pub async fn of_one_that_goes(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a] = stage.hosts().await;
    let worker = stage.instance("chat-1").await;
    a.until_instances(2).await;
    let close = async {
        worker.called(0).await;
        worker.manager.close().await;
    };
    let nothing = Args::none();
    let (called, ()) = tokio::join!(a.call("chat-1", &nothing, LONG), close);
    assert!(matches!(called, Err(AskError::NoInstance(_))), "{called:?}");
}

/// A reply that comes late or twice is passed over, and never stands for another.
pub async fn late(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a] = stage.hosts().await;
    let worker = stage.instance("chat-1").await;
    a.until_instances(2).await;
    let before = cluster.replies_dropped("nobody_waits");
    let called = a.call("chat-1", &args("[1]"), SHORT).await;
    assert!(matches!(called, Err(AskError::TimedOut(SHORT))), "{called:?}");
    let answer = async {
        let (late, call) = (worker.called(0).await, worker.called(1).await);
        worker.echo(&late).await;
        worker.echo(&late).await;
        worker.echo(&call).await;
    };
    let two = args("[2]");
    let (reply, ()) = tokio::join!(a.call("chat-1", &two, LONG), answer);
    assert_eq!(echoed(reply), r#""echo",[2]"#);
    // Other cases may run beside this one.
    if let Some((before, after)) = before.zip(cluster.replies_dropped("nobody_waits")) {
        assert!(after >= before + 2, "{after} after {before}");
    }
}

/// A worker can ask all that a gateway can, hears no emits, and nobody waits for it.
pub async fn by_a_worker(cluster: &dyn Cluster) {
    let stage = Stage::new(cluster);
    let [a, b] = stage.hosts().await;
    let worker = stage.instance("chat-1").await;
    worker.until_hosts(2).await;
    let leads = worker.manager.leads();
    for (host, sid) in [(&a, "a1"), (&b, "b1")] {
        host.sockets.connect_answering("/", sid, |emit| Some(emit.args.clone()));
    }
    let bound = a.manager.bind_user("/", "a1", "ann", UserPolicy::Many).await;
    bound.expect("a user is bound");
    let online = async {
        while !worker.manager.is_online("/", "ann") {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, online).await.expect("it hears of users");
    // And so does one that comes later.
    let later = stage.instance("chat-2").await;
    let online = async {
        while !later.manager.is_online("/", "ann") {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, online).await.expect("it asks for users");
    for asker in [&worker, &a] {
        let asked = asker.manager.emit_with_ack(emit(Target::all(), "e", &1), LONG).await;
        let stream = asked.expect("an emit with ack is published");
        let ended = tokio::time::timeout(PATIENCE, stream.all()).await;
        let (acks, missing) = ended.expect("acks end once all clients have answered");
        assert_eq!((acks.len(), missing), (2, 0));
        let sockets = asker.manager.sockets("/", &Target::all()).await;
        assert_eq!(sockets.expect("all gateways answer").len(), 2);
    }
    worker.emit(rooms(&["b1"]), 7).await;
    stage.fence(&worker.manager, &[&a, &b]).await;
    assert_eq!(b.heard("b1"), ["e 1", "e 1", "e 7"]);
    worker.connect("w1", &[]);
    a.emit(Target::all(), 8).await;
    let told = a.manager.notify("chat-1", "wake", &Args::none()).await;
    told.expect("it is published");
    worker.called(0).await;
    assert_eq!(worker.heard("w1"), Vec::<String>::new(), "it hears no emits");
    assert!(!*leads.borrow(), "it never leads");
}
