//! Real brokers of a test's own, and the processes they run in. The tests of the running system include this folder too.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests alone use it"
)]
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each package uses a part of it"
)]

mod log;
mod nats_server;
mod process;
mod rabbit_server;
mod redis_server;
mod restartable;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use log::Log;
pub use nats_server::NatsServer;
pub use process::{Ended, Process, is_installed, run, run_within};
pub use rabbit_server::RabbitServer;
pub use redis_server::RedisServer;
pub use restartable::Restartable;

/// How long anything may take that is expected to happen.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Ports that nobody listens on.
///
/// # Panics
/// When there are none.
pub fn free_ports<const N: usize>() -> [u16; N] {
    // All at once, so that no two are the same.
    let free = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free"));
    free.map(|free| free.local_addr().expect("it is bound").port())
}

/// Where `make setup` puts Valkey, which Debian 12 has among its backports only.
pub fn valkey() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/valkey/usr/bin/valkey-server")
}
