//! Rules of a cluster that only show when messages of several hosts come in an unlucky order.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "this is a test")]

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use hallporter_adapters::broker::{Broker, MemoryBroker, MemoryHub};
use hallporter_adapters::conformance::RecordingSockets;
use hallporter_adapters::wire::PythonWire;
use hallporter_adapters::{
    Ack, Args, ClientManager, Emit, EventName, LocalSockets, ManagerOptions, Membership, MemoryManager, RoomIsSid,
    SocketInfo, Status, Target,
};
use serde_json::{Value, json};

/// A time-out that no test waits for.
const LONG: Duration = Duration::from_secs(60);

const PATIENCE: Duration = Duration::from_secs(20);

/// A host, and a way to play all others.
struct Stage {
    hub: Arc<MemoryHub>,
    manager: MemoryManager,
    sockets: Arc<RecordingSockets>,
}

fn manager(hub: &Arc<MemoryHub>, options: ManagerOptions) -> MemoryManager {
    MemoryManager::new(MemoryBroker::new(hub.clone()), PythonWire::new("socketio"), options)
}

async fn listening(manager: &MemoryManager) {
    let mut status = manager.status();
    let listening = status.wait_for(|status| *status == Status::Listening);
    tokio::time::timeout(PATIENCE, listening).await.unwrap().unwrap();
}

impl Stage {
    async fn new() -> Self {
        let hub = Arc::default();
        let manager = manager(&hub, ManagerOptions::default());
        let sockets = Arc::new(RecordingSockets::default());
        sockets.connect("/", "a1");
        sockets.connect("/fence", "fence");
        manager.start(sockets.clone());
        listening(&manager).await;
        Self { hub, manager, sockets }
    }

    async fn publish(&self, topic: &str, message: Value) {
        let broker = MemoryBroker::new(self.hub.clone());
        let body = Bytes::from(message.to_string());
        broker.publish(&format!("socketio{topic}"), body).await.unwrap();
    }

    /// To all Hallporter hosts.
    async fn tell(&self, message: Value) {
        self.publish(".hallporter", message).await;
    }

    /// Returns when everything published so far has been carried out.
    async fn fence(&self) {
        let count = self.sockets.count("/fence", "fence");
        self.publish(
            "",
            json!({"method": "emit", "event": "fence", "data": [], "namespace": "/fence"}),
        )
        .await;
        let came = |sockets: &RecordingSockets| sockets.count("/fence", "fence") > count;
        self.sockets.until("a fence", came).await;
    }
}

