//! Two socketioxide servers in one cluster, and real clients.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "this is a test")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hallporter_adapters::broker::{MemoryBroker, MemoryHub};
use hallporter_adapters::socketioxide::{ClusterAdapter, ClusterState};
use hallporter_adapters::wire::PythonWire;
use hallporter_adapters::{ClientManager, Command, ManagerOptions, MemoryManager, UserPolicy, user_room};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use socketioxide::SocketIo;
use socketioxide::extract::SocketRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const PATIENCE: Duration = Duration::from_secs(20);

type Io = SocketIo<ClusterAdapter>;

struct Server {
    io: Io,
    manager: Arc<dyn ClientManager>,
    address: SocketAddr,
}

impl Server {
    async fn start(hub: &Arc<MemoryHub>) -> Self {
        let options = ManagerOptions::default();
        let broker = MemoryBroker::new(hub.clone());
        let manager = Arc::new(MemoryManager::new(broker, PythonWire::new(&options.channel), options));
        let state = ClusterState::new(manager.clone());
        let (service, io) = SocketIo::builder().with_adapter::<ClusterAdapter>(state).build_svc();
        for namespace in ["/", "/chat"] {
            io.ns(namespace, async |_: SocketRef<ClusterAdapter>| {});
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
                tokio::spawn(connection.with_upgrades());
            }
        });
        Self { io, manager, address }
    }

    async fn client(&self, namespace: &str) -> Client {
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", self.address);
        let mut client = Client {
            stream: connect_async(url).await.unwrap().0,
            prefix: match namespace {
                "/" => String::new(),
                namespace => format!("{namespace},"),
            },
            sid: String::new(),
        };
        assert!(client.next().await.starts_with("0{"));
        client.send(&format!("40{}", client.prefix)).await;
        let connected = client.next().await;
        let object = connected.strip_prefix(&format!("40{}", client.prefix)).unwrap();
        let object: serde_json::Value = serde_json::from_str(object).unwrap();
        client.sid = object["sid"].as_str().unwrap().to_owned();
        client
    }
}

/// A socket of one namespace, on a session of its own.
struct Client {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    prefix: String,
    sid: String,
}

impl Client {
    async fn send(&mut self, packet: &str) {
        self.stream.send(Message::text(packet)).await.unwrap();
    }

    /// The next packet, pings answered.
    async fn next(&mut self) -> String {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.stream.next()).await;
            let message = next
                .expect("a packet comes in time")
                .expect("the connection lasts")
                .unwrap();
            match message {
                Message::Text(text) if text.as_str() == "2" => self.send("3").await,
                Message::Text(text) => return text.as_str().to_owned(),
                Message::Binary(bytes) => return format!("binary {bytes:?}"),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The events up to the next `fence`.
    async fn heard(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let packet = self.next().await;
            let event = packet.strip_prefix(&format!("42{}", self.prefix)).unwrap_or(&packet);
            if event == r#"["fence",0]"# {
                return heard;
            }
            heard.push(event.to_owned());
        }
    }

    /// Answers the next event, which asks for an ack.
    async fn answer(&mut self, args: &str) {
        let packet = self.next().await;
        let id: String = packet[2..].chars().take_while(char::is_ascii_digit).collect();
        self.send(&format!("43{}{id}{args}", self.prefix)).await;
    }

    fn sid(&self) -> String {
        self.sid.clone()
    }
}

/// Two servers that know each other, with two clients each.
struct Stage {
    a: Server,
    b: Server,
    a1: Client,
    a2: Client,
    b1: Client,
    b2: Client,
}

impl Stage {
    async fn new() -> Self {
        let hub = Arc::default();
        let (a, b) = (Server::start(&hub).await, Server::start(&hub).await);
        let known = async {
            while a.manager.hosts().len() + b.manager.hosts().len() < 4 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, known)
            .await
            .expect("the servers find each other");
        Self {
            a1: a.client("/").await,
            a2: a.client("/").await,
            b1: b.client("/").await,
            b2: b.client("/").await,
            a,
            b,
        }
    }

    /// What everyone heard of what server `a` has sent.
    async fn heard(&mut self) -> [Vec<String>; 4] {
        self.a.io.emit("fence", &0).await.unwrap();
        [
            self.a1.heard().await,
            self.a2.heard().await,
            self.b1.heard().await,
            self.b2.heard().await,
        ]
    }

    fn join_here(server: &Server, client: &Client, room: &'static str) {
        let socket = server.io.get_socket(client.sid.parse().unwrap()).unwrap();
        socket.join(room);
    }

    /// Returns when `b` has carried out what `a` has published.
    async fn settle(&mut self) {
        self.heard().await;
    }
}

