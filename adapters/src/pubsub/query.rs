//! Asking the other hosts for their sockets.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::watch;

use crate::{ManagerError, SocketInfo};

/// A question, and what has been answered so far.
#[derive(Clone, Debug)]
pub(super) struct Query {
    answers: watch::Sender<Answers>,
}

#[derive(Debug)]
struct Answers {
    sockets: Vec<SocketInfo>,
    /// Hosts that have not answered yet, or not all.
    waiting: HashSet<String>,
}

impl Query {
    /// Waits for these hosts.
    pub(super) fn new(waiting: HashSet<String>) -> Self {
        let sockets = Vec::new();
        let answers = watch::Sender::new(Answers { sockets, waiting });
        Self { answers }
    }

    /// A host answered, and will say more or not.
    pub(super) fn answer(&self, host: &str, sockets: Vec<SocketInfo>, more: bool) {
        self.answers.send_if_modified(|answers| {
            let waiting = answers.waiting.contains(host);
            if waiting {
                answers.sockets.extend(sockets.into_iter().map(|socket| SocketInfo {
                    host_id: host.to_owned(),
                    ..socket
                }));
            }
            waiting && !more && answers.waiting.remove(host)
        });
    }

    /// A host left, and has no sockets any more.
    pub(super) fn gone(&self, host: &str) {
        self.answers.send_if_modified(|answers| answers.waiting.remove(host));
    }

    /// What all hosts have answered.
    ///
    /// # Errors
    /// When some have not.
    pub(super) async fn complete(&self, after: Duration) -> Result<Vec<SocketInfo>, ManagerError> {
        let mut changes = self.answers.subscribe();
        let complete = changes.wait_for(|answers| answers.waiting.is_empty());
        let complete = tokio::time::timeout(after, complete).await.is_ok();
        let mut sockets = Vec::new();
        let mut hosts = Vec::new();
        self.answers.send_modify(|answers| {
            sockets = std::mem::take(&mut answers.sockets);
            hosts.extend(answers.waiting.iter().cloned());
        });
        if complete {
            return Ok(sockets);
        }
        Err(ManagerError::Unanswered { hosts, after })
    }
}
