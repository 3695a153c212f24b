//! The behaviour suite, on each broker.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "this is a test")]

mod memory;
#[cfg(feature = "nats")]
mod nats;
mod recorder;
#[cfg(feature = "redis")]
mod redis;
