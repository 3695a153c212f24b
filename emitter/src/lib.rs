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
//! // All sockets of a user, wherever they are.
//! emitter.to_user("ann").emit("paid", &()).await?;
//! # Ok(()) }
//! ```
//!
//! Events reach the clients of Hallporter gateways and of python-socketio servers on the same broker and channel.
//! Without a broker, the URL of a gateway does (`http://127.0.0.1:3000`, or `http://:KEY@gateway:3000`).
//!
//! What handles the events of clients, in a process of its own, is a [`worker::Worker`].

mod asking;
mod buffer;
mod metric;
pub mod worker;

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use futures_util::future::{Either, ready};
use serde::Serialize;

pub use hallporter_adapters::url::UrlError;
pub use hallporter_adapters::{
    Ack, Answers, Args, ArgsError, AskError, ClientManager, Cluster, EncodeError, Instance, ManagerError,
    ManagerOptions, Receipt, envelope,
};
use hallporter_adapters::{
    AskingError, Command, Emit, EventName, Membership, Target, manager,
    url::{BrokerUrl, Scheme},
    user_room,
};

use asking::Asker;
use buffer::Buffer;

/// Emits events, moves sockets between rooms and disconnects them, from outside.
///
/// Cloning is cheap, and clones share the connection. Messages of one emitter that are awaited one after the other arrive in that order.
#[derive(Clone, Debug)]
pub struct Emitter {
    manager: Arc<dyn ClientManager>,
    buffer: Option<Buffer>,
    asker: Asker,
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
    /// As many messages wait in the buffer as it takes; this one was not sent.
    #[error("the buffer is full: {limit} messages wait for the broker")]
    BufferFull {
        /// The messages it takes.
        limit: usize,
    },
    /// The Tokio runtime in which the emitter was made has ended, and the buffer with it.
    #[error("the runtime of the emitter's buffer has ended")]
    BufferEnded,
}

/// A message on its way: awaited, it tells when the broker has it, or why not.
pub trait Sending: Future<Output = Result<(), EmitError>> + Send {}

impl<F: Future<Output = Result<(), EmitError>> + Send> Sending for F {}

