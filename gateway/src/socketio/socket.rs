//! A client's membership in a namespace.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytestring::ByteString;
use hallporter_adapters::{Args, ClientManager, RoomIsSid, UserPolicy};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::Sid;
use super::acks::Acks;
use super::client::Client;
use super::inbox::Inbox;
use super::members::Numbered;
use super::namespace::Namespace;
use crate::DisconnectReason;
use crate::app::Slot;
use crate::config::Transport;
use crate::engine::{Batch, Closing, Headers, Outgoing};

/// A socket of this gateway. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Socket(Arc<Inner>);

struct Inner {
    sid: Sid,
    number: u64,
    namespace: Arc<Namespace>,
    client: Arc<Client>,
    handshake: Handshake,
    inbox: Inbox,
    acks: Acks,
    session: Slot,
    stage: AtomicU8,
    /// What came for the client before it may have it; `None` once it takes everything at once.
    early: Mutex<Option<Early>>,
}

#[derive(Default)]
struct Early {
    waiting: Vec<Outgoing>,
    bytes: usize,
}

/// How far a socket is. The client is asking to connect;
const CONNECTING: u8 = 0;
/// it has been told that it is connected, and has what came early still before it;
const TOLD: u8 = 1;
/// it takes everything at once;
const OPEN: u8 = 2;
/// it has gone, or been told that it is disconnected.
const GONE: u8 = 3;

/// What a client said when it connected.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The headers of the first HTTP request.
    pub headers: Headers,
    /// The query string of the first HTTP request, as it came.
    pub query: ByteString,
    /// Where the request came from: the client, or the load balancer.
    pub address: Option<IpAddr>,
    /// The payload of the connect packet; an empty object where there was none.
    pub auth: Value,
}

impl Handshake {
    /// A value of the query, decoded; the first where there are several.
    pub fn query_value(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        Some(pairs.find(|(key, _)| key == name)?.1.into_owned())
    }
}

impl Socket {
    pub(super) fn new(number: u64, namespace: Arc<Namespace>, client: Arc<Client>, auth: Option<Value>) -> Self {
        let request = client.connection().request().clone();
        Self(Arc::new(Inner {
            sid: Sid::new(),
            number,
            namespace,
            client,
            handshake: Handshake {
                headers: request.headers,
                query: request.query,
                address: request.address,
                auth: auth.unwrap_or_else(|| json!({})),
            },
            inbox: Inbox::default(),
            acks: Acks::default(),
            session: Slot::default(),
            stage: AtomicU8::new(CONNECTING),
            early: Mutex::new(Some(Early::default())),
        }))
    }

    /// Its public id, which is a room of its own.
    pub(crate) fn sid(&self) -> &str {
        self.0.sid.as_str()
    }

    pub(crate) fn namespace(&self) -> &ByteString {
        self.0.namespace.name()
    }

    pub(crate) fn handshake(&self) -> &Handshake {
        &self.0.handshake
    }

    pub(crate) fn transport(&self) -> Transport {
        self.0.client.connection().transport()
    }

    pub(crate) fn manager(&self) -> &Arc<dyn ClientManager> {
        self.0.client.server().manager()
    }

    pub(crate) fn session(&self) -> &Slot {
        &self.0.session
    }

    /// What its session may hold, in bytes.
    pub(crate) fn session_limit(&self) -> usize {
        self.0.client.server().limits().session
    }

    pub(crate) fn user_policy(&self) -> UserPolicy {
        self.0.namespace.door().app.user_policy()
    }

    /// # Errors
    /// When the room bears the name of another socket of this gateway.
    pub(crate) fn join(&self, room: &str) -> Result<(), RoomIsSid> {
        self.0.namespace.enter(self.sid(), room)
    }

    /// Disconnects the client from this namespace; its other namespaces stay, and it does not come back by itself.
    pub(crate) fn disconnect(&self) {
        self.end(DisconnectReason::ServerNamespaceDisconnect);
    }

    /// Closes the client's connection, and so all its sockets; clients usually connect again, to whatever gateway.
    pub(crate) fn close_connection(&self) {
        self.0.client.connection().close(Closing::ByServer);
    }

    /// A reference that does not keep it.
    pub(super) fn downgrade(&self) -> WeakSocket {
        WeakSocket(Arc::downgrade(&self.0))
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.0.stage.load(Ordering::Acquire) == GONE
    }

    pub(crate) fn send_ack(&self, id: u64, args: &Args) {
        let outgoing = self.0.client.server().codec().ack(self.namespace(), id, args);
        self.deliver(&outgoing, false, &mut Batch::default());
    }

