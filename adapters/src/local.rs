//! Upwards: from the cluster to the clients this host holds.

use std::fmt::Debug;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::envelope::{Call, Event};
use crate::{Args, Emit, Membership, SocketInfo, Target};

/// The sockets of this host, as a manager sees them.
///
/// Calls come from the listener, one at a time and in the order of the messages, and from whoever uses the manager.
/// They return at once: what takes time (a slow client, an ack) happens behind them.
pub trait LocalSockets: Debug + Send + Sync + 'static {
    /// Hands an event to the sockets of this host that are meant, each once.
    fn deliver(&self, emit: &Emit);

    /// As [`deliver`](Self::deliver), for an emit that asks for a receipt: returns to how many sockets. By default those that are
    /// meant are counted just before.
    fn deliver_and_count(&self, emit: &Emit) -> usize {
        let sockets = self.sockets(&emit.namespace, &emit.target).len();
        self.deliver(emit);
        sockets
    }

    /// As [`deliver`](Self::deliver), asking each client for an ack. What comes back within `timeout` goes to
    /// `acks`; the channel is dropped when all have answered or the time is over. Returns how many were asked.
    fn deliver_with_ack(&self, emit: &Emit, timeout: Duration, acks: mpsc::Sender<Ack>) -> usize;

    /// Whether this host holds the socket.
    fn has(&self, namespace: &str, sid: &str) -> bool;

    /// Puts a socket of this host into a room; nothing happens for a socket of another host.
    ///
    /// # Errors
    /// When the room bears the name of another socket: whoever entered it would hear what is meant for that one.
    fn enter_room(&self, membership: &Membership) -> Result<(), RoomIsSid>;

    /// Takes a socket of this host out of a room; nothing happens for a socket of another host.
    fn leave_room(&self, membership: &Membership);

    /// Takes all sockets of this host out of a room.
    ///
    /// # Errors
    /// When the room is that of a socket: no event would reach it any more.
    fn close_room(&self, namespace: &str, room: &str) -> Result<(), RoomIsSid>;

    /// Disconnects a socket of this host from its namespace, or closes its client's whole `connection`; nothing happens for
    /// a socket of another host.
    fn disconnect(&self, namespace: &str, sid: &str, connection: bool);

    /// The sockets of this host that are meant, with their rooms.
    fn sockets(&self, namespace: &str, target: &Target) -> Vec<SocketInfo>;

    /// A user has come online in a namespace: the first socket anywhere in the cluster; or has gone: the last one, or the hosts that held
    /// them. Called on each host, in order for one user and never twice the same; what comes and goes faster than this returns may be
    /// left out. No lock of the manager is held meanwhile.
    fn user_changed(&self, _namespace: &str, _user: &str, _is_online: bool) {}

    /// The code of another host has emitted an event to that of this one. See [`ClientManager::server_side_emit`](crate::ClientManager::server_side_emit).
    fn server_side_event(&self, _namespace: &str, _event: &str, _args: Args) {}

    /// A server of the cluster calls a method of this one. Whoever gave `reply_to` waits for [`Cluster::answer`](crate::Cluster::answer).
    fn called(&self, _call: Call) {}

    /// An event of a client of another host, for the code of this instance. The gateway waits for [`Cluster::answer`](crate::Cluster::answer).
    fn event(&self, _event: Event) {}
}

/// A client's answer to an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Which socket answered; unknown when a python-socketio host passed the answer on.
    pub sid: Option<String>,
    /// What it answered.
    pub args: Args,
}

/// A room was to be entered or closed that bears the name of a socket.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the room bears the name of a socket; such rooms belong to their socket alone")]
pub struct RoomIsSid;
