//! A worker and a host that asks it, in memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use hallporter_adapters::broker::{Broker, MemoryBroker, MemoryHub};
use hallporter_adapters::envelope::{self, encode_args};
use hallporter_adapters::wire::PythonWire;
use hallporter_adapters::{Args, AskError, Cluster, PubSubManager};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{Barrier, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

type Manager = PubSubManager<MemoryBroker, PythonWire>;

fn manager_on(hub: &Arc<MemoryHub>, options: ManagerOptions) -> Arc<Manager> {
    let wire = PythonWire::new(&options.channel);
    Arc::new(PubSubManager::new(MemoryBroker::new(hub.clone()), wire, options))
}

/// A host that asks, and the broker.
struct Scene {
    hub: Arc<MemoryHub>,
    gateway: Arc<Manager>,
}

/// A running worker; it ends with this, or when it is told.
struct Running {
    end: oneshot::Sender<()>,
    worker: JoinHandle<()>,
}

impl Scene {
    async fn new() -> Self {
        let hub = Arc::<MemoryHub>::default();
        let gateway = manager_on(&hub, ManagerOptions::default());
        gateway.start(Arc::new(NoSockets::new(drop)));
        let mut status = gateway.status();
        status.wait_for(|status| *status == Status::Listening).await.unwrap();
        Self { hub, gateway }
    }

    fn run(&self, mut worker: Worker) -> Running {
        worker.options.canary_interval = Duration::from_millis(50);
        let manager = manager_on(&self.hub, worker.options.clone());
        let (end, ended) = oneshot::channel();
        let worker = tokio::spawn(worker.work(manager, async {
            let _ = ended.await;
        }));
        Running { end, worker }
    }

    /// What the group `orders` answers to an event.
    async fn ask(&self, sid: &str, event: &str, data: &impl Serialize) -> envelope::Reply {
        let event = an_event("", sid, event, data);
        self.gateway.ask_group("orders", event, PATIENCE).await.unwrap()
    }
}

impl Running {
    async fn end(self) {
        self.end.send(()).unwrap();
        self.worker.await.unwrap();
    }
}

fn an_event(id: &str, sid: &str, event: &str, data: &impl Serialize) -> envelope::Event {
    let (args, attachments) = encode_args(&Args::encode(data).unwrap()).unwrap();
    envelope::Event {
        version: envelope::VERSION,
        id: id.into(),
        retry_of: None,
        gateway: "gateway".into(),
        namespace: "/".into(),
        event: event.into(),
        sid: Some(sid.into()),
        user: None,
        args,
        attachments,
        session: json!({"visits": 3}).as_object().unwrap().clone(),
        session_version: 7,
        handshake: None,
        disconnects: Vec::new(),
        reply_to: None,
    }
}

fn acked(reply: &envelope::Reply) -> &str {
    reply.ack.as_ref().map_or("none", |ack| ack.get())
}

fn code(reply: &envelope::Reply) -> &str {
    reply.error.as_ref().map_or("none", |error| error.code.as_str())
}

fn orders() -> Worker {
    Worker::new("memory://").group("orders")
}

#[tokio::test]
async fn a_handler_s_reply_error_and_panic_reach_who_asked() {
    let scene = Scene::new().await;
    let worker = orders()
        .on("order.new", async |event: Event| {
            let (dish, table): (String, Option<u8>) = event.data()?;
            let visits: u32 = event.session("visits")?.unwrap_or_default();
            Ok(Reply::ack(&(dish, table))?
                .set("visits", visits + 1)?
                .join("guests")
                .emit_to("kitchen", "order", &1)?)
        })
        .on("order.*", async |event: Event| match event.event.as_str() {
            "order.refused" => Err(HandlerError::new("sold_out", "nothing left").data(7)),
            "order.fails" => Ok(Reply::ack(&"not a number".parse::<u8>()?)?),
            other => panic!("{other}"),
        })
        .on("connect", async |_| Err(HandlerError::refusal("closed")));
    let worker = scene.run(worker);
    let reply = scene.ask("a", "order.new", &("soup", 4)).await;
    assert_eq!((acked(&reply), reply.attempt), (r#"["soup",4]"#, Some(1)));
    let session = reply.session.unwrap();
    assert_eq!((session.version, &session.set["visits"]), (7, &json!(4)));
    assert_eq!(reply.join, ["guests"]);
    let emit = &reply.emits[0];
    assert_eq!(
        (emit.event.as_str(), &emit.rooms),
        ("order", &Some(vec!["kitchen".into()]))
    );

    for (event, expected) in [
        ("order.new", "bad_request"),
        ("order.refused", "sold_out"),
        ("order.fails", "internal"),
        ("order.panics", "internal"),
        ("other", "unhandled"),
        ("disconnect", "unhandled"),
    ] {
        let reply = scene.ask("a", event, &[1, 2, 3]).await;
        assert_eq!(code(&reply), expected, "{event}: {reply:?}");
    }
    assert_eq!(scene.ask("a", "connect", &()).await.refuse.unwrap().message, "closed");
    worker.end().await;
}

#[tokio::test]
async fn one_socket_s_events_keep_their_order_and_many_are_handled_at_once() {
    let scene = Scene::new().await;
    let (both, (seen, mut order)) = (Arc::new(Barrier::new(2)), mpsc::unbounded_channel());
    let worker = orders()
        .on("meet", move |_| {
            let both = both.clone();
            async move {
                both.wait().await;
                Ok(Reply::new())
            }
        })
        .on("count", move |event: Event| {
            let seen = seen.clone();
            async move {
                let number: u32 = event.data()?;
                // The earlier, the longer.
                for _ in number..20 {
                    tokio::task::yield_now().await;
                }
                seen.send(number)?;
                Ok(Reply::new())
            }
        });
    let worker = scene.run(worker);
    // Neither is answered before the other is in hand too.
    tokio::join!(scene.ask("a", "meet", &()), scene.ask("b", "meet", &()));
    for number in 0..20 {
        scene
            .gateway
            .put("orders", &an_event("", "a", "count", &number))
            .await
            .unwrap();
    }
    for number in 0..20 {
        assert_eq!(order.recv().await, Some(number));
    }
    worker.end().await;
}

#[tokio::test]
async fn what_comes_again_is_answered_again_and_not_handled() {
    let scene = Scene::new().await;
    let handled = Arc::new(AtomicUsize::new(0));
    let count = handled.clone();
    let worker = scene.run(orders().on("*", move |_| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move { Ok(Reply::ack(&number)?) }
    }));
    let mut event = an_event("one", "a", "e", &());
    for _ in 0..3 {
        scene.gateway.put("orders", &event).await.unwrap();
    }
    event.id = "two".into();
    scene.gateway.put("orders", &event).await.unwrap();
    assert_eq!(acked(&scene.ask("a", "e", &()).await), "[2]", "two were handled before");
    assert_eq!(handled.load(Ordering::Relaxed), 3);
    worker.end().await;
}

#[tokio::test]
async fn what_takes_its_workers_with_it_or_cannot_be_read_is_put_aside() {
    let scene = Scene::new().await;
    let queue = "socketio.hallporter.worker.orders";
    let broker = MemoryBroker::new(scene.hub.clone());
    scene
        .gateway
        .put("orders", &an_event("poison", "a", "e", &()))
        .await
        .unwrap();
    for attempt in 1..=2 {
        let mut tasks = scene.gateway.take("orders", 1).await.unwrap();
        assert_eq!(tasks.next().await.unwrap().attempt, attempt, "then it is dropped");
    }
    broker.put(queue, "rubbish".into()).await.unwrap();
    let worker = scene.run(
        orders()
            .tries(2)
            .on("*", async |event: Event| Ok(Reply::ack(&event.id)?)),
    );
    let mut dead = broker.take(&format!("{queue}.dead"), 2).await.unwrap();
    let mut bodies = [dead.next().await.unwrap().body, dead.next().await.unwrap().body];
    bodies.sort_by_key(|body| body.len());
    assert_eq!(bodies[0], "rubbish");
    assert_eq!(serde_json::from_slice::<Value>(&bodies[1]).unwrap()["id"], "poison");
    assert_eq!(code(&scene.ask("a", "e", &()).await), "none", "the worker goes on");
    worker.end().await;
}

#[tokio::test]
async fn who_ends_answers_what_is_in_hand_and_leaves_the_rest_to_others() {
    let scene = Scene::new().await;
    let (came, mut in_hand) = mpsc::unbounded_channel();
    let worker = scene.run(orders().in_hand(1).on("*", move |_| {
        let (go, gone) = oneshot::channel::<()>();
        let came = came.send(go);
        async move {
            came?;
            gone.await?;
            Ok(Reply::ack(&"first")?)
        }
    }));
    let (first, rest, other) = tokio::join!(scene.ask("a", "e", &()), scene.ask("b", "e", &()), async {
        let go = in_hand.recv().await.unwrap();
        let Running { end, worker } = worker;
        end.send(()).unwrap();
        assert!(!worker.is_finished(), "it waits for its handler");
        go.send(()).unwrap();
        worker.await.unwrap();
        scene.run(orders().on("*", async |_| Ok(Reply::ack(&"second")?)))
    });
    assert_eq!((acked(&first), acked(&rest)), (r#"["first"]"#, r#"["second"]"#));
    other.end().await;
}

#[tokio::test]
async fn an_instance_is_called_and_calls() {
    let scene = Scene::new().await;
    let worker = Worker::new("memory://")
        .instance("chat-1", "chat")
        .on("say", async |event: Event| {
            let instances = event.cluster().instances();
            Ok(Reply::ack(
                &instances.iter().map(|instance| &instance.kind).collect::<Vec<_>>(),
            )?)
        });
    let worker = worker.method("add", async |call: Call| {
        let (a, b): (u32, u32) = call.data()?;
        Ok(Reply::ack(&(a + b))?)
    });
    let worker = scene.run(worker);
    let args = Args::encode(&(1, 2)).unwrap();
    while scene.gateway.instances().len() < 2 {
        tokio::task::yield_now().await;
    }
    let reply = scene.gateway.call("chat-1", "add", &args, PATIENCE).await.unwrap();
    assert_eq!(acked(&reply), "[3]");
    let reply = scene.gateway.call("chat-1", "divide", &args, PATIENCE).await.unwrap();
    assert_eq!(code(&reply), "unhandled");
    let event = an_event("", "a", "say", &());
    let reply = scene.gateway.ask_instance("chat-1", event, PATIENCE).await.unwrap();
    assert_eq!(acked(&reply), r#"[["chat","gateway"]]"#);
    worker.end().await;
    let gone = scene.gateway.call("chat-1", "add", &args, PATIENCE).await;
    assert!(matches!(gone, Err(AskError::NoInstance(id)) if id == "chat-1"));
}

#[tokio::test]
async fn names_that_no_broker_takes_are_refused() {
    let refused = async |worker: Worker| worker.run(std::future::pending()).await.unwrap_err();
    let worker = || Worker::new("redis://127.0.0.1:1");
    assert!(matches!(refused(worker().group("a b")).await, WorkerError::Group(_)));
    assert!(matches!(refused(worker().group("")).await, WorkerError::Group(_)));
    assert!(matches!(
        refused(worker().instance("a/b", "c")).await,
        WorkerError::Instance(_)
    ));
    assert!(matches!(
        refused(worker().instance("a", "")).await,
        WorkerError::Instance(_)
    ));
    assert!(matches!(refused(orders()).await, WorkerError::Url(UrlError::Memory)));
}
