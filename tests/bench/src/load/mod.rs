//! The load generator: clients that cost little, and count what reaches them.

mod client;
mod crowd;
mod tally;

pub(crate) use client::Client;
pub(crate) use crowd::{Crowd, Trigger};
pub(crate) use tally::{Faults, Tally};
