//! Where a client's events reach code.

use std::fmt::Debug;

use async_trait::async_trait;
use hallporter_adapters::Args;
use serde::Serialize;
use serde_json::Value;

use crate::Socket;

/// The user's code, called for every socket of every namespace.
///
/// For one socket the calls come one after the other: `connect`, `connected`, its events in the order they were sent, and
/// `disconnect`, exactly once for every `connect` that let the client in. A client that goes while it connects is never `connected`.
/// Events that still wait for a slow handler 5 s after their client has gone are dropped.
/// Different sockets do not wait for each other. A panic costs the one call.
#[async_trait]
pub trait Handler: Debug + Send + Sync + 'static {
    /// A client asks to connect. The socket may enter rooms already, but hears nothing yet.
    ///
    /// # Errors
    /// A refusal reaches the client as its `connect_error`.
    async fn connect(&self, _socket: &Socket) -> Result<(), Refusal> {
        Ok(())
    }

    /// The client has been told that it is connected.
    async fn connected(&self, _socket: &Socket) {}

    /// The client sent an event. Returns it when it is not this handler's.
    async fn event(&self, _socket: &Socket, event: Event) -> Option<Event> {
        Some(event)
    }

    /// The socket is gone.
    async fn disconnect(&self, _socket: &Socket, _reason: DisconnectReason) {}
}

/// Why a client may not connect.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// What the client reads as the error's message.
    pub message: String,
    /// What the client reads as the error's data.
    pub data: Option<Value>,
}

impl Refusal {
    /// With this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            data: None,
        }
    }

    /// With this data too.
    #[must_use]
    pub fn data(self, data: impl Into<Value>) -> Self {
        Self {
            data: Some(data.into()),
            ..self
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// An event of a client.
#[derive(Debug)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub args: Args,
    pub(crate) ack: Option<AckSender>,
}

impl Event {
    /// Whether the client asked for an ack.
    pub const fn wants_ack(&self) -> bool {
        self.ack.is_some()
    }

    /// Answers the client, if it asked: a tuple is several arguments, `()` is none, anything else is one.
    /// What cannot be JSON is logged, and the client gets no answer.
    pub fn ack<T: Serialize + ?Sized>(self, data: &T) {
        match Args::encode(data) {
            Ok(args) => self.ack_args(&args),
            Err(error) => tracing::error!(event = self.name, %error, "an ack was not sent"),
        }
    }

    /// Answers the client, if it asked.
    pub fn ack_args(self, args: &Args) {
        if let Some(sender) = self.ack {
            sender.send(args);
        }
    }

    /// Answers the client, if it asked, that something went wrong: `{"error": {"code": …, "message": …}}`.
    pub fn ack_error(self, code: &str, message: &str) {
        self.ack(&serde_json::json!({"error": {"code": code, "message": message}}));
    }
}

/// The way back to a client that waits for an ack.
#[derive(Debug)]
pub(crate) struct AckSender {
    pub(crate) socket: Socket,
    /// The number the client gave the event.
    pub(crate) id: u64,
}

impl AckSender {
    fn send(self, args: &Args) {
        self.socket.send_ack(self.id, args);
    }
}

/// Why a socket is gone, in the words of Socket.IO servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The connection was closed.
    TransportClose,
    /// The connection broke.
    TransportError,
    /// The client did not answer a heartbeat in time.
    PingTimeout,
    /// The client sent what is no packet.
    ParseError,
    /// The client left the namespace.
    ClientNamespaceDisconnect,
    /// The socket was disconnected from here.
    ServerNamespaceDisconnect,
    /// The gateway is going.
    ServerShuttingDown,
}

impl DisconnectReason {
    /// The reason as Socket.IO servers name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TransportClose => "transport close",
            Self::TransportError => "transport error",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
            Self::ServerShuttingDown => "server shutting down",
        }
    }
}
