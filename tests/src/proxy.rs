//! A TCP proxy before a broker, which breaks connections as networks do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Within so many of its first bytes a connection that listens has said so.
const INTRODUCTION: usize = 4096;

/// A proxy on a free port. It ends, and all its connections with it, when this value goes.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    broker: SocketAddr,
    /// What only connections that listen send.
    listens: &'static [u8],
    /// What becomes of new connections.
    line: watch::Sender<Line>,
    accepted: AtomicUsize,
    connections: Mutex<Vec<Arc<Connection>>>,
}

/// The state of a connection, or of the way to the broker as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Open,
    /// Bytes are swallowed, and so is the end of either side.
    BlackHole,
    Cut,
}

#[derive(Debug, Default)]
struct Connection {
    line: watch::Sender<Line>,
    listens: AtomicBool,
}

impl Proxy {
    /// Starts one before the broker at `host:port`; connections that send the bytes `listens` are those that listen.
    ///
    /// # Errors
    /// No port is free, or the address is none.
    pub async fn start(broker: &str, listens: &'static [u8]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let shared = Arc::new(Shared {
            broker: broker.parse().with_context(|| format!("{broker:?} is no address"))?,
            listens,
            line: watch::Sender::default(),
            accepted: AtomicUsize::default(),
            connections: Mutex::default(),
        });
        Ok(Self {
            address: listener.local_addr()?,
            accepting: tokio::spawn(accept(listener, shared.clone())),
            shared,
        })
    }

    /// What to connect to in place of the broker.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were made so far, or tried to be.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Closes all connections, and each new one at once.
    pub fn cut(&self) {
        self.shared.line.send_replace(Line::Cut);
        self.shared.turn(Line::Cut, |_| true);
    }

    /// Swallows what is sent on all connections, new ones too, and tells neither side when the other closes.
    pub fn black_hole(&self) {
        self.shared.line.send_replace(Line::BlackHole);
        self.shared.turn(Line::BlackHole, |_| true);
    }

    /// Lets new connections through; those that were broken stay so.
    pub fn restore(&self) {
        self.shared.line.send_replace(Line::Open);
    }

    /// Closes the connections that listen.
    pub fn cut_listeners(&self) {
        self.shared.turn(Line::Cut, Connection::listens);
    }

    /// Swallows what is sent on the connections that listen; the others, and new ones, work.
    pub fn black_hole_listeners(&self) {
        self.shared.turn(Line::BlackHole, Connection::listens);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.turn(Line::Cut, |_| true);
    }
}

impl Shared {
    fn turn(&self, line: Line, which: impl Fn(&Connection) -> bool) {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in connections.iter().filter(|connection| which(connection)) {
            connection.line.send_if_modified(|now| {
                let changes = *now == Line::Open || line == Line::Cut;
                *now = if changes { line } else { *now };
                changes
            });
        }
    }

    /// A new connection, in the state of the way as a whole.
    fn connection(&self) -> Arc<Connection> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|connection| connection.line.receiver_count() > 0);
        let connection = Arc::new(Connection {
            line: watch::Sender::new(*self.line.borrow()),
            listens: AtomicBool::default(),
        });
        connections.push(connection.clone());
        connection
    }
}

impl Connection {
    fn listens(&self) -> bool {
        self.listens.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        let connection = shared.connection();
        tokio::spawn(carry(client, connection.line.subscribe(), connection, shared.clone()));
    }
}

/// Carries bytes until either side closes or the line breaks; then does as the line is.
async fn carry(
    mut client: TcpStream,
    mut line: watch::Receiver<Line>,
    connection: Arc<Connection>,
    shared: Arc<Shared>,
) {
    let mut broker = None;
    let relayed = async {
        let broker = broker.insert(TcpStream::connect(shared.broker).await?);
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let (mut from_client, mut to_client) = client.split();
        let (mut from_broker, mut to_broker) = broker.split();
        tokio::select! {
            ended = upstream(&mut from_client, &mut to_broker, &connection, shared.listens) => ended,
            ended = copy(&mut from_broker, &mut to_client) => ended.map(drop),
        }
    };
    tokio::select! {
        biased;
        _ = line.wait_for(|line| *line != Line::Open) => {}
        _ = relayed => return,
    }
    let swallowed = async { tokio::join!(swallow(Some(client)), swallow(broker)) };
    tokio::select! {
        _ = line.wait_for(|line| *line == Line::Cut) => {}
        _ = swallowed => {}
    }
}

/// Copies what a client sends, and notes whether it listens.
async fn upstream(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    connection: &Connection,
    listens: &[u8],
) -> std::io::Result<()> {
    let mut introduction = Vec::with_capacity(INTRODUCTION);
    while introduction.len() < INTRODUCTION && !connection.listens() {
        let before = introduction.len();
        if from.read_buf(&mut introduction).await? == 0 {
            return Ok(());
        }
        let found = introduction.windows(listens.len()).any(|window| window == listens);
        connection.listens.store(found, Ordering::Relaxed);
        to.write_all(&introduction[before..]).await?;
    }
    copy(from, to).await.map(drop)
}

/// Reads for ever, even after the other side has closed.
async fn swallow(stream: Option<TcpStream>) {
    if let Some(stream) = stream {
        let (mut from, _open) = split(stream);
        let _swallowed = copy(&mut from, &mut sink()).await;
        std::future::pending::<()>().await;
    }
}
