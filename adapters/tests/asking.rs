//! What is asked of groups and instances, when nobody or too late somebody answers.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "this is a test")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hallporter_adapters::broker::{Broker, MemoryBroker, MemoryHub};
use hallporter_adapters::conformance::RecordingSockets;
use hallporter_adapters::envelope::{Event, Reply, VERSION};
use hallporter_adapters::wire::PythonWire;
use hallporter_adapters::{
    Args, AskError, Asked, ClientManager, Cluster, Emit, EventName, ManagerError, ManagerOptions, MemoryManager,
    NoSockets, Role, Status, Target, Task,
};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

const INTERVAL: Duration = Duration::from_secs(2);

/// A time-out that no test waits for.
const LONG: Duration = Duration::from_secs(3600);

fn manager(hub: &Arc<MemoryHub>, options: ManagerOptions) -> MemoryManager {
    let options = ManagerOptions {
        canary_interval: INTERVAL,
        ..options
    };
    MemoryManager::new(MemoryBroker::new(hub.clone()), PythonWire::new("socketio"), options)
}

async fn gateway(hub: &Arc<MemoryHub>) -> MemoryManager {
    let manager = manager(hub, ManagerOptions::default());
    manager.start(Arc::new(RecordingSockets::default()));
    listening(&manager).await;
    manager
}

async fn listening(manager: &MemoryManager) {
    let mut status = manager.status();
    let listening = status.wait_for(|status| *status == Status::Listening);
    timeout(INTERVAL * 10, listening).await.unwrap().unwrap();
}

fn event() -> Event {
    serde_json::from_value(json!({
        "version": VERSION, "id": "", "gateway": "g", "namespace": "/", "event": "e", "args": [1],
    }))
    .unwrap()
}

fn read(task: &Task) -> Event {
    serde_json::from_slice(&task.body).unwrap()
}

