//! The behaviour suite, on each broker.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "this is a test")]

#[cfg(feature = "amqp")]
mod amqp;
mod memory;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "amqp")]
#[allow(unreachable_pub, reason = "another package includes it as well")]
mod rabbit_server;
mod recorder;
#[cfg(feature = "redis")]
mod redis;
