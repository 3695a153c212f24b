//! Who is online over the cluster, and who may stay: the rules, without broker and clock.
//!
//! Each host tells all others of the first and the last socket of a user. What it tells is numbered, and its heartbeats name the newest
//! number; so whoever has missed something notices, and asks that host for all its users. What is told is a state, not a step,
//! and may come twice.

mod bid;
mod claim;
mod online;
mod own;
mod remote;
mod table;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use tokio::sync::Notify;

use super::parts::parts;
use crate::{BindError, LocalSockets, ManagerError, UserPolicy};

use bid::Bid;
use claim::gives_way;
use online::Online;
use own::OwnUsers;
use remote::{Next, Remote};
use table::{Key, Table};

pub(super) use claim::{Claim, UserState};
pub(super) use remote::{Numbered, Part};

/// Sockets that may wait at once for the other hosts to let them in.
const MAX_BIDS: usize = 65_536;

/// The users of a cluster, as one host knows them.
#[derive(Debug)]
pub(super) struct Users {
    own_id: Arc<str>,
    state: Mutex<State>,
    /// Held by whoever tells the sockets of changes, so that they come in order.
    telling: Mutex<()>,
    /// There is something that the other hosts have to hear.
    untold: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The largest stamp seen.
    clock: u64,
    own: OwnUsers,
    online: Online,
    remotes: HashMap<Arc<str>, Remote>,
    /// Users that sockets of this host want to be, while the other hosts are asked.
    bids: Table<Bid>,
    bid_count: usize,
    /// Questions put to other hosts.
    questions: u64,
    /// The newest changes that the other hosts were told of.
    told: u64,
    /// Sockets that have to be disconnected.
    evicted: Vec<Key>,
}

impl Users {
    pub(super) fn new(own_id: &str) -> Self {
        Self {
            own_id: own_id.into(),
            state: Mutex::default(),
            telling: Mutex::default(),
            untold: Notify::new(),
        }
    }

    pub(super) fn online(&self, namespace: &str) -> Vec<String> {
        self.state().online.users(namespace)
    }

    pub(super) fn count(&self, namespace: &str) -> usize {
        self.state().online.count(namespace)
    }

    pub(super) fn is_online(&self, namespace: &str, user: &str) -> bool {
        self.state().online.is_online(namespace, user)
    }

    /// The user of a socket of this host.
    pub(super) fn user_of(&self, namespace: &str, sid: &str) -> Option<Arc<str>> {
        self.state().own.user_of(namespace, sid).cloned()
    }

    /// The sockets of a user on this host.
    pub(super) fn sids(&self, namespace: &str, user: &str) -> Vec<Arc<str>> {
        self.state().own.sids(namespace, user)
    }

    /// Binds a socket; returns the user it was bound to before. With [`UserPolicy::RefuseNew`] its bid must have been decided.
    ///
    /// # Errors
    /// When the bid was lost.
    pub(super) fn bind(
        &self,
        local: &dyn LocalSockets,
        (namespace, user): (&str, &str),
        sid: &str,
        policy: UserPolicy,
    ) -> Result<Option<Arc<str>>, BindError> {
        self.change(local, |state| {
            let stamp = match policy {
                UserPolicy::RefuseNew => state.won(&self.own_id, namespace, user)?,
                UserPolicy::Many | UserPolicy::ReplaceOld => state.next_stamp(),
            };
            let claim = match (policy, state.own.claim(namespace, user)) {
                (UserPolicy::Many, Some(claim)) => claim,
                _ => Claim { stamp, policy },
            };
            let before = state.own.unbind(namespace, sid);
            if let Some(before) = &before {
                state.publish_own(&self.own_id, namespace, before);
            }
            if policy == UserPolicy::ReplaceOld {
                state.evict(namespace, user);
            }
            let key = state.online.key(namespace, user);
            state.own.bind(key, sid, claim);
            state.publish_own(&self.own_id, namespace, user);
            Ok(before)
        })
    }

    /// Returns the user, if the socket had one.
    pub(super) fn unbind(&self, local: &dyn LocalSockets, namespace: &str, sid: &str) -> Option<Arc<str>> {
        // Asked of every socket that goes.
        self.user_of(namespace, sid)?;
        self.change(local, |state| {
            let user = state.own.unbind(namespace, sid)?;
            state.publish_own(&self.own_id, namespace, &user);
            Some(user)
        })
    }