fn reply(event: &Event, attempt: u32) -> Reply {
    Reply {
        id: event.id.clone(),
        attempt: Some(attempt),
        ack: Some(RawValue::from_string("[2]".into()).unwrap()),
        ..Reply::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_with_an_event_in_hand_loses_nothing() {
    let hub = Arc::default();
    let gateway = gateway(&hub).await;
    let work = async {
        // One that only takes and answers need not listen.
        let worker = manager(&hub, ManagerOptions::default());
        let mut tasks = worker.take("orders", 1).await.unwrap();
        let dies = tasks.next().await.unwrap();
        let id = read(&dies).id;
        drop(dies);
        let task = tasks.next().await.unwrap();
        let event = read(&task);
        assert_eq!((&event.id, task.attempt), (&id, 2));
        let reply = reply(&event, task.attempt);
        // It may die before it is done, and then another answers again.
        for _ in 0..2 {
            worker.answer(event.reply_to.as_ref().unwrap(), &reply).await.unwrap();
        }
        task.hold.done().await.unwrap();
        id
    };
    let (reply, id) = tokio::join!(gateway.ask_group("orders", event(), LONG), work);
    let reply = reply.unwrap();
    assert_eq!((reply.id, reply.ack.unwrap().get()), (id, "[2]"));
}

#[tokio::test(start_paused = true)]
async fn asking_never_hangs() {
    let hub = Arc::default();
    let gateway = gateway(&hub).await;
    let asked = Instant::now();
    let unanswered = gateway.ask_group("orders", event(), INTERVAL).await;
    assert!(
        matches!(unanswered, Err(AskError::TimedOut(INTERVAL))),
        "{unanswered:?}"
    );
    assert_eq!(asked.elapsed(), INTERVAL);
    // The event is still there for who comes later, and bears an id.
    let task = gateway.take("orders", 1).await.unwrap().next().await.unwrap();
    assert!(read(&task).id.starts_with(gateway.host_id()), "{:?}", read(&task).id);
    let own = gateway.instances()[0].id.clone();
    let unanswered = gateway.call(&own, "nobody answers", &Args::none(), INTERVAL).await;
    assert!(
        matches!(unanswered, Err(AskError::TimedOut(INTERVAL))),
        "{unanswered:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_full_refuses() {
    let hub = Arc::default();
    let emitter = manager(&hub, ManagerOptions::default());
    let mut event = event();
    event.id = "1".into();
    for _ in 0..100_000 {
        emitter.put("orders", &event).await.unwrap();
    }
    let refused = emitter.put("orders", &event).await;
    assert!(
        matches!(&refused, Err(AskError::QueueFull(group)) if group == "orders"),
        "{refused:?}"
    );
    emitter.put("others", &event).await.unwrap();
    let gateway = gateway(&hub).await;
    let refused = gateway.ask_group("orders", event, LONG).await;
    assert!(matches!(refused, Err(AskError::QueueFull(_))), "{refused:?}");
}

#[tokio::test]
async fn what_cannot_be_put_is_refused() {
    let hub = Arc::default();
    let gateway = gateway(&hub).await;
    for group in ["", "a.b", "a b", "é", &"a".repeat(65)] {
        let refused = gateway.put(group, &event()).await;
        let Err(AskError::Manager(ManagerError::Refused { .. })) = refused else {
            panic!("{group:?}: {refused:?}");
        };
        assert!(gateway.take(group, 1).await.is_err(), "{group:?}");
    }
    let mut large = event();
    large.namespace = "x".repeat(1 << 20);
    let refused = gateway.ask_group("orders", large, LONG).await;
    let Err(AskError::Manager(ManagerError::TooLarge { .. })) = refused else {
        panic!("{refused:?}");
    };
    // Who is not listening would not hear the reply.
    let emitter = manager(&hub, ManagerOptions::default());
    let refused = emitter.ask_group("orders", event(), LONG).await;
    let Err(AskError::Manager(ManagerError::WriteOnly)) = refused else {
        panic!("{refused:?}");
    };
    gateway.close().await;
    let refused = gateway.ask_group("orders", event(), LONG).await;
    let Err(AskError::Manager(ManagerError::Unavailable { .. })) = refused else {
        panic!("{refused:?}");
    };
}

/// Shows an instance once that nobody is behind.
async fn show(hub: &Arc<MemoryHub>, id: &str, host: &str, age: u64) {
    let message = json!({"instance": {"host": host, "id": id, "type": "chat", "age": age}});
    let broker = MemoryBroker::new(hub.clone());
    let body = Bytes::from(message.to_string());
    broker.publish("socketio.hallporter", body).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_falls_silent_is_not_waited_for() {
    let hub = Arc::default();
    let gateway = gateway(&hub).await;
    show(&hub, "chat-1", "hallporter-b", 0).await;
    while gateway.instances().len() < 2 {
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    let asked = Instant::now();
    let called = gateway.call("chat-1", "m", &Args::none(), LONG).await;
    assert!(matches!(called, Err(AskError::NoInstance(_))), "{called:?}");
    let silence = INTERVAL * 3 - Duration::from_millis(10)..=INTERVAL * 3 + INTERVAL / 4;
    assert!(silence.contains(&asked.elapsed()), "{:?}", asked.elapsed());
    assert_eq!(gateway.instances().len(), 1);
}

/// A worker that listens, and what it is asked.
async fn worker(hub: &Arc<MemoryHub>, id: &str) -> (MemoryManager, mpsc::Receiver<Asked>) {
    let (sender, asked) = mpsc::channel(9);
    let worker = manager(
        hub,
        ManagerOptions {
            role: Role::Worker,
            instance: Some(id.into()),
            instance_type: "chat".into(),
            ..ManagerOptions::default()
        },
    );
    worker.start(Arc::new(NoSockets::new(move |asked| drop(sender.try_send(asked)))));
    listening(&worker).await;
    (worker, asked)
}

#[tokio::test(start_paused = true)]
async fn a_worker_does_not_hide_a_foreign_host() {
    let hub = Arc::default();
    let gateway = manager(&hub, ManagerOptions::default());
    let sockets = Arc::new(RecordingSockets::default());
    sockets.connect_answering("/", "a1", |_| Some(Args::none()));
    gateway.start(sockets);
    listening(&gateway).await;
    let _worker = worker(&hub, "chat-1").await;
    let waited = async || {
        let emit = Emit {
            namespace: "/".into(),
            target: Target::all(),
            event: EventName::new("e"),
            args: Args::none(),
            volatile: false,
        };
        let asked = Instant::now();
        let stream = gateway.emit_with_ack(emit, INTERVAL).await.unwrap();
        assert_eq!(stream.all().await.0.len(), 1);
        asked.elapsed()
    };
    assert_eq!(waited().await, Duration::ZERO, "nobody waits for a worker");
    let broker = MemoryBroker::new(hub.clone());
    let topic = ["socketio".to_owned()];
    let _foreign = broker.listen(&topic).await.unwrap();
    assert_eq!(waited().await, INTERVAL, "its clients may answer yet");
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_to_the_instance_that_started_last() {
    let hub = Arc::default();
    let gateway = gateway(&hub).await;
    let (_worker, mut asked) = worker(&hub, "chat-1").await;
    // The one that it replaces shows itself later, and once more.
    show(&hub, "chat-1", "hallporter-old", 60_000).await;
    while gateway.instances().len() < 3 {
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    gateway.notify("chat-1", "m", &Args::none()).await.unwrap();
    let Some(Asked::Call(call)) = asked.recv().await else {
        panic!("no call");
    };
    assert_eq!(call.method, "m");
}
