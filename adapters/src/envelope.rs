//! What workers, HTTP endpoints and other servers are told, and what they answer: plain JSON, version 1.
//!
//! Binary data stands in `args` as `{"_placeholder": true, "num": N}` and in `attachments`, at place N, as base64.

use std::net::IpAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::{Args, ArgsError, Emit, EncodeError, EventName, Target, user_room};

/// The version of the format. A reader passes over fields it does not know; a new version is for what older readers would get wrong.
pub const VERSION: u32 = 1;

/// An event of a client, on its way to the user's code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// [`VERSION`].
    pub version: u32,
    /// Names this event and no other. What is delivered a second time bears the same id.
    pub id: String,
    /// The id of the same event as it was told before, when the reply to that could not be used: the session had changed meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<String>,
    /// The instance id of the gateway that holds the client.
    pub gateway: String,
    /// The namespace.
    pub namespace: String,
    /// The name of the event; `connect` and `disconnect` for clients that come and go.
    pub event: String,
    /// The socket; none where many are told of at once.
    #[serde(default)]
    pub sid: Option<String>,
    /// The user, where one is bound.
    #[serde(default)]
    pub user: Option<String>,
    /// The arguments, as an array.
    pub args: Box<RawValue>,
    /// The binary data among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<String>,
    /// What the session holds.
    #[serde(default)]
    pub session: Map<String, Value>,
    /// How often it has changed.
    #[serde(default)]
    pub session_version: u64,
    /// What the client said when it connected; with the event `connect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake: Option<Handshake>,
    /// Who has gone; with the event `disconnect`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disconnects: Vec<Disconnect>,
    /// The topic that the reply is published on; none where the reply is the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
}

/// What a client said when it connected.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Handshake {
    /// The headers of its first HTTP request, names in small letters; of those that come more than once, the first.
    pub headers: Map<String, Value>,
    /// The query string of that request, as it came.
    pub query: String,
    /// Where the request came from.
    pub address: Option<IpAddr>,
    /// What it connected with.
    pub auth: Value,
}

/// A client that has gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Disconnect {
    /// Its socket.
    pub sid: String,
    /// The user it was bound to.
    #[serde(default)]
    pub user: Option<String>,
    /// The protocol's reason, such as `transport close`.
    pub reason: String,
    /// What the session held.
    #[serde(default)]
    pub session: Map<String, Value>,
    /// How often it had changed.
    #[serde(default)]
    pub session_version: u64,
}

/// A call of a method of another server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// Names this call and no other.
    pub id: String,
    /// The instance that calls.
    pub from: String,
    /// The method.
    pub method: String,
    /// The arguments, as an array.
    pub args: Box<RawValue>,
    /// The binary data among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<String>,
    /// The topic that the reply is published on; none when nobody waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
}

/// The answer to an [`Event`] or a [`Call`], and what is to be done besides. Everything may be left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reply {
    /// The id of what is answered; needed wherever the reply is published.
    pub id: String,
    /// How often the event had been handed out, this time included, where the worker knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The arguments of the client's ack, or the result of a call, as an array; none at all is an ack without arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack: Option<Box<RawValue>>,
    /// The binary data among them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<String>,
    /// What the client or caller reads instead: an error. Nothing else of the reply is done then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ReplyError>,
    /// Refuses the connection, with the event `connect`. Nothing else of the reply is done then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refuse: Option<ReplyRefusal>,
    /// Changes the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionChange>,
    /// Binds the socket to a user; null unbinds it.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub user: Option<Option<String>>,
    /// Rooms the socket enters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub join: Vec<String>,
    /// Rooms it leaves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leave: Vec<String>,
    /// Events to be emitted, in this order, before the ack.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub emits: Vec<EmitRequest>,
    /// Disconnects the socket, after the ack.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disconnect: bool,
}

