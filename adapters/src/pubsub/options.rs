//! What a manager may be told.

use std::time::Duration;

#[cfg(doc)]
use crate::Status;

/// What a manager may be told; every field has a default.
#[derive(Clone, Debug)]
pub struct ManagerOptions {
    /// Separates clusters on one broker. Default `socketio`, as python-socketio's (Flask-SocketIO: `flask-socketio`).
    pub channel: String,
    /// The largest message published or accepted, in bytes. Default 1 MiB.
    pub max_message: usize,
    /// How often a host shows itself to the others, and to itself (the canary): one that has not heard itself for two
    /// intervals subscribes anew, and is not [`Status::Listening`] until it does. Default 2 s.
    pub canary_interval: Duration,
    /// How long the clients' acks to an emit of another host are waited for. Default 60 s, as python-socketio's `call`.
    pub ack_timeout: Duration,
    /// How long other hosts may take to answer a query. Default 5 s.
    pub query_timeout: Duration,
    /// How long a message waits for a broker that is away before it is refused. Default zero, since a gateway has delivered
    /// it to its own clients already; an emitter waits 5 s. [`Duration::MAX`] is for as long as it takes.
    pub publish_wait: Duration,
    /// What this instance is called. Default: its host id.
    pub instance: Option<String>,
    /// The type of this instance. Default `gateway`.
    pub instance_type: String,
    /// What it is in the cluster. Default [`Role::Gateway`].
    pub role: Role,
}

/// What a manager that is started is in its cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It holds sockets, hears all emits, and may lead.
    #[default]
    Gateway,
    /// It holds none, hears only what is for instances, and can ask all that a gateway can.
    Worker,
}

impl Default for ManagerOptions {
    fn default() -> Self {
        Self {
            channel: "socketio".into(),
            max_message: 1 << 20,
            canary_interval: Duration::from_secs(2),
            ack_timeout: Duration::from_secs(60),
            query_timeout: Duration::from_secs(5),
            publish_wait: Duration::ZERO,
            instance: None,
            instance_type: "gateway".into(),
            role: Role::default(),
        }
    }
}