    /// Bids for a user, if nobody has or wants it as far as is known here.
    ///
    /// # Errors
    /// When somebody does, or too many bids are being decided.
    pub(super) fn bid(&self, namespace: &str, user: &str, others: HashSet<String>) -> Result<Bid, BindError> {
        let mut state = self.state();
        if state.online.is_online(namespace, user) || state.bids.get(namespace, user).is_some() {
            return Err(BindError::Taken);
        }
        if state.bid_count >= MAX_BIDS {
            return Err(ManagerError::TooManyPending { limit: MAX_BIDS }.into());
        }
        let bid = Bid::new(state.next_stamp(), others);
        state.bids.insert((namespace.into(), user.into()), bid.clone());
        state.bid_count += 1;
        Ok(bid)
    }

    /// Nobody waits for the bid any more.
    pub(super) fn end_bid(&self, namespace: &str, user: &str) {
        let mut state = self.state();
        if state.bids.remove(namespace, user).is_some() {
            state.bid_count -= 1;
        }
    }

    /// Another host bids for a user. Returns whether it must not have it. Of two bids at the same time the older one wins.
    pub(super) fn is_taken_for(&self, host: &str, namespace: &str, user: &str, stamp: u64) -> bool {
        let mut state = self.state();
        state.clock = state.clock.max(stamp);
        if state.own.claim(namespace, user).is_some() {
            return true;
        }
        let Some(bid) = state.bids.get(namespace, user) else {
            return false;
        };
        let own_is_older = (bid.stamp, self.own_id.as_ref()) < (stamp, host);
        if !own_is_older {
            bid.answer(host, true);
        }
        own_is_older
    }

    /// Another host answered a bid.
    pub(super) fn bid_answered(&self, host: &str, namespace: &str, user: &str, stamp: u64, is_taken: bool) {
        if let Some(bid) = self.state().bids.get(namespace, user).filter(|bid| bid.stamp == stamp) {
            bid.answer(host, is_taken);
        }
    }

    /// Waits until there is something that the other hosts have to hear.
    pub(super) async fn until_untold(&self) {
        self.untold.notified().await;
    }

    /// What the other hosts have to hear, in messages of `limit` bytes at most.
    pub(super) fn take_untold(&self, limit: usize) -> Vec<Numbered> {
        let mut state = self.state();
        if !state.own.has_untold() {
            return Vec::new();
        }
        let untold = parts(state.own.take_untold(), limit).into_iter();
        let number = |users| Numbered {
            number: state.own.next_number(),
            users,
        };
        untold.map(number).collect()
    }

    /// The other hosts were told, or could not be: they will notice.
    pub(super) fn told(&self, number: u64) {
        let mut state = self.state();
        state.told = state.told.max(number);
    }

    /// What a heartbeat says: the newest changes that were told, and the largest stamp.
    pub(super) fn digest(&self) -> (u64, u64) {
        let state = self.state();
        (state.told, state.clock)
    }

    /// All users of this host, and the number of the newest changes among them.
    pub(super) fn all_own(&self) -> (u64, Vec<UserState>) {
        self.state().own.all()
    }

    /// A host showed itself. Returns the id of the question to put to it, if something of it was missed.
    pub(super) fn heard(&self, host: &str, number: u64, stamp: u64, patience: Duration) -> Option<u64> {
        let mut state = self.state();
        state.clock = state.clock.max(stamp);
        if !state.remotes.contains_key(host) {
            state.remotes.insert(host.into(), Remote::default());
        }
        let is_behind = state.remotes.get(host)?.is_behind(number, patience);
        is_behind.then(|| state.ask(host))?
    }

    /// A host told of changes. Returns the id of the question to put to it, if some were missed.
    pub(super) fn changes(&self, local: &dyn LocalSockets, host: &str, changes: Numbered) -> Option<u64> {
        self.change(local, |state| state.changes(&self.own_id, host, changes))
    }

    /// A host told all its users, or some of them. Returns as [`changes`](Self::changes) does.
    pub(super) fn answered(&self, local: &dyn LocalSockets, host: &str, part: Part) -> Option<u64> {
        self.change(local, |state| {
            let (id, _) = state.remotes.get_key_value(host)?;
            let id = id.clone();
            let (users, changes) = state.remotes.get_mut(host)?.answered(part)?;
            let named = users
                .iter()
                .map(|state| (state.namespace.as_str(), state.user.as_str()));
            state.online.forget_foreign(&id, &named.collect());
            state.apply(&self.own_id, &id, users);
            let mut question = None;
            for changes in changes {
                question = state.changes(&self.own_id, host, changes).or(question);
            }
            question
        })
    }

    /// A host is gone, and its users with it.
    pub(super) fn gone(&self, local: &dyn LocalSockets, host: &str) {
        self.change(local, |state| state.gone(host));
    }