/// An error for a client or caller.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplyError {
    /// What programs go by.
    pub code: String,
    /// What people read.
    #[serde(default)]
    pub message: String,
    /// Whatever else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// Why a client may not connect: its `connect_error`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplyRefusal {
    /// What the client reads as the error's message.
    pub message: String,
    /// What it reads as the error's data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// A change of a session that holds only for the version the change was made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionChange {
    /// The `session_version` of the event.
    pub version: u64,
    /// Values that are set.
    #[serde(default)]
    pub set: Map<String, Value>,
    /// Values that are taken away.
    #[serde(default)]
    pub remove: Vec<String>,
}

/// An event to be emitted, as replies and the HTTP API have it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmitRequest {
    /// The name of the event.
    pub event: String,
    /// Its arguments, as an array. Default none.
    #[serde(default)]
    pub args: Option<Box<RawValue>>,
    /// The binary data among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<String>,
    /// The namespace. Default: in a reply that of the event, over HTTP `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The rooms whose members are meant; each sid is a room. Default, without `users`: everybody in the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rooms: Option<Vec<String>>,
    /// The users whose sockets are meant, beside the rooms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
    /// Rooms whose members are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// May be dropped for clients that cannot take it now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub volatile: bool,
}

impl EmitRequest {
    /// What asks for this emit; users are meant by their rooms.
    ///
    /// # Errors
    /// When the arguments are not JSON, which those that were encoded always are.
    pub fn of(emit: &Emit) -> Result<Self, EncodeError> {
        let (args, attachments) = encode_args(&emit.args)?;
        Ok(Self {
            event: emit.event.decode(),
            args: Some(args),
            attachments,
            namespace: Some(emit.namespace.to_string()),
            rooms: emit.target.rooms.clone(),
            users: None,
            except: emit.target.except.clone(),
            volatile: emit.volatile,
        })
    }

    /// The emit it asks for.
    ///
    /// # Errors
    /// When the arguments are no array, or no client could be sent them.
    pub fn into_emit(self, namespace: &str) -> Result<Emit, ArgsError> {
        let args = decode_given(self.args.as_deref(), &self.attachments)?;
        let users = self
            .users
            .map(|users| users.iter().map(|user| user_room(user)).collect());
        let rooms = match (self.rooms, users) {
            (None, None) => None,
            (rooms, users) => {
                let users: Vec<String> = users.unwrap_or_default();
                Some(rooms.unwrap_or_default().into_iter().chain(users).collect())
            }
        };
        Ok(Emit {
            namespace: self.namespace.as_deref().unwrap_or(namespace).into(),
            target: Target {
                rooms,
                except: self.except,
            },
            event: EventName::new(&self.event),
            args,
            volatile: self.volatile,
        })
    }
}

impl Reply {
    /// The arguments of the ack.
    ///
    /// # Errors
    /// When they are no array, or no client could be sent them.
    pub fn args(&self) -> Result<Args, ArgsError> {
        decode_given(self.ack.as_deref(), &self.attachments)
    }
}

/// Arguments as the envelope has them: an array, and the binary data among it as base64.
///
/// # Errors
/// When the arguments are not JSON, which those that came from a client never are.
pub fn encode_args(args: &Args) -> Result<(Box<RawValue>, Vec<String>), serde_json::Error> {
    let attachments = args.attachments().iter().map(|bytes| BASE64_STANDARD.encode(bytes));
    Ok((RawValue::from_string(args.to_json_array())?, attachments.collect()))
}

/// The arguments of an envelope.
///
/// # Errors
/// When they are no array, no client could be sent them, or an attachment is not base64.
pub fn decode_args(args: &RawValue, attachments: &[String]) -> Result<Args, ArgsError> {
    let attachments = attachments.iter().map(|text| {
        BASE64_STANDARD
            .decode(text)
            .map(Bytes::from)
            .map_err(|_| ArgsError::NotBase64)
    });
    Args::from_json_array(args.get(), attachments.collect::<Result<_, _>>()?)
}

/// None at all are no arguments; then attachments are of no use, but have to be right.
///
/// # Errors
/// As [`decode_args`].
pub fn decode_given(args: Option<&RawValue>, attachments: &[String]) -> Result<Args, ArgsError> {
    decode_args(args.unwrap_or(serde_json::from_str("[]")?), attachments)
}

/// Tells null from nothing.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
