//! Joins Socket.IO hosts into one cluster over a broker.
//!
//! [`ClientManager`] is what emitters and gateways speak to (towards the broker), [`LocalSockets`] what a gateway
//! offers in return (towards its clients). Between the two stand the rules of a cluster ([`PubSubManager`]),
//! a published message format ([`wire`]) and something that moves bytes ([`broker`]). This crate knows no HTTP server and,
//! but for the feature `socketioxide`, no Socket.IO library.
//!
//! To add a broker, implement [`broker::Broker`] in a file of its own, name it in [`url`] and [`manager`], and run the
//! conformance suite (feature `conformance`) on it.

mod args;
mod asking;
pub mod broker;
mod cluster;
mod command;
#[cfg(feature = "conformance")]
pub mod conformance;
mod connect;
pub mod envelope;
mod error;
#[cfg(feature = "http")]
mod gateway_client;
mod json;
mod local;
mod log_limit;
mod manager;
mod metric;
mod no_sockets;
mod pubsub;
pub mod servers;
#[cfg(feature = "socketioxide")]
pub mod socketioxide;
pub mod url;
mod users;
pub mod wire;

pub use args::{Args, ArgsError, EncodeError, EventName};
pub use asking::{Answers, Asking, AskingError};
pub use broker::Task;
pub use cluster::{AskError, Cluster, Instance, Receipt};
pub use command::{Command, Emit, Membership, Target};
#[cfg(feature = "amqp")]
pub use connect::AmqpManager;
#[cfg(feature = "http")]
pub use connect::HttpManager;
#[cfg(feature = "nats")]
pub use connect::NatsManager;
#[cfg(feature = "redis")]
pub use connect::RedisManager;
pub use connect::{MemoryManager, manager};
pub use error::ManagerError;
#[cfg(feature = "http")]
pub use gateway_client::GatewayClient;
pub use local::{Ack, LocalSockets, RoomIsSid};
pub use log_limit::LogLimit;
pub use manager::{ClientManager, SocketInfo, Status};
pub use metric::describe as describe_metrics;
pub use no_sockets::{Asked, NoSockets};
pub use pubsub::{AckStream, ManagerOptions, PubSubManager, Role, backoff};
pub use users::{BindError, UserPolicy, is_reserved, user_of, user_room};
