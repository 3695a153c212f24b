//! One client: its sockets, and the packets it sends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytestring::ByteString;
use serde_json::Value;
use url::form_urlencoded;

use super::Server;
use super::assembly::Assembly;
use super::inbox::Event;
use super::packet::{NotAPacket, Packet};
use super::socket::Socket;
use crate::engine::{Closing, Connection, Malformed, Protocol, Session};
use crate::{DisconnectReason, Refusal};

/// Namespaces a client was put out of that are kept in mind, so that what it sent before it knew is passed over.
const MAX_LEFT: usize = 16;

/// A client and its sockets.
#[derive(Debug)]
pub(super) struct Client {
    connection: Arc<Connection>,
    server: Arc<Server>,
    state: Mutex<State>,
    /// The queue of a socket was full when last looked at.
    is_full: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    sockets: Vec<Socket>,
    assembly: Assembly,
    left: Vec<ByteString>,
    is_closed: bool,
}

impl Client {
    pub(super) fn new(connection: Arc<Connection>, server: Arc<Server>) -> Self {
        Self {
            connection,
            server,
            state: Mutex::default(),
            is_full: AtomicBool::new(false),
        }
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    pub(super) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A queue is full: nothing is read until [`check_full`](Self::check_full) finds room.
    pub(super) fn set_full(&self) {
        self.is_full.store(true, Ordering::Relaxed);
    }

    /// Something has been taken off a queue.
    pub(super) fn check_full(&self) {
        if self.is_full.load(Ordering::Relaxed) && !self.has_full_queue() {
            self.is_full.store(false, Ordering::Relaxed);
            self.connection.resume();
        }
    }

    fn has_full_queue(&self) -> bool {
        let sockets = self.state().sockets.clone();
        sockets.iter().any(|socket| socket.inbox().is_full(socket))
    }

    fn socket(&self, namespace: &str) -> Option<Socket> {
        self.state()
            .sockets
            .iter()
            .find(|socket| socket.namespace() == namespace)
            .cloned()
    }

    fn take(self: &Arc<Self>, packet: Packet) -> Result<(), Malformed> {
        match packet {
            Packet::Connect { namespace, auth } => self.connect(namespace, auth),
            Packet::Disconnect { namespace } => self.to_socket(&namespace, |socket| {
                socket.end(DisconnectReason::ClientNamespaceDisconnect);
            }),
            Packet::Event {
                namespace,
                ack,
                name,
                args,
            } => self.to_socket(&namespace, |socket| {
                socket.inbox().push(&socket, Event { name, args, ack });
            }),
            Packet::Ack { namespace, id, args } => self.to_socket(&namespace, |socket| {
                socket.acks().answer(id, socket.id(), args, self.server.runtime());
            }),
        }
    }

    /// # Errors
    /// When the client is not in the namespace, and was not put out of it either.
    fn to_socket(&self, namespace: &ByteString, action: impl FnOnce(Socket)) -> Result<(), Malformed> {
        match self.socket(namespace) {
            Some(socket) => action(socket),
            None if self.state().left.contains(namespace) => {}
            None => return Err(Malformed),
        }
        Ok(())
    }

    fn connect(self: &Arc<Self>, namespace: ByteString, auth: Option<Value>) -> Result<(), Malformed> {
        let (name, auth) = match self.connection.protocol() {
            Protocol::V4 => (namespace, auth),
            Protocol::V3 => with_query(&namespace),
        };
        if self.socket(&name).is_some() {
            return Err(Malformed);
        }
        if self.state().sockets.len() >= self.server.limits().namespaces {
            self.refuse(&name, &Refusal::new("Too many namespaces"));
            return Ok(());
        }
        let Some(namespace) = self.server.namespaces().enter(&name) else {
            self.refuse(&name, &Refusal::new("Invalid namespace"));
            return Ok(());
        };
        let socket = Socket::new(self.server.next_number(), namespace, self.clone(), auth);
        let mut state = self.state();
        if state.is_closed {
            drop(state);
            self.server.namespaces().leave(&name);
            return Ok(());
        }
        state.left.retain(|left| *left != name);
        state.sockets.push(socket.clone());
        drop(state);
        socket.space().add(&socket);
        socket.inbox().open(&socket);
        Ok(())
    }

    fn refuse(&self, namespace: &str, refusal: &Refusal) {
        let outgoing = self
            .server
            .codec()
            .connect_error(namespace, refusal, self.connection.protocol());
        self.connection.send(&outgoing);
    }

    /// A socket that is connecting is not let in.
    pub(super) fn refused(&self, socket: &Socket, refusal: &Refusal) {
        self.forget(socket);
        self.refuse(socket.namespace(), refusal);
    }

    /// A socket is gone.
    pub(super) fn remove(&self, socket: &Socket, reason: DisconnectReason) {
        let is_left = self.forget(socket);
        let mut state = self.state();
        if is_left && reason.may_cross() && state.left.len() < MAX_LEFT {
            state.left.push(socket.space().name().clone());
        }
    }

    /// Returns whether it was among the client's sockets.
    fn forget(&self, socket: &Socket) -> bool {
        let mut state = self.state();
        let at = state.sockets.iter().position(|known| known.id() == socket.id());
        if let Some(at) = at {
            state.sockets.swap_remove(at);
        }
        drop(state);
        if at.is_some() {
            self.server.namespaces().leave(socket.namespace());
            self.check_full();
        }
        at.is_some()
    }

    fn assembled(self: &Arc<Self>, packet: Result<Option<Packet>, NotAPacket>) -> Result<(), Malformed> {
        match packet {
            Ok(Some(packet)) => self.take(packet),
            Ok(None) => Ok(()),
            Err(NotAPacket) => Err(Malformed),
        }
    }
}

/// What the engine tells of a client.
#[derive(Clone, Debug)]
pub(super) struct ClientSession(pub(super) Arc<Client>);

impl Session for ClientSession {
    fn opened(&self) {
        // Clients of Socket.IO 2 are in the main namespace without asking.
        if self.0.connection.protocol() == Protocol::V3 {
            let _ = self.0.connect(ByteString::from_static("/"), None);
        }
    }