    /// All hosts are gone but these.
    pub(super) fn only(&self, local: &dyn LocalSockets, hosts: &HashSet<String>) {
        self.change(local, |state| {
            let ids = state.remotes.keys().filter(|id| !hosts.contains(id.as_ref()));
            for id in ids.cloned().collect::<Vec<_>>() {
                state.gone(&id);
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what follows from a change once nothing is locked: sockets are disconnected and told, and other hosts will be.
    fn change<R>(&self, local: &dyn LocalSockets, action: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state();
        let result = action(&mut state);
        let evicted = std::mem::take(&mut state.evicted);
        let has_untold = state.own.has_untold();
        drop(state);
        if has_untold {
            self.untold.notify_one();
        }
        for (namespace, sid) in evicted {
            local.disconnect(&namespace, &sid, false);
        }
        self.tell(local);
        result
    }

    /// Tells the sockets of changes, unless somebody does already, who then tells these too.
    fn tell(&self, local: &dyn LocalSockets) {
        while self.state().online.has_changes() {
            let _turn = match self.telling.try_lock() {
                Ok(turn) => turn,
                Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            loop {
                let change = self.state().online.next_change();
                let Some(change) = change else { break };
                local.user_changed(&change.namespace, &change.user, change.is_online);
            }
        }
    }
}

impl State {
    fn next_stamp(&mut self) -> u64 {
        self.clock = self.clock.saturating_add(1);
        self.clock
    }

    /// The stamp of a bid that nobody stands against.
    fn won(&self, own_id: &Arc<str>, namespace: &str, user: &str) -> Result<u64, BindError> {
        let bid = self.bids.get(namespace, user).ok_or(BindError::Taken)?;
        let policy = UserPolicy::RefuseNew;
        let claim = Claim {
            stamp: bid.stamp,
            policy,
        };
        let claims = self.online.claims(namespace, user);
        let gives_way = |(host, other): &(Arc<str>, Claim)| gives_way((claim, own_id), (*other, host));
        match bid.is_taken() || self.own.claim(namespace, user).is_some() || claims.iter().any(gives_way) {
            true => Err(BindError::Taken),
            false => Ok(bid.stamp),
        }
    }

    /// Takes its sockets here from a user, to be disconnected.
    fn evict(&mut self, namespace: &str, user: &str) {
        for sid in self.own.sids(namespace, user) {
            self.own.unbind(namespace, &sid);
            self.evicted.push((namespace.into(), sid));
        }
    }

    /// What is known here of a user's sockets on this host, others have to know too.
    fn publish_own(&mut self, own_id: &Arc<str>, namespace: &str, user: &str) {
        let before = self
            .online
            .claims(namespace, user)
            .iter()
            .find(|(host, _)| host == own_id);
        let claim = self.own.claim(namespace, user);
        if before.map(|(_, claim)| *claim) != claim {
            let key = self.online.key(namespace, user);
            self.online.set_own(&key, own_id, claim);
            self.own.touch(key);
        }
    }

    fn ask(&mut self, host: &str) -> Option<u64> {
        self.questions += 1;
        self.remotes.get_mut(host)?.ask(self.questions);
        Some(self.questions)
    }

    fn changes(&mut self, own_id: &Arc<str>, host: &str, changes: Numbered) -> Option<u64> {
        // Of a host that is not known to be alive nothing is heard.
        let id = self.remotes.get_key_value(host)?.0.clone();
        match self.remotes.get_mut(host)?.changes(changes) {
            Next::Nothing => {}
            Next::Apply(users) => self.apply(own_id, &id, users),
            Next::Ask => return self.ask(host),
        }
        None
    }

    /// Another host says so of its users. Where the policy wants it, sockets of this host give way.
    fn apply(&mut self, own_id: &Arc<str>, host: &Arc<str>, users: Vec<UserState>) {
        for UserState { namespace, user, claim } in users {
            self.online.set_foreign((&namespace, &user), host, claim);
            let Some(other) = claim else { continue };
            self.clock = self.clock.max(other.stamp);
            let own = self.own.claim(&namespace, &user);
            if own.is_some_and(|own| gives_way((own, own_id), (other, host))) {
                self.evict(&namespace, &user);
                self.publish_own(own_id, &namespace, &user);
            }
        }
    }

    fn gone(&mut self, host: &str) {
        for (_, _, bid) in self.bids.iter() {
            bid.answer(host, false);
        }
        if let Some((id, _)) = self.remotes.remove_entry(host) {
            self.online.forget_foreign(&id, &HashSet::new());
        }
    }
}

#[cfg(test)]
mod tests;
