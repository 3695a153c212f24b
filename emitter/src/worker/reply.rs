//! What a handler answers.

use hallporter_adapters::envelope::{self, EmitRequest, ReplyError, ReplyRefusal, SessionChange, encode_args};
use hallporter_adapters::{Args, EncodeError};
use serde::Serialize;
use serde_json::Value;

/// The answer to an event or a call, and what is to be done besides. The gateway does it in the order of these methods, all of it before the client has its ack.
///
/// ```
/// use hallporter_emitter::worker::{HandlerError, Reply};
///
/// # fn reply() -> Result<Reply, HandlerError> {
/// Ok(Reply::ack(&("taken", 7))?.set("orders", 1)?.join("orders").emit_to("kitchen", "order", &7)?)
/// # }
/// # reply().unwrap();
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a reply is returned by the handler"]
pub struct Reply(envelope::Reply);

impl Reply {
    /// An ack without arguments.
    pub fn new() -> Self {
        Self::default()
    }

    /// Arguments for the client's ack, or the result of a method: a tuple is several arguments, `()` is none, anything else is one.
    ///
    /// # Errors
    /// When the data cannot be JSON.
    pub fn ack<T: Serialize + ?Sized>(data: &T) -> Result<Self, EncodeError> {
        let (ack, attachments) = encode_args(&Args::encode(data)?)?;
        Ok(Self(envelope::Reply {
            ack: Some(ack),
            attachments,
            ..envelope::Reply::default()
        }))
    }

    pub(super) fn error(error: ReplyError) -> Self {
        Self(envelope::Reply {
            error: Some(error),
            ..envelope::Reply::default()
        })
    }

    pub(super) fn refusal(refusal: ReplyRefusal) -> Self {
        Self(envelope::Reply {
            refuse: Some(refusal),
            ..envelope::Reply::default()
        })
    }

    /// Sets a value of the session. If the session has changed since the event was sent, nothing of the reply is done, and the event comes
    /// again with the session as it is then.
    ///
    /// # Errors
    /// When the value cannot be JSON.
    pub fn set(mut self, key: impl Into<String>, value: impl Serialize) -> Result<Self, serde_json::Error> {
        let value: Value = serde_json::to_value(value)?;
        self.session().set.insert(key.into(), value);
        Ok(self)
    }

    /// Takes a value from the session, under the same condition as [`set`](Self::set).
    pub fn remove(mut self, key: impl Into<String>) -> Self {
        self.session().remove.push(key.into());
        self
    }

    fn session(&mut self) -> &mut SessionChange {
        self.0.session.get_or_insert_with(|| SessionChange {
            version: 0,
            set: serde_json::Map::new(),
            remove: Vec::new(),
        })
    }

    /// Binds the socket to a user.
    pub fn bind_user(mut self, user: impl Into<String>) -> Self {
        self.0.user = Some(Some(user.into()));
        self
    }

    /// Takes the socket from its user.
    pub fn unbind_user(mut self) -> Self {
        self.0.user = Some(None);
        self
    }

    /// Puts the socket into a room.
    pub fn join(mut self, room: impl Into<String>) -> Self {
        self.0.join.push(room.into());
        self
    }

    /// Takes the socket out of a room.
    pub fn leave(mut self, room: impl Into<String>) -> Self {
        self.0.leave.push(room.into());
        self
    }

    /// Emits an event to the members of a room of the socket's namespace; each sid is a room.
    ///
    /// # Errors
    /// When the data cannot be JSON.
    pub fn emit_to<T: Serialize + ?Sized>(self, room: &str, event: &str, data: &T) -> Result<Self, EncodeError> {
        let rooms = Some(vec![room.to_owned()]);
        Ok(self.emit(EmitRequest {
            rooms,
            ..request(event, data)?
        }))
    }

    /// Emits an event to everybody in the socket's namespace.
    ///
    /// # Errors
    /// When the data cannot be JSON.
    pub fn broadcast<T: Serialize + ?Sized>(self, event: &str, data: &T) -> Result<Self, EncodeError> {
        Ok(self.emit(request(event, data)?))
    }

    /// Emits as the request says: to users, say, or in another namespace.
    pub fn emit(mut self, request: EmitRequest) -> Self {
        self.0.emits.push(request);
        self
    }

    /// Disconnects the socket, after the ack.
    pub fn disconnect(mut self) -> Self {
        self.0.disconnect = true;
        self
    }

    /// The reply to this event, or call.
    pub(super) fn to(mut self, id: &str, attempt: u32, session_version: u64) -> envelope::Reply {
        self.0.id = id.to_owned();
        self.0.attempt = Some(attempt);
        if let Some(change) = &mut self.0.session {
            change.version = session_version;
        }
        self.0
    }
}

fn request<T: Serialize + ?Sized>(event: &str, data: &T) -> Result<EmitRequest, EncodeError> {
    let (args, attachments) = encode_args(&Args::encode(data)?)?;
    Ok(EmitRequest {
        event: event.to_owned(),
        args: Some(args),
        attachments,
        namespace: None,
        rooms: None,
        users: None,
        except: Vec::new(),
        volatile: false,
    })
}
