//! The users of this host's sockets, and what the other hosts have yet to hear of them.

use std::mem;
use std::sync::Arc;

use super::claim::{Claim, UserState};
use super::table::{Key, Table};

/// Users whose changes may wait to be told one by one; beyond that the other hosts are left to ask for all.
const MAX_UNTOLD: usize = 65_536;

/// Which socket of this host belongs to whom.
#[derive(Debug, Default)]
pub(super) struct OwnUsers {
    users: Table<Own>,
    /// The user of each socket that has one.
    sockets: Table<Arc<str>>,
    untold: Table<()>,
    untold_count: usize,
    /// Of the newest changes that were taken, or lost.
    number: u64,
}

#[derive(Debug)]
struct Own {
    claim: Claim,
    sids: Vec<Arc<str>>,
}

impl OwnUsers {
    pub(super) fn claim(&self, namespace: &str, user: &str) -> Option<Claim> {
        Some(self.users.get(namespace, user)?.claim)
    }

    pub(super) fn user_of(&self, namespace: &str, sid: &str) -> Option<&Arc<str>> {
        self.sockets.get(namespace, sid)
    }

    pub(super) fn sids(&self, namespace: &str, user: &str) -> Vec<Arc<str>> {
        let own = self.users.get(namespace, user);
        own.map(|own| own.sids.clone()).unwrap_or_default()
    }

    /// Binds a socket that is bound to nobody. `claim` holds for all sockets of the user here.
    pub(super) fn bind(&mut self, (namespace, user): Key, sid: &str, claim: Claim) {
        let sid: Arc<str> = sid.into();
        self.sockets.insert((namespace.clone(), sid.clone()), user.clone());
        let sids = Vec::new();
        let own = self.users.get_or_insert((namespace, user), || Own { claim, sids });
        own.claim = claim;
        own.sids.push(sid);
    }

    /// Returns the user, if the socket had one.
    pub(super) fn unbind(&mut self, namespace: &str, sid: &str) -> Option<Arc<str>> {
        let user = self.sockets.remove(namespace, sid)?;
        let own = self.users.get_mut(namespace, &user)?;
        own.sids.retain(|known| **known != *sid);
        if own.sids.is_empty() {
            self.users.remove(namespace, &user);
        }
        Some(user)
    }

    /// The other hosts have to hear of this user.
    pub(super) fn touch(&mut self, key: Key) {
        if self.untold.get(&key.0, &key.1).is_none() {
            self.untold.insert(key, ());
            self.untold_count += 1;
        }
        if self.untold_count > MAX_UNTOLD {
            self.clear_untold();
            // The gap in the numbers makes them ask.
            self.number += 1;
        }
    }

    pub(super) fn has_untold(&self) -> bool {
        self.untold_count > 0
    }

    /// What the other hosts have yet to hear.
    pub(super) fn take_untold(&mut self) -> Vec<UserState> {
        let untold = self.clear_untold();
        untold
            .iter()
            .map(|(namespace, user, ())| self.state(namespace, user))
            .collect()
    }

    /// All users, for a host that has missed something, and the number of the newest changes that are in it.
    pub(super) fn all(&self) -> (u64, Vec<UserState>) {
        let users = self.users.iter();
        (
            self.number,
            users.map(|(namespace, user, _)| self.state(namespace, user)).collect(),
        )
    }

    /// The number of the next changes.
    pub(super) fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn clear_untold(&mut self) -> Table<()> {
        self.untold_count = 0;
        mem::take(&mut self.untold)
    }

    fn state(&self, namespace: &str, user: &str) -> UserState {
        UserState {
            namespace: namespace.into(),
            user: user.into(),
            claim: self.claim(namespace, user),
        }
    }
}
