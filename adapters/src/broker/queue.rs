//! What the queues of all brokers have in common: their names and bounds.
//!
//! Workers in other languages rely on the names.

use std::time::Duration;

/// The queue of a group of workers.
pub fn queue_name(channel: &str, group: &str) -> String {
    format!("{channel}.hallporter.worker.{group}")
}

/// The queue for what a queue's workers could not deal with.
pub fn dead_name(queue: &str) -> String {
    format!("{queue}.dead")
}

/// The bounds of a broker's queues. All who use a queue have to agree on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Messages that a queue holds, those in hand included; one more is refused. Default 100,000.
    pub length: usize,
    /// How long a message stays with a taker that shows no sign of life, where the broker does not see that it has gone. Default 15 s.
    pub patience: Duration,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            length: 100_000,
            patience: Duration::from_secs(15),
        }
    }
}