fn events<const N: usize>(numbers: [u32; N]) -> Vec<String> {
    numbers.map(|number| format!(r#"["e",{number}]"#)).to_vec()
}

#[tokio::test]
async fn emits_reach_the_sockets_of_both_servers() {
    let mut stage = Stage::new().await;
    Stage::join_here(&stage.a, &stage.a1, "r");
    Stage::join_here(&stage.b, &stage.b1, "r");
    Stage::join_here(&stage.b, &stage.b1, "s");
    let chat = stage.b.client("/chat").await;
    let io = &stage.a.io;
    io.emit("e", &1).await.unwrap();
    io.to("r").emit("e", &2).await.unwrap();
    io.to(["r", "s"]).emit("e", &3).await.unwrap();
    io.except("r").emit("e", &4).await.unwrap();
    io.within("r").except("s").emit("e", &5).await.unwrap();
    io.of("/chat").unwrap().emit("e", &6).await.unwrap();
    io.to("r").local().emit("e", &7).await.unwrap();
    let mut chat = chat;
    io.of("/chat").unwrap().emit("fence", &0).await.unwrap();
    assert_eq!(chat.heard().await, events([6]));
    let heard = stage.heard().await;
    assert_eq!(
        heard,
        [
            events([1, 2, 3, 5, 7]),
            events([1, 4]),
            events([1, 2, 3]),
            events([1, 4])
        ]
    );
}

#[tokio::test]
async fn a_socket_that_broadcasts_is_passed_over() {
    let mut stage = Stage::new().await;
    Stage::join_here(&stage.a, &stage.a1, "r");
    Stage::join_here(&stage.a, &stage.a2, "r");
    Stage::join_here(&stage.b, &stage.b1, "r");
    let socket = stage.a.io.get_socket(stage.a1.sid.parse().unwrap()).unwrap();
    socket.broadcast().emit("e", &1).await.unwrap();
    socket.to("r").emit("e", &2).await.unwrap();
    socket.within("r").emit("e", &3).await.unwrap();
    socket.broadcast().except("r").emit("e", &4).await.unwrap();
    let heard = stage.heard().await;
    assert_eq!(
        heard,
        [events([3]), events([1, 2, 3]), events([1, 2, 3]), events([1, 4])]
    );
}

#[tokio::test]
async fn a_sid_is_a_room() {
    let mut stage = Stage::new().await;
    let io = &stage.a.io;
    let (a1, a2, b1, b2) = (stage.a1.sid(), stage.a2.sid(), stage.b1.sid(), stage.b2.sid());
    io.to(b1.clone()).emit("e", &1).await.unwrap();
    io.to(a1.clone()).emit("e", &2).await.unwrap();
    io.except([a1.clone(), b1.clone()]).emit("e", &3).await.unwrap();
    io.to([a1.clone(), b1.clone(), b2.clone()])
        .except([b2, a1])
        .emit("e", &4)
        .await
        .unwrap();
    let socket = io.get_socket(a2.parse().unwrap()).unwrap();
    socket.to([a2, b1]).emit("e", &5).await.unwrap();
    let heard = stage.heard().await;
    assert_eq!(heard, [events([2]), events([3]), events([1, 4, 5]), events([3])]);
}

#[tokio::test]
async fn arguments_and_attachments_pass_through() {
    let mut stage = Stage::new().await;
    struct Binary;
    impl serde::Serialize for Binary {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&[1, 2])
        }
    }
    stage.a.io.emit("é", &("a", [1, 2], Binary)).await.unwrap();
    let expected = [
        r#"451-["é","a",[1,2],{"_placeholder":true,"num":0}]"#.to_owned(),
        r#"binary b"\x01\x02""#.to_owned(),
    ];
    for heard in stage.heard().await {
        assert_eq!(heard, expected);
    }
}

