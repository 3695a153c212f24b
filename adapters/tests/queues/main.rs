//! The queues of workers, on each broker.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "this is a test")]

#[cfg(feature = "amqp")]
mod amqp;
#[path = "../conformance/left_out.rs"]
mod left_out;
mod line;
mod memory;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "redis")]
mod redis;
#[path = "../servers/mod.rs"]
mod servers;
mod suite;
