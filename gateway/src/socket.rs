//! A client's membership in a namespace, as handlers see it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use bytestring::ByteString;
use hallporter_adapters::{
    Ack, Args, ClientManager, Emit, EncodeError, EventName, LocalSockets, Membership, RoomIsSid, Target,
};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::config::Transport;

/// A socket of this gateway. Cloning is cheap.
#[derive(Clone)]
pub struct Socket(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) sid: String,
    pub(crate) namespace: ByteString,
    pub(crate) handshake: Handshake,
    pub(crate) manager: Arc<dyn ClientManager>,
    pub(crate) local: Arc<dyn LocalSockets>,
    /// A transport may be upgraded, so it is looked up.
    pub(crate) transport: Box<dyn Fn() -> Transport + Send + Sync>,
}

/// What a client said when it connected.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The headers of the first HTTP request.
    pub headers: HeaderMap,
    /// The query string of the first HTTP request, as it came.
    pub query: String,
    /// Where the request came from: the client, or the load balancer.
    pub address: Option<IpAddr>,
    /// The payload of the connect packet; an empty object where there was none.
    pub auth: Value,
}

impl Socket {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Its public id, which is a room of its own.
    pub fn sid(&self) -> &str {
        &self.0.sid
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// What the client said when it connected.
    pub fn handshake(&self) -> &Handshake {
        &self.0.handshake
    }

    /// How bytes move now.
    pub fn transport(&self) -> Transport {
        (self.0.transport)()
    }

    /// The cluster, for whatever is not about this socket alone.
    pub fn manager(&self) -> &Arc<dyn ClientManager> {
        &self.0.manager
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
        self.0.local.deliver(&self.emit_to_self(event, args, volatile));
    }

    /// Emits and waits for the client's ack; `None` when none came in time.
    pub async fn emit_with_ack(&self, event: &str, args: Args, timeout: Duration) -> Option<Args> {
        let (sender, mut acks) = mpsc::channel(1);
        self.0
            .local
            .deliver_with_ack(&self.emit_to_self(event, args, false), timeout, sender);
        acks.recv().await.map(|Ack { args, .. }| args)
    }

    /// Enters a room.
    ///
    /// # Errors
    /// When the room bears the name of another socket of this gateway.
    pub fn join(&self, room: &str) -> Result<(), RoomIsSid> {
        self.0.local.enter_room(&self.membership(room))
    }

    /// Leaves a room.
    pub fn leave(&self, room: &str) {
        self.0.local.leave_room(&self.membership(room));
    }

    /// The rooms it is in, its own included.
    pub fn rooms(&self) -> Vec<String> {
        let sockets = self.0.local.sockets(&self.0.namespace, &Target::room(self.sid()));
        sockets
            .into_iter()
            .next()
            .map(|socket| socket.rooms)
            .unwrap_or_default()
    }

    /// Disconnects the client from this namespace; its other namespaces stay.
    pub fn disconnect(&self) {
        self.0.local.disconnect(&self.0.namespace, &self.0.sid);
    }

    fn emit_to_self(&self, event: &str, args: Args, volatile: bool) -> Emit {
        Emit {
            namespace: self.0.namespace.clone(),
            target: Target::room(self.sid()),
            event: EventName::new(event),
            args,
            volatile,
        }
    }

    fn membership(&self, room: &str) -> Membership {
        Membership {
            namespace: self.0.namespace.clone(),
            sid: self.0.sid.clone(),
            room: room.into(),
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("sid", &self.0.sid)
            .field("namespace", &self.0.namespace)
            .finish_non_exhaustive()
    }
}
