//! What hosts and workers ask of the cluster.

use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use crate::{Args, EventName};

/// One thing to be done on every host where it applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Send an event to sockets.
    Emit(Emit),
    /// Put a socket into a room.
    EnterRoom(Membership),
    /// Take a socket out of a room.
    LeaveRoom(Membership),
    /// Take every socket out of a room.
    CloseRoom {
        /// The namespace of the room.
        namespace: ByteString,
        /// The room.
        room: String,
    },
    /// Disconnect a socket from its namespace.
    Disconnect {
        /// The namespace of the socket.
        namespace: ByteString,
        /// The socket; or the [room of a user](crate::user_room), which means all sockets of that user on all hosts.
        sid: String,
        /// Close the client's whole connection, with its sockets in other namespaces.
        /// python-socketio hosts pass over this and disconnect from the namespace.
        connection: bool,
    },
}

impl Command {
    /// The word python-socketio uses for it; a label of bounded size.
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Emit(_) => "emit",
            Self::EnterRoom(_) => "enter_room",
            Self::LeaveRoom(_) => "leave_room",
            Self::CloseRoom { .. } => "close_room",
            Self::Disconnect { .. } => "disconnect",
        }
    }
}

/// An event and whom it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emit {
    /// The namespace, with its leading slash.
    pub namespace: ByteString,
    /// Which sockets of the namespace.
    pub target: Target,
    /// The name of the event.
    pub event: EventName,
    /// Its arguments.
    pub args: Args,
    /// May be dropped for a client that cannot take it now.
    pub volatile: bool,
}

/// The sockets of a namespace that are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The rooms whose members are meant, each member once; every sid is a room. `None` is the whole namespace.
    pub rooms: Option<Vec<String>>,
    /// Rooms (and so sids) whose members are left out.
    pub except: Vec<String>,
}

impl Target {
    /// Everybody in the namespace.
    pub fn all() -> Self {
        Self::default()
    }

    /// The members of one room; a sid is the room of its socket.
    pub fn room(room: impl Into<String>) -> Self {
        Self {
            rooms: Some(vec![room.into()]),
            except: Vec::new(),
        }
    }
}

/// A socket and a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The namespace of both.
    pub namespace: ByteString,
    /// The socket.
    pub sid: String,
    /// The room.
    pub room: String,
}
