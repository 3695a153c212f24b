//! Turning messages into topics and bytes, in the formats other projects publish.

pub mod python;
pub(crate) mod repair;

use std::fmt::Debug;

use bytes::Bytes;
use bytestring::ByteString;

use crate::{Args, ArgsError, Command};

pub use python::PythonWire;

/// What hosts exchange over the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Something to be done by every host but the one that sent it.
    Command {
        /// The host (or worker) that sent it, where it says so.
        host_id: Option<String>,
        /// What to do.
        command: Command,
        /// Where acks go, for an emit that asks for them.
        callback: Option<Callback>,
        /// The number that a receipt is to bear, for an emit that asks Hallporter hosts for one.
        receipt: Option<u64>,
    },
    /// A client's ack, for one host alone.
    Callback {
        /// The host that asked.
        host_id: String,
        /// What it asked with.
        callback: Callback,
        /// What the client answered.
        args: Args,
    },
}

/// How an asking host recognises the acks to its emit: given back as it came.
///
/// Token and id are kept as JSON, since a foreign host may use any value (python-socketio: the room and a number).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// The first element of python's `callback`, named `sid` in the answer.
    pub token: ByteString,
    /// The namespace of the emit.
    pub namespace: ByteString,
    /// The id of the ack on the asking host.
    pub id: ByteString,
}

/// A published message format.
pub trait Wire: Debug + Send + Sync + 'static {
    /// The topics a host listens on.
    fn topics(&self) -> Vec<String>;

    /// The topic a message goes to. One for everything, or one per room.
    fn topic(&self, message: &Message) -> String;

    /// The bytes of a message. `None` when the format cannot express it, with nothing to be done about it.
    fn encode(&self, message: &Message) -> Option<Bytes>;

    /// Reads a message. Nothing in it is trusted.
    ///
    /// # Errors
    /// When it is not a message of this format, or not one that a client could be sent.
    fn decode(&self, body: Bytes) -> Result<Message, WireError>;
}

/// Why a message from the broker was not understood. Each is counted under [`reason`](Self::reason).
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum WireError {
    /// A pickle, as python-socketio before 5.14 sends: reading one would run its sender's code.
    #[error("a Python pickle, which is never read: upgrade the sender to python-socketio 5.14 or later")]
    Pickle,
    /// Neither UTF-8 nor UTF-16.
    #[error("not text")]
    NotText,
    /// Not JSON, or not a JSON object.
    #[error("not a JSON object: {0}")]
    NotJson(String),
    /// A field has the wrong type.
    #[error("the field {field:?} {problem}")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A method this format does not have.
    #[error("the method {0:?} is unknown")]
    UnknownMethod(String),
    /// Arguments that no client could be sent.
    #[error(transparent)]
    Args(#[from] ArgsError),
}

impl WireError {
    /// A label for metrics; a fixed set.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Pickle => "pickle",
            Self::NotText => "not_text",
            Self::NotJson(_) => "not_json",
            Self::Field { .. } => "field",
            Self::UnknownMethod(_) => "unknown_method",
            Self::Args(ArgsError::TooDeep) => "too_deep",
            Self::Args(_) => "field",
        }
    }
}
