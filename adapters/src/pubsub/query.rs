//! Asking the other hosts, and waiting for all of them.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::watch;

/// A question, and what has been answered so far.
#[derive(Clone, Debug)]
pub(super) struct Query<A> {
    answers: watch::Sender<Answers<A>>,
}

#[derive(Debug)]
struct Answers<A> {
    together: A,
    /// Hosts that have not answered yet, or not all.
    waiting: HashSet<String>,
}

impl<A: Default> Query<A> {
    /// Waits for these hosts.
    pub(super) fn new(waiting: HashSet<String>) -> Self {
        let together = A::default();
        let answers = watch::Sender::new(Answers { together, waiting });
        Self { answers }
    }

    /// A host answered, and will say more or not. Nothing is added for one that is not waited for.
    pub(super) fn answer(&self, host: &str, more: bool, add: impl FnOnce(&mut A)) {
        self.answers.send_if_modified(|answers| {
            let waiting = answers.waiting.contains(host);
            if waiting {
                add(&mut answers.together);
            }
            waiting && !more && answers.waiting.remove(host)
        });
    }

    /// A host left, and has nothing to say any more.
    pub(super) fn gone(&self, host: &str) {
        self.answers.send_if_modified(|answers| answers.waiting.remove(host));
    }

    /// What has been answered, and the hosts that have not, once all have or the time is over.
    pub(super) async fn complete(&self, after: Duration) -> (A, Vec<String>) {
        let mut changes = self.answers.subscribe();
        let complete = changes.wait_for(|answers| answers.waiting.is_empty());
        // Who is missing shows below.
        let _ = tokio::time::timeout(after, complete).await;
        let mut together = A::default();
        let mut missing = Vec::new();
        self.answers.send_modify(|answers| {
            together = std::mem::take(&mut answers.together);
            missing.extend(answers.waiting.drain());
        });
        missing.sort();
        (together, missing)
    }
}