    fn text(&self, text: &str) -> Result<(), Malformed> {
        let client = &self.0;
        let limits = client.server.assembly();
        let packet = client.server.codec().text(text, &mut client.state().assembly, limits);
        if let Ok(None) = packet {
            client.connection.check_after(limits.time);
        }
        client.assembled(packet)
    }

    fn binary(&self, data: &[u8]) -> Result<(), Malformed> {
        let client = &self.0;
        let limits = client.server.assembly();
        let packet = client.server.codec().binary(data, &mut client.state().assembly, limits);
        client.assembled(packet)
    }

    fn is_ready(&self) -> bool {
        !self.0.is_full.load(Ordering::Relaxed) || {
            self.0.check_full();
            !self.0.is_full.load(Ordering::Relaxed)
        }
    }

    fn check(&self) {
        if self.0.state().assembly.is_late(self.0.server.assembly()) {
            self.0.connection.close(Closing::ParseError);
        }
    }

    fn closed(&self, why: Closing) {
        let mut state = self.0.state();
        state.is_closed = true;
        let sockets = std::mem::take(&mut state.sockets);
        drop(state);
        self.0.server.log_closed(why, sockets.first());
        for socket in sockets {
            self.0.server.namespaces().leave(socket.namespace());
            socket.end(why.reason());
        }
    }
}

/// In protocol 4 a namespace may have a query, which is what `auth` is now.
fn with_query(namespace: &str) -> (ByteString, Option<Value>) {
    let (name, query) = namespace.split_once('?').unwrap_or((namespace, ""));
    let pairs = form_urlencoded::parse(query.as_bytes());
    let auth: serde_json::Map<_, _> = pairs
        .map(|(key, value)| (key.into_owned(), value.into_owned().into()))
        .collect();
    (
        super::packet::name_of(name),
        (!auth.is_empty()).then_some(Value::Object(auth)),
    )
}
