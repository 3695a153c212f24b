//! Waiting for the replies to events and calls.

use std::collections::HashSet;

use metrics::counter;
use tokio::sync::oneshot;

use super::pending::{Entry, Pending};
use crate::envelope::Reply;
use crate::{ManagerError, metric};

/// The events and calls whose replies are waited for. Their ids are `HOST.NUMBER`, so none is that of another host's.
#[derive(Debug)]
pub(super) struct Replies {
    host_id: String,
    waiting: Pending<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// Whose reply is waited for, where it can be of one host only.
    host: Option<String>,
    reply: oneshot::Sender<Box<Reply>>,
}

/// An event or a call whose reply is waited for until this is dropped.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) id: String,
    reply: oneshot::Receiver<Box<Reply>>,
    _entry: Entry<Waiting>,
}

impl Replies {
    pub(super) fn new(host_id: &str, limit: usize) -> Self {
        Self {
            host_id: host_id.to_owned(),
            waiting: Pending::new(limit),
        }
    }

    /// An id that no reply is waited for with.
    pub(super) fn new_id(&self) -> String {
        self.id(self.waiting.number())
    }

    /// Begins to wait.
    ///
    /// # Errors
    /// When too many are waited for.
    pub(super) fn question(&self, host: Option<&str>) -> Result<Question, ManagerError> {
        let (sender, reply) = oneshot::channel();
        let waiting = Waiting {
            host: host.map(ToOwned::to_owned),
            reply: sender,
        };
        let entry = self.waiting.insert(waiting)?;
        Ok(Question {
            id: self.id(entry.id()),
            reply,
            _entry: entry,
        })
    }

    /// A reply came. The first is taken; those that come late, a second time or to nothing are counted.
    pub(super) fn answered(&self, reply: Box<Reply>) {
        let Some(number) = self.number(&reply.id).filter(|number| self.waiting.was(*number)) else {
            counter!(metric::REPLIES_DROPPED, "reason" => "unknown").increment(1);
            return;
        };
        if reply.attempt.is_some_and(|attempt| attempt > 1) {
            counter!(metric::REDELIVERED).increment(1);
        }
        let taken = self.waiting.take(number).map(|waiting| waiting.reply.send(reply));
        if !matches!(taken, Some(Ok(()))) {
            counter!(metric::REPLIES_DROPPED, "reason" => "nobody_waits").increment(1);
        }
    }

    /// Ends the waiting for a host.
    pub(super) fn gone(&self, host: &str) {
        self.waiting.retain(|waiting| waiting.host.as_deref() != Some(host));
    }

    /// Ends the waiting for all hosts but these.
    pub(super) fn only(&self, hosts: &HashSet<String>) {
        let is_there = |waiting: &Waiting| waiting.host.as_ref().is_none_or(|host| hosts.contains(host));
        self.waiting.retain(is_there);
    }

    fn id(&self, number: u64) -> String {
        format!("{}.{number}", self.host_id)
    }

    fn number(&self, id: &str) -> Option<u64> {
        id.strip_prefix(&self.host_id)?.strip_prefix('.')?.parse().ok()
    }
}

impl Question {
    /// The reply; `None` when whoever was to reply has gone.
    pub(super) async fn reply(self) -> Option<Reply> {
        self.reply.await.ok().map(|reply| *reply)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn reply(id: &str) -> Box<Reply> {
        Box::new(Reply {
            id: id.into(),
            ..Reply::default()
        })
    }

    #[test]
    fn a_reply_finds_who_asked_once() {
        let replies = Replies::new("me", 3);
        let [one, other] = [None, Some("b")].map(|host| replies.question(host).unwrap());
        assert_eq!([&*one.id, &*other.id, &*replies.new_id()], ["me.1", "me.2", "me.3"]);
        for id in ["me.1", "me.1", "me.3", "me.9", "you.2", "me2", "2", ""] {
            replies.answered(reply(id));
        }
        assert!(other.reply.is_empty(), "nothing of this was for it");
        assert_eq!(one.reply().now_or_never().flatten().unwrap().id, "me.1");
        replies.answered(reply("me.2"));
        replies.gone("b");
        assert_eq!(other.reply().now_or_never().flatten().unwrap().id, "me.2");
    }

    #[test]
    fn who_goes_is_not_waited_for() {
        let replies = Replies::new("me", 3);
        let [group, a, b] = [None, Some("a"), Some("b")].map(|host| replies.question(host).unwrap());
        assert!(matches!(
            replies.question(None),
            Err(ManagerError::TooManyPending { limit: 3 })
        ));
        replies.gone("a");
        assert!(a.reply().now_or_never().unwrap().is_none());
        replies.only(&HashSet::new());
        assert!(b.reply().now_or_never().unwrap().is_none());
        replies.answered(reply(&group.id));
        assert!(group.reply().now_or_never().flatten().is_some());
        assert!(replies.question(None).is_ok(), "nothing of the others remains");
    }
}
