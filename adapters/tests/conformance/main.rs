//! The behaviour suite, on each broker.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "this is a test")]

#[cfg(feature = "amqp")]
mod amqp;
#[cfg(feature = "amqp")]
mod amqp_connections;
#[cfg(any(feature = "redis", feature = "amqp", feature = "nats"))]
mod certificates;
mod left_out;
mod memory;
#[cfg(feature = "nats")]
mod nats;
mod recorder;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod sentinel;
#[path = "../servers/mod.rs"]
mod servers;