#[tokio::test]
async fn acks_come_from_both_servers() {
    let mut stage = Stage::new().await;
    let [a1, a2, b1, b2] = [&stage.a1, &stage.a2, &stage.b1, &stage.b2].map(Client::sid);
    let asked = stage
        .a
        .io
        .timeout(PATIENCE)
        .emit_with_ack::<_, String>("e", &1)
        .await
        .unwrap();
    stage.a1.answer(r#"["a1"]"#).await;
    stage.a2.answer(r#"["a2"]"#).await;
    stage.b1.answer(r#"["b1"]"#).await;
    stage.b2.answer(r#"["b2"]"#).await;
    let acks = tokio::time::timeout(PATIENCE, asked.collect::<Vec<_>>()).await.unwrap();
    let mut acks: Vec<_> = acks
        .into_iter()
        .map(|(sid, ack)| (sid.to_string(), ack.unwrap()))
        .collect();
    acks.sort();
    let mut expected = [(a1, "a1"), (a2, "a2"), (b1.clone(), "b1"), (b2, "b2")].map(|(sid, ack)| (sid, ack.to_owned()));
    expected.sort();
    assert_eq!(acks, expected);
    // One that stays silent is an error after the time-out.
    let io = stage.a.io.timeout(Duration::from_millis(300));
    let asked = io.to(b1).emit_with_ack::<_, String>("e", &2).await.unwrap();
    let acks: Vec<_> = asked.collect().await;
    assert!(matches!(acks.as_slice(), [(_, Err(_))]), "{acks:?}");
}

#[tokio::test]
async fn sockets_join_and_leave_on_both_servers() {
    let mut stage = Stage::new().await;
    Stage::join_here(&stage.b, &stage.b1, "s");
    let io = &stage.a.io;
    io.within("s").join(["r", "t"]).await.unwrap();
    io.to(stage.b2.sid()).join("r").await.unwrap();
    io.to(stage.a1.sid()).join("u").await.unwrap();
    stage.settle().await;
    let io = &stage.a.io;
    let mut rooms = io.rooms().await.unwrap();
    rooms.sort();
    assert_eq!(rooms, ["r", "s", "t", "u"]);
    io.to("r").emit("e", &1).await.unwrap();
    io.to("t").leave("r").await.unwrap();
    io.to("r").emit("e", &2).await.unwrap();
    assert_eq!(
        stage.heard().await,
        [events([]), events([]), events([1]), events([1, 2])]
    );
    let io = &stage.a.io;
    let mut rooms = io.within(stage.b1.sid()).rooms().await.unwrap();
    rooms.sort();
    assert_eq!(rooms, ["s", "t"]);
}

#[tokio::test]
async fn sockets_of_both_servers_are_found() {
    let mut stage = Stage::new().await;
    Stage::join_here(&stage.a, &stage.a2, "r");
    Stage::join_here(&stage.b, &stage.b1, "r");
    let sids = |sockets: Vec<socketioxide::socket::RemoteSocket<ClusterAdapter>>| {
        let mut sids: Vec<String> = sockets.iter().map(|socket| socket.data().id.to_string()).collect();
        sids.sort();
        sids
    };
    let expected = |clients: &[&Client]| {
        let mut sids: Vec<String> = clients.iter().map(|client| client.sid()).collect();
        sids.sort();
        sids
    };
    let io = &stage.a.io;
    let all = expected(&[&stage.a1, &stage.a2, &stage.b1, &stage.b2]);
    assert_eq!(sids(io.fetch_sockets().await.unwrap()), all);
    assert_eq!(sids(stage.b.io.fetch_sockets().await.unwrap()), all);
    let members = io.within("r").fetch_sockets().await.unwrap();
    assert_eq!(sids(members), expected(&[&stage.a2, &stage.b1]));
    let remote = io.within(stage.b1.sid()).fetch_sockets().await.unwrap().remove(0);
    remote.emit("e", &1).await.unwrap();
    remote.join("s").await.unwrap();
    stage.settle().await;
    assert_eq!(stage.a.io.within("s").fetch_sockets().await.unwrap().len(), 1);
    assert_eq!(remote.rooms().await.unwrap(), ["r", "s"]);
    remote.leave("r").await.unwrap();
    stage.settle().await;
    assert_eq!(remote.rooms().await.unwrap(), ["s"]);
    remote.disconnect().await.unwrap();
    assert_eq!(stage.b1.next().await, "41");
}

#[tokio::test]
async fn sockets_are_disconnected_on_both_servers() {
    let mut stage = Stage::new().await;
    Stage::join_here(&stage.a, &stage.a1, "r");
    Stage::join_here(&stage.b, &stage.b1, "r");
    stage.a.io.within("r").disconnect().await.unwrap();
    assert_eq!(stage.a1.next().await, "41");
    assert_eq!(stage.b1.next().await, "41");
    stage.a.io.to(stage.b2.sid()).disconnect().await.unwrap();
    assert_eq!(stage.b2.next().await, "41");
    stage.a.io.emit("e", &1).await.unwrap();
    assert_eq!(stage.a2.next().await, r#"42["e",1]"#);
    assert_eq!(stage.a.io.fetch_sockets().await.unwrap().len(), 1);
}

/// A user is reached and disconnected by their room; socketioxide cannot close a connection, so all its namespaces are.
#[tokio::test]
async fn a_user_is_bound_and_disconnected() {
    let mut stage = Stage::new().await;
    let sid = stage.b1.sid();
    let bound = stage.b.manager.bind_user("/", &sid, "ann", UserPolicy::Many).await;
    bound.unwrap();
    stage.a.io.to(user_room("ann")).emit("e", &1).await.unwrap();
    assert_eq!(stage.b1.next().await, r#"42["e",1]"#);
    stage.b1.send("40/chat,").await;
    assert!(stage.b1.next().await.starts_with("40/chat,"));
    let whole = Command::Disconnect {
        namespace: "/".into(),
        sid: user_room("ann"),
        connection: true,
    };
    stage.a.manager.send(whole).await.unwrap();
    let mut left = [stage.b1.next().await, stage.b1.next().await];
    left.sort();
    assert_eq!(left, ["41", "41/chat,"]);
}
