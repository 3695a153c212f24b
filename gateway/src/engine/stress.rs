//! Tests of delivery on real connections: many who emit at once, clients that read slowly or not at all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hallporter_adapters::url::BrokerUrl;
use hallporter_adapters::{ManagerOptions, manager};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::http;

/// Gives out the connections that are opened, and counts those that are closed.
#[derive(Debug)]
struct Above {
    opened: mpsc::UnboundedSender<Arc<Connection>>,
    closed: Arc<Mutex<Vec<Closing>>>,
    is_ready: Arc<std::sync::atomic::AtomicBool>,
    received: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Client {
    closed: Arc<Mutex<Vec<Closing>>>,
    is_ready: Arc<std::sync::atomic::AtomicBool>,
    received: Arc<AtomicUsize>,
}

impl Application for Above {
    fn open(&self, connection: &Arc<Connection>) -> Arc<dyn Session> {
        connection.confirm();
        self.opened.send(connection.clone()).unwrap();
        Arc::new(Client {
            closed: self.closed.clone(),
            is_ready: self.is_ready.clone(),
            received: self.received.clone(),
        })
    }
}

impl Session for Client {
    fn opened(&self) {}

    fn text(&self, _: &str) -> Result<(), Malformed> {
        self.received.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn binary(&self, _: &[u8]) -> Result<(), Malformed> {
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::SeqCst)
    }

    fn check(&self) {}

    fn closed(&self, why: Closing) {
        self.closed.lock().unwrap().push(why);
    }
}

struct Scene {
    address: std::net::SocketAddr,
    opened: mpsc::UnboundedReceiver<Arc<Connection>>,
    closed: Arc<Mutex<Vec<Closing>>>,
    is_ready: Arc<std::sync::atomic::AtomicBool>,
    received: Arc<AtomicUsize>,
}

impl Scene {
    fn start(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let (sender, opened) = mpsc::unbounded_channel();
        let closed = Arc::<Mutex<Vec<Closing>>>::default();
        let is_ready = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let received = Arc::<AtomicUsize>::default();
        let above = Above {
            opened: sender,
            closed: closed.clone(),
            is_ready: is_ready.clone(),
            received: received.clone(),
        };
        let manager = manager(&BrokerUrl::memory(), ManagerOptions::default()).unwrap();
        let engine = Engine::new(Options::new(&config), manager, Arc::new(above));
        let listener: TcpListener = http::listen("127.0.0.1:0".parse().unwrap(), Duration::from_secs(10)).unwrap();
        let address = listener.local_addr().unwrap();
        let layer = http::GatewayLayer::new(&config, engine, axum::Router::new());
        tokio::spawn(http::serve(
            listener,
            tower::Layer::layer(&layer, axum::Router::new()),
            Duration::from_secs(10),
            Default::default(),
        ));
        Self {
            address,
            opened,
            closed,
            is_ready,
            received,
        }
    }

    /// A client whose kernel holds little, and its connection.
    async fn connect(&mut self) -> (TcpStream, Arc<Connection>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        let request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        assert!(frame(&mut stream).await.starts_with("0{"));
        (stream, self.opened.recv().await.unwrap())
    }

    /// Waits until a session is closed and says why.
    async fn closed(&self) -> Closing {
        loop {
            if let Some(why) = self.closed.lock().unwrap().pop() {
                return why;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// The text of the next frame.
async fn frame(stream: &mut TcpStream) -> String {
    assert_eq!(stream.read_u8().await.unwrap(), 0x81);
    let length = match stream.read_u8().await.unwrap() {
        126 => usize::from(stream.read_u16().await.unwrap()),
        length => usize::from(length),
    };
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await.unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn packets_of_each_emitter_arrive_once_and_in_order() {
    const EMITTERS: usize = 4;
    const PACKETS: usize = 4000;
    const CLIENTS: usize = 3;
    let mut scene = Scene::start(|config| config.limits.client_buffer = usize::MAX);
    let (mut streams, mut connections) = (Vec::new(), Vec::new());
    for _ in 0..CLIENTS {
        let (stream, connection) = scene.connect().await;
        streams.push(stream);
        connections.push(connection);
    }
    for emitter in 0..EMITTERS {
        let connections = connections.clone();
        tokio::spawn(async move {
            for number in 0..PACKETS {
                // Of all sizes, so that the kernel takes parts of them.
                let filling = "x".repeat(number * 7919 % 500);
                let outgoing = Outgoing::message(&[&format!("{emitter} {number} {filling}")], &[]);
                let mut batch = Batch::default();
                for connection in &connections {
                    match emitter {
                        0 => connection.send(&outgoing),
                        _ => batch.send(connection, &outgoing, false),
                    }
                }
                drop(batch);
                if number % 97 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    let readers = streams.into_iter().map(|mut stream| {
        tokio::spawn(async move {
            let mut next = [0; EMITTERS];
            while next != [PACKETS; EMITTERS] {
                let text = frame(&mut stream).await;
                let mut words = text[1..]
                    .split(' ')
                    .map(|word| word.parse::<usize>().unwrap_or_default());
                let (emitter, number) = (words.next().unwrap(), words.next().unwrap());
                assert_eq!(number, next[emitter]);
                next[emitter] += 1;
            }
        })
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected_when_its_buffer_is_full() {
    let mut scene = Scene::start(|config| config.limits.client_buffer = 100_000);
    let (_stream, connection) = scene.connect().await;
    let outgoing = Outgoing::message(&[&"x".repeat(1000)], &[]);
    for _ in 0..2000 {
        Batch::default().send(&connection, &outgoing, true);
    }
    tokio::task::yield_now().await;
    assert!(scene.closed.lock().unwrap().is_empty(), "volatile packets are dropped");
    for _ in 0..2000 {
        connection.send(&outgoing);
    }
    assert_eq!(scene.closed().await, Closing::ClientBufferFull);
}

#[tokio::test]
async fn a_write_that_stalls_ends_the_connection() {
    let mut scene = Scene::start(|config| config.limits.write_stall = Duration::from_millis(200));
    let (_stream, connection) = scene.connect().await;
    for _ in 0..900 {
        connection.send(&Outgoing::message(&[&"x".repeat(1000)], &[]));
    }
    assert_eq!(scene.closed().await, Closing::WriteStall);
}

#[tokio::test]
async fn a_connection_that_is_kept_in_mind_keeps_no_file_open() {
    let mut scene = Scene::start(|_| {});
    let (mut stream, connection) = scene.connect().await;
    connection.close(Closing::ByServer);
    // The close frame, then the end.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"\x88\x02\x03\xe8");
    drop(connection);
}

#[tokio::test]
async fn nothing_is_read_while_the_layer_above_takes_nothing() {
    let mut scene = Scene::start(|_| {});
    let (mut stream, connection) = scene.connect().await;
    let received = || scene.received.load(Ordering::SeqCst);
    scene.is_ready.store(false, Ordering::SeqCst);
    // Masked with zeros.
    let message = b"\x81\x82\x00\x00\x00\x004a";
    stream.write_all(&message.repeat(3)).await.unwrap();
    while received() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(received(), 1);
    connection.send(&Outgoing::message(&["still written to"], &[]));
    assert_eq!(frame(&mut stream).await, "4still written to");
    assert_eq!(received(), 1);
    scene.is_ready.store(true, Ordering::SeqCst);
    connection.resume();
    while received() < 3 {
        tokio::task::yield_now().await;
    }
}
