//! What another host has told of its users, and how far it is complete.

use std::mem;
use std::time::Duration;

use tokio::time::Instant;

use super::claim::UserState;

/// Users of an answer and changes that may be held until the answer is complete; beyond that it is asked for again.
const MAX_HELD: usize = 1 << 20;

/// How far this host knows the users of another one.
#[derive(Debug, Default)]
pub(super) struct Remote {
    /// Of the newest changes that are known, with all before them.
    number: u64,
    asked: Option<Asked>,
}

/// The other host was asked for all its users; meanwhile changes wait.
#[derive(Debug)]
struct Asked {
    id: u64,
    /// When the newest part of the answer came, or the question was put.
    at: Instant,
    users: Vec<UserState>,
    parts: u32,
    changes: Vec<Numbered>,
    held: usize,
}

/// Changes as they were published.
#[derive(Debug)]
pub(in crate::pubsub) struct Numbered {
    pub(in crate::pubsub) number: u64,
    pub(in crate::pubsub) users: Vec<UserState>,
}

/// One message of an answer with all users of a host.
#[derive(Debug)]
pub(in crate::pubsub) struct Part {
    /// The question's.
    pub(in crate::pubsub) id: u64,
    /// Of the newest changes that are in the answer.
    pub(in crate::pubsub) number: u64,
    pub(in crate::pubsub) part: u32,
    pub(in crate::pubsub) users: Vec<UserState>,
    pub(in crate::pubsub) more: bool,
}

/// What is to be done with changes.
#[derive(Debug)]
pub(super) enum Next {
    /// They are known, or wait for an answer.
    Nothing,
    /// They are to be carried out.
    Apply(Vec<UserState>),
    /// Some before them were missed: the host has to be asked.
    Ask,
}

impl Remote {
    /// A heartbeat names the newest changes. Returns whether the host has to be asked: some were missed, and nobody has asked, or in vain.
    pub(super) fn is_behind(&self, number: u64, patience: Duration) -> bool {
        let is_asked = self.asked.as_ref().is_some_and(|asked| asked.at.elapsed() < patience);
        number > self.number && !is_asked
    }

    /// The host is asked with this id.
    pub(super) fn ask(&mut self, id: u64) {
        self.asked = Some(Asked {
            id,
            at: Instant::now(),
            users: Vec::new(),
            parts: 0,
            changes: Vec::new(),
            held: 0,
        });
    }

    /// Changes came.
    pub(super) fn changes(&mut self, changes: Numbered) -> Next {
        if let Some(asked) = &mut self.asked {
            asked.held += changes.users.len() + 1;
            match asked.held > MAX_HELD {
                // The next heartbeat asks again.
                true => self.asked = None,
                false => asked.changes.push(changes),
            }
            return Next::Nothing;
        }
        if changes.number <= self.number {
            return Next::Nothing;
        }
        if changes.number > self.number + 1 {
            return Next::Ask;
        }
        self.number = changes.number;
        Next::Apply(changes.users)
    }

    /// A part of an answer came. Returns all users once it is complete, and the changes that have waited.
    pub(super) fn answered(&mut self, part: Part) -> Option<(Vec<UserState>, Vec<Numbered>)> {
        let asked = self.asked.as_mut().filter(|asked| asked.id == part.id)?;
        asked.held += part.users.len() + 1;
        if part.part != asked.parts || asked.held > MAX_HELD {
            self.asked = None;
            return None;
        }
        asked.parts += 1;
        asked.at = Instant::now();
        asked.users.extend(part.users);
        if part.more {
            return None;
        }
        let (users, changes) = (mem::take(&mut asked.users), mem::take(&mut asked.changes));
        self.asked = None;
        self.number = part.number;
        Some((users, changes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(4);

    fn numbered(number: u64) -> Numbered {
        let users = Vec::new();
        Numbered { number, users }
    }

    fn part(id: u64, part: u32, more: bool) -> Part {
        let users = vec![UserState {
            namespace: "/".into(),
            user: part.to_string(),
            claim: None,
        }];
        Part {
            id,
            number: 7,
            part,
            users,
            more,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_gap_is_noticed_and_asked_about_once() {
        let mut remote = Remote::default();
        assert!(matches!(remote.changes(numbered(1)), Next::Apply(_)));
        assert!(matches!(remote.changes(numbered(1)), Next::Nothing), "heard already");
        assert!(!remote.is_behind(1, PATIENCE) && remote.is_behind(2, PATIENCE));
        assert!(matches!(remote.changes(numbered(3)), Next::Ask));
        remote.ask(9);
        assert!(!remote.is_behind(3, PATIENCE), "it is being asked");
        tokio::time::advance(PATIENCE).await;
        assert!(remote.is_behind(3, PATIENCE), "in vain");
    }

    #[tokio::test]
    async fn an_answer_counts_when_it_is_complete() {
        let mut remote = Remote::default();
        remote.ask(9);
        assert!(remote.answered(part(8, 0, false)).is_none(), "to an older question");
        assert!(remote.answered(part(9, 0, true)).is_none());
        assert!(matches!(remote.changes(numbered(8)), Next::Nothing), "changes wait");
        let (users, changes) = remote.answered(part(9, 1, false)).unwrap();
        assert_eq!((users.len(), changes.len()), (2, 1));
        assert!(
            matches!(remote.changes(numbered(7)), Next::Nothing),
            "was in the answer"
        );
        assert!(matches!(remote.changes(numbered(8)), Next::Apply(_)));
        // A part is lost.
        remote.ask(10);
        assert!(remote.answered(part(10, 0, true)).is_none());
        assert!(remote.answered(part(10, 2, false)).is_none());
        assert!(remote.is_behind(9, PATIENCE), "it can be asked again at once");
    }
}
