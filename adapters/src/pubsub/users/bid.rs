//! Asking for a user that shall be on one host alone.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::watch;

/// A claim that the other hosts have to agree to.
#[derive(Clone, Debug)]
pub(in crate::pubsub) struct Bid {
    pub(in crate::pubsub) stamp: u64,
    answers: watch::Sender<Answers>,
}

#[derive(Debug)]
struct Answers {
    /// Hosts that have not answered.
    waiting: HashSet<String>,
    is_taken: bool,
}

impl Bid {
    /// For these hosts to agree to.
    pub(super) fn new(stamp: u64, waiting: HashSet<String>) -> Self {
        let answers = watch::Sender::new(Answers {
            waiting,
            is_taken: false,
        });
        Self { stamp, answers }
    }

    /// Waits until all hosts have agreed, or one has not. One that does not answer within `patience` does not count.
    pub(in crate::pubsub) async fn decided(&self, patience: Duration) {
        let mut answers = self.answers.subscribe();
        let decided = answers.wait_for(|answers| answers.is_taken || answers.waiting.is_empty());
        // Who is silent for so long is not alive.
        let _ = tokio::time::timeout(patience, decided).await;
    }

    /// A host agreed, or did not.
    pub(super) fn answer(&self, host: &str, is_taken: bool) {
        self.answers.send_if_modified(|answers| {
            answers.is_taken |= is_taken;
            answers.waiting.remove(host) || is_taken
        });
    }

    pub(super) fn is_taken(&self) -> bool {
        self.answers.borrow().is_taken
    }
}