impl From<AskingError> for EmitError {
    fn from(error: AskingError) -> Self {
        match error {
            AskingError::Url(error) => error.into(),
            AskingError::Manager(error) => error.into(),
        }
    }
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
        let emitter = Self::new(url, options)?;
        emitter.manager.connect().await?;
        Ok(emitter)
    }

    /// Buffers up to so many messages while the broker is away, now or later, and sends them in order when it is back.
    ///
    /// A message is in the buffer as soon as the method that sends it returns, and is sent even if nobody awaits what was
    /// returned; awaited, `Ok` still means that the broker has it. One that finds the buffer full is refused, and one that
    /// was under way when the connection broke fails and is not sent again. The buffer is memory: before a process ends it should [`flush`](Self::flush).
    ///
    /// ```no_run
    /// # use hallporter_emitter::{Emitter, ManagerOptions};
    /// # async fn example() -> Result<(), hallporter_emitter::EmitError> {
    /// let emitter = Emitter::buffered("redis://127.0.0.1:6379", ManagerOptions::default(), 10_000).await?;
    /// drop(emitter.to("lobby").emit("news", "sent in the background"));
    /// emitter.flush().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the URL names no broker, or the broker says no.
    pub async fn buffered(url: &str, options: ManagerOptions, messages: usize) -> Result<Self, EmitError> {
        let publish_wait = Duration::MAX;
        let mut emitter = Self::new(
            url,
            ManagerOptions {
                publish_wait,
                ..options
            },
        )?;
        match emitter.manager.connect().await {
            Ok(()) | Err(ManagerError::Unavailable { .. } | ManagerError::TimedOut { .. }) => {}
            Err(refused) => return Err(refused.into()),
        }
        emitter.buffer = Some(Buffer::new(emitter.manager.clone(), messages));
        Ok(emitter)
    }

    fn new(url: &str, options: ManagerOptions) -> Result<Self, EmitError> {
        let url = BrokerUrl::parse(url)?;
        if url.scheme() == Scheme::Memory {
            return Err(UrlError::Memory.into());
        }
        Ok(Self {
            asker: Asker::new(url.clone(), options.clone()),
            ..Self::over(manager(&url, options)?)
        })
    }

    /// By the connection of this manager.
    pub(crate) fn over(manager: Arc<dyn ClientManager>) -> Self {
        Self {
            asker: Asker::over(manager.clone()),
            manager,
            buffer: None,
            namespace: "/".into(),
            target: Target::all(),
            volatile: false,
        }
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

    /// Only to the sockets of this user, wherever they are, and to the rooms and users named before.
    #[must_use]
    pub fn to_user(&self, user: &str) -> Self {
        self.to(user_room(user))
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
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> impl Sending + use<T> {
        self.send(self.emit_of(event, data).map(Command::Emit))
    }

    /// Emits an event as [`emit`](Self::emit) does, and says how many gateways and sockets it was delivered to, as far as they say so within `timeout`.
    /// Hosts of python-socketio deliver it, and do not say so. The buffer takes no part in it.
    ///
    /// The first emit that asks makes this emitter a host of the cluster, which takes a good second, and which ends with the emitter and its clones;
    /// over `http://` the gateway asks, and waits for 60 s at most.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub async fn emit_with_receipt<T: Serialize + ?Sized>(
        &self,
        event: &str,
        data: &T,
        timeout: Duration,
    ) -> Result<Receipt, EmitError> {
        let emit = self.emit_of(event, data)?;
        Ok(self.asker.asking().await?.emit_with_receipt(emit, timeout).await?)
    }

    /// Emits an event as [`emit_with_receipt`](Self::emit_with_receipt) does, and collects the acks of the clients until `timeout`.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub async fn emit_with_ack<T: Serialize + ?Sized>(
        &self,
        event: &str,
        data: &T,
        timeout: Duration,
    ) -> Result<Answers, EmitError> {
        let emit = self.emit_of(event, data)?;
        Ok(self.asker.asking().await?.emit_with_ack(emit, timeout).await?)
    }

    /// Waits until every message that was sent before has left the buffer, which may be for as long as the broker is away.
    /// Returns at once for an emitter without a buffer.
    ///
    /// # Errors
    /// When the runtime has ended.
    pub async fn flush(&self) -> Result<(), EmitError> {
        match &self.buffer {
            Some(buffer) => buffer.flush().await,
            None => Ok(()),
        }
    }

    /// Puts a socket of this namespace into a room.
    ///
    /// # Errors
    /// When the broker does not take the message.
    pub fn enter_room(&self, sid: &str, room: &str) -> impl Sending + use<> {
        self.send(Ok(Command::EnterRoom(self.membership(sid, room))))
    }

    /// Takes a socket of this namespace out of a room.
    ///
    /// # Errors
    /// When the broker does not take the message.
    pub fn leave_room(&self, sid: &str, room: &str) -> impl Sending + use<> {
        self.send(Ok(Command::LeaveRoom(self.membership(sid, room))))
    }

    /// Takes every socket of this namespace out of a room.
    ///
    /// # Errors
    /// When the broker does not take the message.
    pub fn close_room(&self, room: &str) -> impl Sending + use<> {
        self.send(Ok(Command::CloseRoom {
            namespace: self.namespace.clone(),
            room: room.into(),
        }))
    }

    /// Disconnects a socket from this namespace.
    ///
    /// # Errors
    /// When the broker does not take the message.
    pub fn disconnect(&self, sid: &str) -> impl Sending + use<> {
        self.send(Ok(Command::Disconnect {
            namespace: self.namespace.clone(),
            sid: sid.into(),
            connection: false,
        }))
    }

    /// Disconnects all sockets of a user from this namespace, on every gateway.
    ///
    /// # Errors
    /// When the broker does not take the message.
    pub fn disconnect_user(&self, user: &str) -> impl Sending + use<> {
        self.disconnect(&user_room(user))
    }

    fn emit_of<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> Result<Emit, EncodeError> {
        Ok(Emit {
            namespace: self.namespace.clone(),
            target: self.target.clone(),
            event: EventName::new(event),
            args: Args::encode(data)?,
            volatile: self.volatile,
        })
    }

    /// By the buffer, if there is one.
    fn send(&self, command: Result<Command, EncodeError>) -> impl Sending + use<> {
        match (command, &self.buffer) {
            (Err(error), _) => Either::Left(ready(Err(error.into()))),
            (Ok(command), Some(buffer)) => Either::Right(Either::Left(buffer.push(command))),
            (Ok(command), None) => {
                let manager = self.manager.clone();
                Either::Right(Either::Right(async move { Ok(manager.send(command).await?) }))
            }
        }
    }

    fn membership(&self, sid: &str, room: &str) -> Membership {
        Membership {
            namespace: self.namespace.clone(),
            sid: sid.into(),
            room: room.into(),
        }
    }
}