    pub(super) fn id(&self) -> &Sid {
        &self.0.sid
    }

    pub(super) fn space(&self) -> &Arc<Namespace> {
        &self.0.namespace
    }

    pub(super) fn client(&self) -> &Arc<Client> {
        &self.0.client
    }

    pub(super) fn inbox(&self) -> &Inbox {
        &self.0.inbox
    }

    pub(super) fn acks(&self) -> &Acks {
        &self.0.acks
    }

    /// Whether the client has been told that it is connected, and not yet that it is disconnected.
    pub(super) fn is_connected(&self) -> bool {
        matches!(self.0.stage.load(Ordering::Acquire), TOLD | OPEN)
    }

    /// Hands over a packet of its namespace. What comes before the client is connected waits until it is.
    pub(super) fn deliver(&self, outgoing: &Outgoing, volatile: bool, batch: &mut Batch) {
        if self.0.stage.load(Ordering::Acquire) == OPEN || !self.delay(outgoing, volatile) {
            self.hand_over(outgoing, volatile, batch);
        }
    }

    fn hand_over(&self, outgoing: &Outgoing, volatile: bool, batch: &mut Batch) {
        if self.is_connected() {
            batch.send(self.0.client.connection(), outgoing, volatile);
        }
    }

    /// Keeps a packet until the client is connected. Returns false when it takes everything at once.
    fn delay(&self, outgoing: &Outgoing, volatile: bool) -> bool {
        let limit = self.0.client.server().limits().client_buffer;
        let mut early = self.early();
        let Some(Early { waiting, bytes }) = early.as_mut() else {
            return false;
        };
        if *bytes + outgoing.size() <= limit || waiting.is_empty() {
            *bytes += outgoing.size();
            waiting.push(outgoing.clone());
        } else if !volatile {
            drop(early);
            self.0.client.connection().close(Closing::ClientBufferFull);
        }
        true
    }

    fn early(&self) -> MutexGuard<'_, Option<Early>> {
        self.0.early.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something waits for the client to be connected.
    pub(super) fn has_early(&self) -> bool {
        self.early().as_ref().is_some_and(|early| !early.waiting.is_empty())
    }

    /// Tells the client that it is connected, and lets others find it.
    pub(super) fn set_connected(&self) {
        let client = &self.0.client;
        let outgoing = client
            .server()
            .codec()
            .connect(self.namespace(), self.sid(), client.connection().protocol());
        client.connection().send(&outgoing);
        client.connection().confirm();
        self.0.stage.store(TOLD, Ordering::Release);
        self.0.namespace.connect(&self.0.sid);
    }

    /// Hands over what came early; from now on the client takes everything at once.
    pub(super) fn open(&self) {
        let mut batch = Batch::default();
        // While this is locked nothing overtakes.
        let mut early = self.early();
        for outgoing in early.take().unwrap_or_default().waiting {
            self.hand_over(&outgoing, false, &mut batch);
        }
        let _ = self
            .0
            .stage
            .compare_exchange(TOLD, OPEN, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The socket is gone; the first reason is the one that counts. Returns at once.
    pub(super) fn end(&self, reason: DisconnectReason) {
        if !self.0.inbox.close() {
            return;
        }
        self.0.namespace.remove(self);
        self.0.client.remove(self, reason);
        if self.let_go() && reason == DisconnectReason::ServerNamespaceDisconnect {
            let outgoing = self.0.client.server().codec().disconnect(self.namespace());
            self.0.client.connection().send(&outgoing);
        }
        self.0.inbox.end(self, reason);
    }

    /// Gives up what is only of use while the client is there. Returns whether it was connected.
    pub(super) fn let_go(&self) -> bool {
        let stage = self.0.stage.swap(GONE, Ordering::AcqRel);
        *self.early() = None;
        self.0.acks.clear();
        self.manager().unbind_user(self.namespace(), self.sid());
        matches!(stage, TOLD | OPEN)
    }
}

/// A socket that may have gone.
pub(super) struct WeakSocket(Weak<Inner>);

impl WeakSocket {
    pub(super) fn upgrade(&self) -> Option<Socket> {
        self.0.upgrade().map(Socket)
    }
}

impl Numbered for Socket {
    fn number(&self) -> u64 {
        self.0.number
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("sid", &self.0.sid)
            .field("namespace", &self.namespace())
            .finish_non_exhaustive()
    }
}