fn emit(room: &str) -> Emit {
    Emit {
        namespace: "/".into(),
        target: Target::room(room),
        event: EventName::new("e"),
        args: Args::none(),
        volatile: false,
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it comes in time")
}

#[tokio::test]
async fn a_host_that_is_not_known_yet_is_no_foreign_host() {
    let stage = Stage::new().await;
    let unknown = manager(&stage.hub, ManagerOptions::default());
    let asks = json!({
        "method": "emit", "event": "e", "data": [], "namespace": "/", "room": "nobody's",
        "callback": ["", "/", 1], "host_id": unknown.host_id(),
    });
    stage.publish("", asks).await;
    stage.fence().await;
    stage.sockets.connect_answering("/", "a2", |_| Some(Args::none()));
    let asked = stage.manager.emit_with_ack(emit("a2"), LONG).await.unwrap();
    assert_eq!(
        soon(asked.all()).await.1,
        0,
        "it ends although a host may hold clients whose number it does not tell"
    );
}

#[tokio::test]
async fn acks_of_a_host_that_came_meanwhile_do_not_stand_for_others() {
    let stage = Stage::new().await;
    stage.tell(json!({"alive": {"host": "b"}})).await;
    stage.fence().await;
    let mut asked = stage.manager.emit_with_ack(emit("r"), LONG).await.unwrap();
    // The first thing this host waits for.
    let id = 1;
    let ack = |sid: &str| json!({"ack": {"id": id, "sid": sid, "args": [], "attachments": []}});
    stage.tell(json!({"expect": {"host": "c", "id": id, "count": 1}})).await;
    stage.tell(ack("c1")).await;
    stage.tell(json!({"expect": {"host": "b", "id": id, "count": 1}})).await;
    stage.tell(json!({"expect": {"host": "b", "id": id, "count": 9}})).await;
    stage.fence().await;
    assert_eq!(soon(asked.next()).await.unwrap().sid.as_deref(), Some("c1"));
    assert_eq!(asked.missing(), 1);
    assert!(
        tokio::time::timeout(Duration::from_millis(50), asked.next())
            .await
            .is_err()
    );
    stage.tell(ack("b1")).await;
    assert_eq!(soon(asked.next()).await.unwrap().sid.as_deref(), Some("b1"));
    assert_eq!(soon(asked.next()).await, None);
}

#[tokio::test]
async fn a_host_that_closes_is_not_waited_for() {
    let stage = Stage::new().await;
    stage.tell(json!({"alive": {"host": "b"}})).await;
    stage.fence().await;
    stage.sockets.connect_answering("/", "a2", |_| Some(Args::none()));
    let asked = stage.manager.emit_with_ack(emit("a2"), LONG).await.unwrap();
    let query = async {
        let all = Target::all();
        stage.manager.sockets("/", &all).await
    };
    let leave = async {
        stage.fence().await;
        stage.tell(json!({"gone": {"host": "b"}})).await;
    };
    let (sockets, ()) = soon(async { tokio::join!(query, leave) }).await;
    assert_eq!(sockets.unwrap().len(), 2);
    let (acks, missing) = soon(asked.all()).await;
    assert_eq!((acks.len(), missing), (1, 0));
}

#[tokio::test]
async fn a_heartbeat_that_comes_after_the_farewell_is_passed_over() {
    let stage = Stage::new().await;
    stage.tell(json!({"alive": {"host": "b"}})).await;
    stage.fence().await;
    assert_eq!(stage.manager.hosts().len(), 2);
    stage.tell(json!({"gone": {"host": "b"}})).await;
    stage.tell(json!({"alive": {"host": "b"}})).await;
    stage.fence().await;
    assert_eq!(stage.manager.hosts().len(), 1);
}

#[tokio::test]
async fn nothing_of_a_dropped_manager_remains() {
    let Stage { hub, manager, sockets } = Stage::new().await;
    // Somebody waits for an ack that does not come.
    for asker in ["python", "hallporter-x"] {
        let asks = json!({
            "method": "emit", "event": "e", "data": [], "namespace": "/", "room": "a1",
            "callback": ["a1", "/", 1], "host_id": asker,
        });
        let body = Bytes::from(asks.to_string());
        MemoryBroker::new(hub.clone()).publish("socketio", body).await.unwrap();
    }
    sockets
        .until("two emits", |sockets| sockets.count("/", "a1") == 2)
        .await;
    let status = manager.status();
    let weak = Arc::downgrade(&sockets);
    drop((sockets, manager));
    let freed = async {
        while weak.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    soon(freed).await;
    assert_eq!(*status.borrow(), Status::Idle);
}

/// Sockets that are slow once.
#[derive(Debug)]
struct Slow {
    sockets: RecordingSockets,
    gate: Mutex<mpsc::Receiver<()>>,
}

impl LocalSockets for Slow {
    fn deliver(&self, emit: &Emit) {
        if self.sockets.count("/", "s") == 0 {
            let _ = self.gate.lock().unwrap().recv_timeout(Duration::from_millis(300));
        }
        self.sockets.deliver(emit);
    }
    fn deliver_with_ack(&self, _: &Emit, _: Duration, _: tokio::sync::mpsc::Sender<Ack>) -> usize {
        0
    }
    fn has(&self, _: &str, _: &str) -> bool {
        false
    }
    fn enter_room(&self, _: &Membership) -> Result<(), RoomIsSid> {
        Ok(())
    }
    fn leave_room(&self, _: &Membership) {}
    fn close_room(&self, _: &str, _: &str) -> Result<(), RoomIsSid> {
        Ok(())
    }
    fn disconnect(&self, _: &str, _: &str, _: bool) {}
    fn sockets(&self, _: &str, _: &Target) -> Vec<SocketInfo> {
        Vec::new()
    }
}

/// A host that was busy or stopped for a while has its own heartbeats among the messages it is behind with.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_host_that_is_behind_is_not_deaf() {
    let hub = Arc::default();
    let options = ManagerOptions {
        canary_interval: Duration::from_millis(20),
        ..ManagerOptions::default()
    };
    let listener = manager(&hub, options);
    let (_open, gate) = mpsc::channel();
    let slow = Arc::new(Slow {
        sockets: RecordingSockets::default(),
        gate: Mutex::new(gate),
    });
    slow.sockets.connect("/", "s");
    listener.start(slow.clone());
    listening(&listener).await;
    let worker = manager(&hub, ManagerOptions::default());
    for _ in 0..200 {
        worker.emit(emit("s")).await.unwrap();
    }
    slow.sockets
        .until("all events", |sockets| sockets.count("/", "s") == 200)
        .await;
}
