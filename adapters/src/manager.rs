//! Downwards: from anyone who wants something of the cluster to the broker.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{
    AckStream, Args, BindError, Cluster, Command, Emit, LocalSockets, ManagerError, Membership, Target, UserPolicy,
};

/// What makes many hosts look like one.
///
/// A manager with [`LocalSockets`] (see [`start`](Self::start)) belongs to a gateway: it does everything locally
/// first, then tells the other hosts. One without is write-only, as an emitter uses it.
///
/// Delivery is at most once: a message that a host misses while its broker connection is down is gone.
/// `Ok` means that the broker has taken the message.
#[async_trait]
pub trait ClientManager: Cluster {
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

    /// Hands an event to the code of all other Hallporter hosts, by their [`LocalSockets::server_side_event`], and to no client. Each
    /// hears the events of one host in their order, and at most once.
    ///
    /// # Errors
    /// When the broker did not take the message; and for a write-only manager.
    async fn server_side_emit(&self, namespace: &str, event: &str, args: Args) -> Result<(), ManagerError>;

    /// The sockets of all Hallporter hosts that are meant. Hosts of python-socketio cannot be asked.
    ///
    /// # Errors
    /// When a host that is alive did not answer in time; and for a write-only manager.
    async fn sockets(&self, namespace: &str, target: &Target) -> Result<Vec<SocketInfo>, ManagerError>;

    /// The Hallporter hosts that are alive, this one included.
    fn hosts(&self) -> Vec<String>;

    /// Binds a socket of this host to a user, and puts it into the [room of that user](crate::user_room). Until
    /// [`unbind_user`](Self::unbind_user) the user is online in that namespace.
    /// A socket bound to another user before is that one's no longer; for a socket that is not here (any more) nothing happens.
    ///
    /// The policy is held over the cluster. With [`UserPolicy::ReplaceOld`] older sockets of the user are disconnected from the namespace, here at
    /// once and elsewhere as soon as the other hosts hear of it. With [`UserPolicy::RefuseNew`] all hosts are asked first; one that does not answer
    /// while three canary intervals pass counts as dead. When hosts that could not hear each other find that both hold the user, the
    /// older or the newer sockets go, as the policy says.
    ///
    /// Other hosts are told in the background; those that miss it notice by the next heartbeat.
    ///
    /// # Errors
    /// [`BindError::Taken`] with `RefuseNew`, when the user is online or another host was first. Also with `RefuseNew`, when the broker is away, since
    /// nobody can be asked; and for a write-only manager.
    async fn bind_user(&self, namespace: &str, sid: &str, user: &str, policy: UserPolicy) -> Result<(), BindError>;

    /// Takes a socket of this host from its user. To be called for every socket that goes, after [`LocalSockets::has`] has ceased to tell
    /// of it, and with no lock held that `LocalSockets` takes; the gateway does so, a socketioxide server has to in its disconnect handlers.
    /// Returns at once; nothing happens for a socket without a user.
    fn unbind_user(&self, namespace: &str, sid: &str);

    /// The users online in a namespace, over the cluster, in no order. Answered from memory, as are the next two.
    fn users(&self, namespace: &str) -> Vec<String>;

    /// How many users are online in a namespace; each counts once, however many sockets they have.
    fn user_count(&self, namespace: &str) -> usize;

    /// Whether a user is online in a namespace.
    fn is_online(&self, namespace: &str, user: &str) -> bool;

    /// Whether this host runs what runs once in the cluster: the oldest of the Hallporter hosts that are alive does.
    ///
    /// A host leads one canary interval after it began to listen at the earliest, in which it hears of older ones; in memory at once.
    /// The next host leads as soon as this one says farewell, or after three and a quarter intervals of silence; a host that does not hear itself
    /// stops to lead after two and a quarter. Two may lead for a moment while the broker keeps them apart, or when a host was frozen and goes on.
    fn leads(&self) -> watch::Receiver<bool>;

    /// The sockets of this host; `None` for a write-only manager.
    fn local(&self) -> Option<&Arc<dyn LocalSockets>>;

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

    /// Disconnects a socket, wherever it is, from its namespace; or all sockets of a user, whose [room](crate::user_room) is given for the sid.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    async fn disconnect(&self, namespace: &str, sid: &str) -> Result<(), ManagerError> {
        let (namespace, sid) = (ByteString::from(namespace), sid.to_owned());
        self.send(Command::Disconnect {
            namespace,
            sid,
            connection: false,
        })
        .await
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
