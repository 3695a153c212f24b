//! What can go wrong between a caller and the broker.

use crate::args::EncodeError;
use crate::local::RoomIsSid;

/// Why a manager did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// The broker could not be reached, or the connection broke.
    #[error("cannot reach the broker at {url}: {reason}")]
    Unavailable {
        /// The broker, password masked.
        url: String,
        /// What the attempt ended with.
        reason: String,
    },
    /// The broker did not answer in time. Whether it took the message is unknown.
    #[error("the broker at {url} did not answer within {after:?}; whether it took the message is unknown")]
    TimedOut {
        /// The broker, password masked.
        url: String,
        /// How long was waited.
        after: std::time::Duration,
    },
    /// The broker or the gateway said no: wrong credentials, missing rights, a message it will not take.
    #[error("{url} refused: {reason}")]
    Refused {
        /// The broker or gateway, password masked.
        url: String,
        /// Its own words.
        reason: String,
    },
    /// The message is larger than `manager.max_message`.
    #[error("the message of {size} bytes is too large for {url}: manager.max_message is {limit} bytes")]
    TooLarge {
        /// The broker, password masked.
        url: String,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// As much is waiting for the broker as this host allows; nothing of this message was sent.
    #[error("{limit} bytes are already waiting for the broker at {url}; wait for some to end")]
    QueueFull {
        /// The broker, password masked.
        url: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The data cannot be sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The room bears the name of a socket.
    #[error(transparent)]
    RoomIsSid(#[from] RoomIsSid),
    /// Only a manager that holds sockets can be answered.
    #[error("this manager only writes; acks and queries need one that listens")]
    WriteOnly,
    /// Hosts that are alive did not answer a query in time.
    #[error("no answer within {after:?} from {}", hosts.join(", "))]
    Unanswered {
        /// The ids of the hosts.
        hosts: Vec<String>,
        /// How long was waited.
        after: std::time::Duration,
    },
    /// As many answers are being waited for as this host allows.
    #[error("{limit} acks or queries are already being waited for; wait for some to end or shorten their time-outs")]
    TooManyPending {
        /// The limit.
        limit: usize,
    },
    /// A socketioxide server with another parser than the common one.
    #[error("only socketioxide's common parser can join a cluster; its messages are JSON")]
    Parser,
}
