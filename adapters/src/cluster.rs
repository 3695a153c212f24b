//! What a cluster offers beside its clients: other servers and their methods, workers and the queues they take events from.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::broker::Task;
use crate::envelope::{Event, Reply};
use crate::{Args, Emit, ManagerError};

/// The servers of a cluster.
///
/// An *instance* is a gateway or a worker that shows itself by heartbeats; it has an id, such as `chat-1`, and a type, such as `chat`.
/// It counts as dead when it says farewell, or is silent for three canary intervals. While two that are alive have the same id, that
/// id means the one that started last.
/// A *group* is a queue on the broker that outlives everybody, from which each event goes to one of the workers that take.
#[async_trait]
pub trait Cluster: Debug + Send + Sync + 'static {
    /// The instances that are alive, this one included, in the order of their types and ids.
    fn instances(&self) -> Vec<Instance>;

    /// Puts an event into the queue of a group. `Ok` means that the broker keeps it until a worker is done with it.
    ///
    /// # Errors
    /// As [`AskError`] says, but for the reply.
    async fn put(&self, group: &str, event: &Event) -> Result<(), AskError>;

    /// Puts an event into the queue of a group, and waits for the reply; `reply_to` and `id` are filled in.
    ///
    /// # Errors
    /// See [`AskError`].
    async fn ask_group(&self, group: &str, event: Event, timeout: Duration) -> Result<Reply, AskError>;

    /// Sends an event to one instance, and waits for the reply; `reply_to` and `id` are filled in.
    ///
    /// # Errors
    /// See [`AskError`].
    async fn ask_instance(&self, instance: &str, event: Event, timeout: Duration) -> Result<Reply, AskError>;

    /// Calls a method of an instance, and waits for the reply. Calling oneself goes the same way.
    ///
    /// # Errors
    /// See [`AskError`]; an error that the method answers is part of the reply.
    async fn call(&self, instance: &str, method: &str, args: &Args, timeout: Duration) -> Result<Reply, AskError>;

    /// Calls a method of an instance without waiting for more than the broker's taking it.
    ///
    /// # Errors
    /// See [`AskError`].
    async fn notify(&self, instance: &str, method: &str, args: &Args) -> Result<(), AskError>;

    /// Takes events from the queue of a group, which is made when there is none. So many may be in hand at once; the
    /// stream ends with the connection, and what is in hand then is handed out again, here or elsewhere.
    ///
    /// # Errors
    /// When the broker is away or says no, or knows no queues.
    async fn take(&self, group: &str, in_hand: usize) -> Result<BoxStream<'static, Task>, ManagerError>;

    /// Publishes the answer to an event or a call.
    ///
    /// # Errors
    /// When the broker did not take it.
    async fn answer(&self, reply_to: &str, reply: &Reply) -> Result<(), ManagerError>;

    /// Emits, and says how many gateways and sockets it was delivered to. Hosts of python-socketio deliver it, and do not say so.
    ///
    /// # Errors
    /// As [`ClientManager::emit`](crate::ClientManager::emit); and for a write-only manager.
    async fn emit_with_receipt(&self, emit: Emit, timeout: Duration) -> Result<Receipt, ManagerError>;
}

/// A server of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Instance {
    /// Its type: `gateway`, or as it was configured.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id: as it was configured, or the host id.
    pub id: String,
    /// Its host id, new at each start.
    pub host_id: String,
}

/// Where an emit has gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The sockets it was delivered to: handed to their connections, not yet acknowledged by their clients.
    pub sockets: usize,
    /// The gateways that have said so, this one included if it is one.
    pub gateways: usize,
    /// The host ids of gateways that are alive and did not say so in time.
    pub missing: Vec<String>,
}

/// Why an event or a call was not answered.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No instance of this id is alive; or it has gone before it replied, and may have handled what it was sent.
    #[error("no instance {0:?} is alive")]
    NoInstance(String),
    /// No reply came in time. It may have been handled all the same, or be handled yet.
    #[error("no reply within {0:?}")]
    TimedOut(Duration),
    /// The queue of the group takes no more: nobody takes from it fast enough.
    #[error("the queue of {0:?} is full")]
    QueueFull(String),
    /// The broker did not take it.
    #[error(transparent)]
    Manager(#[from] ManagerError),
}
