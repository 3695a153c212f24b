//! The running system from outside: starts real gateways, a real broker and real clients, and stops them again.
//!
//! A test starts a [`Cluster`], connects [`Client`]s through a [`Driver`], acts, and compares what each client was
//! told until a fence: an event sent last on the same way, behind which nothing of the act can still be coming.
//! Every process is a [`Process`] and dies with the value that holds it. The output of all of them appears, in the
//! order of its writing, when a test fails.
//!
//! What is to be seen on the wire is tested with [`raw`] clients, which have a say over every byte. These tests are
//! written from the published documents alone. To show that they are neutral, they and the tests of real clients also run
//! against Node's own server (`tests/clients/reference.mjs`); [`node_deviates`] marks where that differs:
//! `HALLPORTER_TEST_SERVER=node cargo test -p e2e --test engineio --test socketio --test clients`.

mod client;
mod cluster;
mod driver;
pub mod faults;
mod fence;
mod footprint;
mod gateway;
mod pair;
mod paths;
mod proxy;
mod python_server;
pub mod raw;
mod redis;
mod scene;
#[path = "../../adapters/tests/servers/mod.rs"]
mod servers;
mod settings;
mod shared;
mod worker_script;

pub use client::{Client, Connect, Report};
pub use cluster::{Cluster, gateways};
pub use driver::Driver;
pub use fence::{fence_name, settle, until_each};
pub use footprint::Footprint;
pub use gateway::{Gateway, poll};
pub use pair::{Pair, emit};
pub use paths::{artefacts, clients, example, hallporter, python};
pub use proxy::Proxy;
pub use python_server::PythonServer;
pub use scene::{NODE_A, NODE_B, PYTHON_A, PYTHON_B, Scene};
pub use servers::{Ended, Log, NatsServer, PATIENCE, Process, RabbitServer, RedisServer, free_ports, run, run_within};
pub use settings::Settings;
pub use shared::{disconnect_reason, node_deviates, shared};
pub use worker_script::worker_reaches_everyone;
