//! Socket.IO: namespaces, rooms, events and acks over the engine's sessions; protocol versions 5 and, for old clients, 4.
//!
//! What a client sends goes from `client.rs` to the `inbox.rs` of one of its sockets, and from there to the handlers. What is emitted comes
//! from the manager by `local.rs`, or from a [`Socket`] itself, and goes to the outbox of each client that is meant.

mod acks;
pub(crate) mod assembly;
mod called;
mod client;
mod codec;
mod connect;
mod inbox;
mod local;
mod members;
pub(crate) mod msgpack;
mod namespace;
pub(crate) mod packet;
mod rooms;
mod server_side;
mod sid;
mod socket;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hallporter_adapters::{ClientManager, LogLimit};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::app::{App, UserChange};
use crate::config::{Config, Limits};
use crate::engine::{Application, Closing, Connection, Engine, Options, Session};
use assembly::AssemblyLimits;
use called::Methods;
use client::{Client, ClientSession};
use codec::Codec;
use namespace::Namespaces;
use server_side::ServerSide;
use sid::Sid;

pub(crate) use packet::RESERVED as RESERVED_EVENTS;
pub(crate) use sid::may_be_sid;
pub use socket::Handshake;
pub(crate) use socket::Socket;

/// Comings and goings of users that may wait for `on_user`.
const MAX_USER_CHANGES: usize = 65_536;

/// The Socket.IO server of a gateway.
#[derive(Debug)]
pub(crate) struct Server {
    namespaces: Namespaces,
    manager: Arc<dyn ClientManager>,
    codec: Codec,
    limits: Limits,
    assembly: AssemblyLimits,
    /// What handlers do that takes time.
    handlers_running: TaskTracker,
    /// Where it is done, whoever calls.
    runtime: Handle,
    /// The number of the latest socket.
    numbers: AtomicU64,
    closed_log: LogLimit,
    /// What `on_user` is to be told, in order.
    user_changes: mpsc::Sender<(Arc<App>, String, UserChange)>,
    /// What other gateways' code has emitted.
    server_side: ServerSide,
    methods: Methods,
}

impl Server {
    /// Opens namespaces for this code and starts the manager on behalf of their sockets.
    /// Needs a tokio runtime. Beside the engine it gives what handlers are doing.
    ///
    /// # Errors
    /// When a pattern is none, which [`crate::config::load`] finds out before.
    pub(crate) fn open(
        config: &Config,
        manager: Arc<dyn ClientManager>,
        apps: &[Arc<App>],
    ) -> Result<(Engine, TaskTracker), matchit::InsertError> {
        let (user_changes, changes) = mpsc::channel(MAX_USER_CHANGES);
        let server = Arc::new(Self {
            namespaces: Namespaces::new(config, manager.clone(), apps)?,
            manager: manager.clone(),
            codec: Codec(config.engine.parser),
            limits: config.limits.clone(),
            assembly: AssemblyLimits::new(&config.limits),
            handlers_running: TaskTracker::new(),
            runtime: Handle::current(),
            numbers: AtomicU64::new(0),
            closed_log: LogLimit::default(),
            user_changes,
            server_side: ServerSide::new(),
            methods: Methods::new(apps),
        });
        // It ends with the server, so nobody has to wait for it.
        server.runtime.spawn(tell_of_users(changes));
        manager.start(server.clone());
        let handlers_running = server.handlers_running.clone();
        let engine = Engine::new(Options::new(config), manager, Arc::new(Above(server)));
        Ok((engine, handlers_running))
    }

    fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    fn manager(&self) -> &Arc<dyn ClientManager> {
        &self.manager
    }

    fn codec(&self) -> Codec {
        self.codec
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn assembly(&self) -> &AssemblyLimits {
        &self.assembly
    }

    fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Goes on with what handlers do.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.handlers_running.spawn_on(work, &self.runtime);
    }

    fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// A client that is put out for being slow is worth a line.
    fn log_closed(&self, why: Closing, socket: Option<&Socket>) {
        if !matches!(why, Closing::ClientBufferFull | Closing::WriteStall) {
            return;
        }
        if let Some(unlogged) = self.closed_log.allow(why.label()) {
            let sid = socket.map(Socket::sid);
            tracing::warn!(
                sid,
                reason = why.label(),
                unlogged,
                "a client that is too slow was disconnected"
            );
        }
    }
}

/// Tells the user's code who came and went, one after the other.
async fn tell_of_users(mut changes: mpsc::Receiver<(Arc<App>, String, UserChange)>) {
    while let Some((app, namespace, change)) = changes.recv().await {
        app.user_changed(&namespace, change).await;
    }
}

/// The server, as the engine sees it.
#[derive(Debug)]
struct Above(Arc<Server>);

impl Application for Above {
    fn open(&self, connection: &Arc<Connection>) -> Arc<dyn Session> {
        let client = Client::new(connection.clone(), self.0.clone());
        Arc::new(ClientSession(Arc::new(client)))
    }
}
