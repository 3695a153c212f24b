//! What a worker links to emit events without holding a connection.
//!
//! ```no_run
//! use hallporter_emitter::Emitter;
//! use serde_json::json;
//!
//! # async fn example() -> Result<(), hallporter_emitter::EmitError> {
//! let emitter = Emitter::connect("redis://127.0.0.1:6379").await?;
//! emitter.emit("news", "to everybody").await?;
//! emitter.of("/chat").to("lobby").except("Q3lJx0p5kz2bTq0U").emit("said", &json!({"text": "hello"})).await?;
//! // A tuple is several arguments.
//! emitter.to("lobby").emit("moved", &(3, "knight", [1, 2])).await?;
//! emitter.enter_room("Q3lJx0p5kz2bTq0U", "lobby").await?;
//! # Ok(()) }
//! ```
//!
//! Events reach the clients of Hallporter gateways and of python-socketio servers on the same broker and channel.
//! Without a broker, the URL of a gateway does (`http://127.0.0.1:3000`, or `http://:KEY@gateway:3000`).

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use serde::Serialize;

pub use hallporter_adapters::url::UrlError;
use hallporter_adapters::{
    Args, ClientManager, Command, Emit, EventName, Membership, Target, manager,
    url::{BrokerUrl, Scheme},
};
pub use hallporter_adapters::{EncodeError, ManagerError, ManagerOptions};

/// Emits events, moves sockets between rooms and disconnects them, from outside.
///
/// Cloning is cheap, and clones share the connection. Messages of one emitter that are awaited one after the other arrive in that order.
#[derive(Clone, Debug)]
pub struct Emitter {
    manager: Arc<dyn ClientManager>,
    namespace: ByteString,
    target: Target,
    volatile: bool,
}

/// Why an emitter did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// The URL names no broker.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The broker did not take the message, or it could not be sent.
    #[error(transparent)]
    Manager(#[from] ManagerError),
}

impl From<EncodeError> for EmitError {
    fn from(error: EncodeError) -> Self {
        Self::Manager(error.into())
    }
}

impl Emitter {
    /// Connects to a broker, on the channel `socketio`. While the broker is away, each message waits up to 5 s for it.
    ///
    /// # Errors
    /// When the URL names no broker, or the broker is away or says no.
    pub async fn connect(url: &str) -> Result<Self, EmitError> {
        let options = ManagerOptions {
            publish_wait: Duration::from_secs(5),
            ..ManagerOptions::default()
        };
        Self::connect_with(url, options).await
    }

    /// Connects to a broker, with another channel or limits.
    ///
    /// # Errors
    /// When the URL names no broker, or the broker is away or says no.
    pub async fn connect_with(url: &str, options: ManagerOptions) -> Result<Self, EmitError> {
        let url = BrokerUrl::parse(url)?;
        if url.scheme() == Scheme::Memory {
            return Err(UrlError::Memory.into());
        }
        let manager = manager(&url, options)?;
        manager.connect().await?;
        Ok(Self {
            manager,
            namespace: "/".into(),
            target: Target::all(),
            volatile: false,
        })
    }

    /// For another namespace; a missing leading slash is added.
    #[must_use]
    pub fn of(&self, namespace: &str) -> Self {
        let namespace = match namespace.starts_with('/') {
            true => namespace.into(),
            false => format!("/{namespace}").into(),
        };
        Self {
            namespace,
            ..self.clone()
        }
    }

    /// Only to the members of this room, and of those named before; each sid is a room.
    #[must_use]
    pub fn to(&self, room: impl Into<String>) -> Self {
        let mut emitter = self.clone();
        emitter.target.rooms.get_or_insert_default().push(room.into());
        emitter
    }

    /// Not to this sid, nor to those named before. On Hallporter gateways it may also be a room.
    #[must_use]
    pub fn except(&self, sid: impl Into<String>) -> Self {
        let mut emitter = self.clone();
        emitter.target.except.push(sid.into());
        emitter
    }

    /// May be dropped for clients that cannot take it at once. python-socketio servers deliver it like any other.
    #[must_use]
    pub fn volatile(&self) -> Self {
        Self {
            volatile: true,
            ..self.clone()
        }
    }

    /// Emits an event. A tuple (or an array of fixed length) is several arguments, `()` is none, anything else is one;
    /// what serialises as bytes is sent as binary. `Ok` means that the broker has it.
    ///
    /// # Errors
    /// When the data cannot be JSON or is too large, or the broker does not take it.
    pub async fn emit<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> Result<(), EmitError> {
        let emit = Emit {
            namespace: self.namespace.clone(),
            target: self.target.clone(),
            event: EventName::new(event),
            args: Args::encode(data)?,
            volatile: self.volatile,
        };
        Ok(self.manager.send(Command::Emit(emit)).await?)
    }

    /// Puts a socket of this namespace into a room.
    ///
    /// # Errors
    /// When the broker does not take the message.
    pub async fn enter_room(&self, sid: &str, room: &str) -> Result<(), EmitError> {
        Ok(self.manager.enter_room(self.membership(sid, room)).await?)
    }

    /// Takes a socket of this namespace out of a room.
    ///
    /// # Errors
    /// When the broker does not take the message.
    pub async fn leave_room(&self, sid: &str, room: &str) -> Result<(), EmitError> {
        Ok(self.manager.leave_room(self.membership(sid, room)).await?)
    }

    /// Takes every socket of this namespace out of a room.
    ///
    /// # Errors
    /// When the broker does not take the message.
    pub async fn close_room(&self, room: &str) -> Result<(), EmitError> {
        Ok(self.manager.close_room(&self.namespace, room).await?)
    }

    /// Disconnects a socket from this namespace.
    ///
    /// # Errors
    /// When the broker does not take the message.
    pub async fn disconnect(&self, sid: &str) -> Result<(), EmitError> {
        Ok(self.manager.disconnect(&self.namespace, sid).await?)
    }

    fn membership(&self, sid: &str, room: &str) -> Membership {
        Membership {
            namespace: self.namespace.clone(),
            sid: sid.into(),
            room: room.into(),
        }
    }
}
