//! A client's membership in a namespace, as handlers see it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytestring::ByteString;
use hallporter_adapters::{Ack, Args, ClientManager, Emit, EncodeError, EventName, LocalSockets, RoomIsSid, Target};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Sid;
use super::acks::Acks;
use super::client::Client;
use super::inbox::Inbox;
use super::members::Numbered;
use super::namespace::Namespace;
use crate::DisconnectReason;
use crate::config::Transport;
use crate::engine::{Batch, Closing, Headers, Outgoing};

/// A socket of this gateway. Cloning is cheap.
#[derive(Clone)]
pub struct Socket(Arc<Inner>);

struct Inner {
    sid: Sid,
    number: u64,
    namespace: Arc<Namespace>,
    client: Arc<Client>,
    handshake: Handshake,
    inbox: Inbox,
    acks: Acks,
    /// The client has been told that it is connected, and not yet that it is disconnected.
    is_connected: AtomicBool,
}

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
            is_connected: AtomicBool::new(false),
        }))
    }

    /// Its public id, which is a room of its own.
    pub fn sid(&self) -> &str {
        self.0.sid.as_str()
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        self.0.namespace.name()
    }

    /// What the client said when it connected.
    pub fn handshake(&self) -> &Handshake {
        &self.0.handshake
    }

    /// How bytes move now.
    pub fn transport(&self) -> Transport {
        self.0.client.connection().transport()
    }

    /// The cluster, for whatever is not about this socket alone.
    pub fn manager(&self) -> &Arc<dyn ClientManager> {
        self.0.client.server().manager()
    }

    /// Emits to this client: a tuple is several arguments, `()` is none, anything else is one.
    ///
    /// # Errors
    /// When the data cannot be JSON.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> Result<(), EncodeError> {
        self.emit_args(event, Args::encode(data)?, false);
        Ok(())
    }

    /// Emits arguments as they are; `volatile` ones may be dropped when the client cannot take them now.
    pub fn emit_args(&self, event: &str, args: Args, volatile: bool) {
        let codec = self.0.client.server().codec();
        let outgoing = codec.event(self.namespace(), None, &EventName::new(event), &args);
        self.deliver(&outgoing, volatile, &mut Batch::default());
    }

    /// Emits and waits for the client's ack; `None` when none came in time.
    pub async fn emit_with_ack(&self, event: &str, args: Args, timeout: Duration) -> Option<Args> {
        let (sender, mut acks) = mpsc::channel(1);
        let emit = Emit {
            namespace: self.0.namespace.name().clone(),
            target: Target::room(self.sid()),
            event: EventName::new(event),
            args,
            volatile: false,
        };
        self.0.client.server().deliver_with_ack(&emit, timeout, sender);
        acks.recv().await.map(|Ack { args, .. }| args)
    }

    /// Enters a room.
    ///
    /// # Errors
    /// When the room bears the name of another socket of this gateway.
    pub fn join(&self, room: &str) -> Result<(), RoomIsSid> {
        self.0.namespace.enter(self.sid(), room)
    }

    /// Leaves a room.
    pub fn leave(&self, room: &str) {
        self.0.namespace.leave(self.sid(), room);
    }

    /// The rooms it is in, its own included.
    pub fn rooms(&self) -> Vec<String> {
        self.0.namespace.rooms_of(&self.0.sid)
    }

    /// Disconnects the client from this namespace; its other namespaces stay, and it does not come back by itself.
    pub fn disconnect(&self) {
        self.end(DisconnectReason::ServerNamespaceDisconnect);
    }

    /// Closes the client's connection, and so all its sockets; clients usually connect again, to whatever gateway.
    pub fn close_connection(&self) {
        self.0.client.connection().close(Closing::ByServer);
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

    pub(super) fn is_connected(&self) -> bool {
        self.0.is_connected.load(Ordering::Acquire)
    }

    /// Hands over a packet of its namespace; one that is not connected gets none.
    pub(super) fn deliver(&self, outgoing: &Outgoing, volatile: bool, batch: &mut Batch) {
        if self.is_connected() {
            batch.send(self.0.client.connection(), outgoing, volatile);
        }
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
        self.0.is_connected.store(true, Ordering::Release);
        self.0.namespace.connect(&self.0.sid);
    }

    /// The socket is gone; the first reason is the one that counts. Returns at once.
    pub(super) fn end(&self, reason: DisconnectReason) {
        if !self.0.inbox.close() {
            return;
        }
        self.0.namespace.remove(self);
        self.0.client.remove(self, reason);
        if self.0.is_connected.swap(false, Ordering::AcqRel) && reason == DisconnectReason::ServerNamespaceDisconnect {
            let outgoing = self.0.client.server().codec().disconnect(self.namespace());
            self.0.client.connection().send(&outgoing);
        }
        self.0.acks.clear();
        self.0.inbox.end(self, reason);
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
