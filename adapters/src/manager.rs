//! Downwards: from anyone who wants something of the cluster to the broker.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{AckStream, Command, Emit, LocalSockets, ManagerError, Membership, Target};

/// What makes many hosts look like one.
///
/// A manager with [`LocalSockets`] (see [`start`](Self::start)) belongs to a gateway: it does everything locally
/// first, then tells the other hosts. One without is write-only, as an emitter uses it.
///
/// Delivery is at most once: a message that a host misses while its broker connection is down is gone.
/// `Ok` means that the broker has taken the message.
#[async_trait]
pub trait ClientManager: Debug + Send + Sync + 'static {
    /// This host's id, new at each start.
    fn host_id(&self) -> &str;

    /// Begins to listen, on behalf of these sockets. Returns at once; [`status`](Self::status) tells when the broker is there.
    /// A second call changes nothing.
    fn start(&self, local: Arc<dyn LocalSockets>);

    /// Makes the connection that commands go out on, which the first of them would do otherwise.
    ///
    /// # Errors
    /// When the broker is away or says no.
    async fn connect(&self) -> Result<(), ManagerError>;

    /// Does the command here and on all other hosts it concerns.
    ///
    /// # Errors
    /// When the broker did not take the message (it has been done locally all the same), or the command is refused.
    async fn send(&self, command: Command) -> Result<(), ManagerError>;

    /// Emits and collects the clients' acks, from all hosts, until `timeout`.
    ///
    /// # Errors
    /// As [`send`](Self::send); and for a write-only manager, which nobody could answer.
    async fn emit_with_ack(&self, emit: Emit, timeout: Duration) -> Result<AckStream, ManagerError>;

    /// The sockets of all Hallporter hosts that are meant. Hosts of python-socketio cannot be asked.
    ///
    /// # Errors
    /// When a host that is alive did not answer in time; and for a write-only manager.
    async fn sockets(&self, namespace: &str, target: &Target) -> Result<Vec<SocketInfo>, ManagerError>;

    /// The Hallporter hosts that are alive, this one included.
    fn hosts(&self) -> Vec<String>;

    /// How the connection to the broker is, and every change of it.
    fn status(&self) -> watch::Receiver<Status>;

    /// A room has its first member among the sockets of this host (`is_here`), or has lost its last. For one room the calls come in order.
    /// Returns at once; a wire that routes by room needs it.
    fn room_changed(&self, _namespace: &str, _room: &str, _is_here: bool) {}

    /// Stops listening and tells the other hosts.
    async fn close(&self);

    /// Sends an event.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    async fn emit(&self, emit: Emit) -> Result<(), ManagerError> {
        self.send(Command::Emit(emit)).await
    }

    /// Puts a socket, wherever it is, into a room.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    async fn enter_room(&self, membership: Membership) -> Result<(), ManagerError> {
        self.send(Command::EnterRoom(membership)).await
    }

    /// Takes a socket, wherever it is, out of a room.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    async fn leave_room(&self, membership: Membership) -> Result<(), ManagerError> {
        self.send(Command::LeaveRoom(membership)).await
    }

    /// Takes all sockets out of a room, on every host.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    async fn close_room(&self, namespace: &str, room: &str) -> Result<(), ManagerError> {
        let (namespace, room) = (ByteString::from(namespace), room.to_owned());
        self.send(Command::CloseRoom { namespace, room }).await
    }

    /// Disconnects a socket, wherever it is, from its namespace.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    async fn disconnect(&self, namespace: &str, sid: &str) -> Result<(), ManagerError> {
        let (namespace, sid) = (ByteString::from(namespace), sid.to_owned());
        self.send(Command::Disconnect { namespace, sid }).await
    }
}

/// How a manager's connection to its broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not listening: not started yet, write-only, or closed.
    Idle,
    /// Messages come in.
    Listening,
    /// The broker is away; the reason of the newest attempt.
    Away(String),
}

/// A socket somewhere in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketInfo {
    /// Its sid.
    pub sid: String,
    /// The host that holds it; empty for this host.
    #[serde(default, skip_serializing)]
    pub host_id: String,
    /// The rooms it is in, its own sid included.
    pub rooms: Vec<String>,
}
