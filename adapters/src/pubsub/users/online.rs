//! Who is online where, over the whole cluster.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use metrics::{counter, gauge};

use super::claim::Claim;
use super::table::{Key, Table};
use crate::metric;

/// Users that other hosts can make this one remember, each counted once for every host; more are passed over.
const MAX_FOREIGN: usize = 1 << 20;

/// The longest namespace or user id, in bytes, that another host can make this one remember.
const MAX_NAME: usize = 512;

/// The users of a cluster, and which hosts hold them.
#[derive(Debug, Default)]
pub(super) struct Online {
    users: Table<User>,
    /// How many are online in each namespace.
    counts: HashMap<Arc<str>, usize>,
    total: usize,
    /// Claims of other hosts.
    foreign: usize,
    /// Users of whom [`LocalSockets`](crate::LocalSockets) may have to be told, each once.
    changed: VecDeque<Key>,
}

/// Kept until nobody holds the user and this host has been told so.
#[derive(Debug, Default)]
struct User {
    hosts: Vec<(Arc<str>, Claim)>,
    /// What was last told.
    told: bool,
    /// Among the changed.
    is_changed: bool,
}

/// A change that the sockets of this host have to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) namespace: Arc<str>,
    pub(super) user: Arc<str>,
    pub(super) is_online: bool,
}

impl Online {
    pub(super) fn key(&self, namespace: &str, user: &str) -> Key {
        self.users.key(namespace, user)
    }

    pub(super) fn is_online(&self, namespace: &str, user: &str) -> bool {
        !self.claims(namespace, user).is_empty()
    }

    pub(super) fn count(&self, namespace: &str) -> usize {
        self.counts.get(namespace).copied().unwrap_or_default()
    }

    pub(super) fn users(&self, namespace: &str) -> Vec<String> {
        let online = self.users.of(namespace).filter(|(_, user)| !user.hosts.is_empty());
        online.map(|(name, _)| name.as_ref().to_owned()).collect()
    }

    /// What each host claims that holds the user.
    pub(super) fn claims(&self, namespace: &str, user: &str) -> &[(Arc<str>, Claim)] {
        self.users.get(namespace, user).map_or(&[], |user| &user.hosts)
    }

    /// What this host itself claims from now on.
    pub(super) fn set_own(&mut self, key: &Key, own: &Arc<str>, claim: Option<Claim>) {
        self.set(key, own, claim);
    }

    /// What another host claims from now on.
    pub(super) fn set_foreign(&mut self, (namespace, user): (&str, &str), host: &Arc<str>, claim: Option<Claim>) {
        let is_known = self.claims(namespace, user).iter().any(|(known, _)| known == host);
        if claim.is_some() && !is_known {
            let refused = match (namespace.len().max(user.len()) > MAX_NAME, self.foreign >= MAX_FOREIGN) {
                (true, _) => Some("too_long"),
                (_, true) => Some("too_many"),
                _ => None,
            };
            if let Some(reason) = refused {
                counter!(metric::USERS_PASSED_OVER, "reason" => reason).increment(1);
                return;
            }
        }
        match (is_known, claim) {
            (false, None) => return,
            (false, Some(_)) => self.foreign += 1,
            (true, None) => self.foreign -= 1,
            (true, Some(_)) => {}
        }
        self.set(&self.key(namespace, user), host, claim);
    }

    /// Forgets what another host claims, but for these users.
    pub(super) fn forget_foreign(&mut self, host: &Arc<str>, but: &HashSet<(&str, &str)>) {
        let held = self.users.iter().filter(|(namespace, user, hosts)| {
            hosts.hosts.iter().any(|(known, _)| known == host) && !but.contains(&(namespace.as_ref(), user.as_ref()))
        });
        let gone: Vec<Key> = held
            .map(|(namespace, user, _)| (namespace.clone(), user.clone()))
            .collect();
        for (namespace, user) in gone {
            self.set_foreign((&namespace, &user), host, None);
        }
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The next change to be told.
    pub(super) fn next_change(&mut self) -> Option<Change> {
        while let Some((namespace, name)) = self.changed.pop_front() {
            let Some(user) = self.users.get_mut(&namespace, &name) else {
                continue;
            };
            let is_online = !user.hosts.is_empty();
            let is_news = user.told != is_online;
            (user.told, user.is_changed) = (is_online, false);
            if !is_online {
                self.users.remove(&namespace, &name);
            }
            if is_news {
                let user = name;
                return Some(Change {
                    namespace,
                    user,
                    is_online,
                });
            }
        }
        self.changed.shrink_to(64);
        None
    }

    fn set(&mut self, key: &Key, host: &Arc<str>, claim: Option<Claim>) {
        if claim.is_none() && self.users.get(&key.0, &key.1).is_none() {
            return;
        }
        let user = self.users.get_or_insert(key.clone(), User::default);
        let was_online = !user.hosts.is_empty();
        let at = user.hosts.iter().position(|(known, _)| known == host);
        match (at, claim) {
            (Some(at), Some(claim)) => user.hosts[at].1 = claim,
            (Some(at), None) => drop(user.hosts.swap_remove(at)),
            (None, Some(claim)) => {
                user.hosts.reserve_exact(1);
                user.hosts.push((host.clone(), claim));
            }
            (None, None) => {}
        }
        let is_online = !user.hosts.is_empty();
        if was_online == is_online {
            return;
        }
        if !user.is_changed {
            user.is_changed = true;
            self.changed.push_back(key.clone());
        }
        self.recount(&key.0, is_online);
    }

    fn recount(&mut self, namespace: &Arc<str>, is_online: bool) {
        let count = self.counts.entry(namespace.clone()).or_default();
        if is_online {
            *count += 1;
            self.total += 1;
        } else {
            *count -= 1;
            self.total -= 1;
            if *count == 0 {
                self.counts.remove(namespace);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        gauge!(metric::USERS_ONLINE).set(self.total as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UserPolicy;

    fn claim(stamp: u64) -> Option<Claim> {
        let policy = UserPolicy::Many;
        Some(Claim { stamp, policy })
    }

    fn changes(online: &mut Online) -> Vec<bool> {
        std::iter::from_fn(|| online.next_change())
            .map(|change| change.is_online)
            .collect()
    }

    #[test]
    fn a_user_is_told_of_once_however_many_hosts_hold_them() {
        let mut online = Online::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let ann = ("/", "ann");
        online.set_foreign(ann, &a, claim(1));
        online.set_foreign(ann, &b, claim(2));
        online.set_foreign(ann, &b, claim(3));
        assert_eq!(
            (changes(&mut online), online.count("/"), online.foreign),
            (vec![true], 1, 2)
        );
        online.set_foreign(ann, &a, None);
        online.set_foreign(ann, &a, None);
        assert_eq!((changes(&mut online), online.is_online("/", "ann")), (vec![], true));
        online.set_foreign(ann, &b, None);
        // Before it is told.
        assert_eq!((online.users("/"), online.count("/")), (Vec::<String>::new(), 0));
        assert_eq!(changes(&mut online), [false]);
        assert_eq!((online.foreign, online.users.iter().count()), (0, 0));
    }

    #[test]
    fn what_comes_and_goes_untold_takes_no_memory() {
        let mut online = Online::default();
        let a: Arc<str> = "a".into();
        for stamp in 0..1000 {
            online.set_foreign(("/", "ann"), &a, claim(stamp));
            online.set_foreign(("/", "ann"), &a, None);
        }
        assert_eq!(online.changed.len(), 1);
        assert!(changes(&mut online).is_empty());
        assert_eq!(online.users.iter().count(), 0);
    }

    #[test]
    fn another_host_cannot_fill_the_memory() {
        let mut online = Online::default();
        let a: Arc<str> = "a".into();
        online.set_foreign(("/", &"u".repeat(MAX_NAME + 1)), &a, claim(1));
        assert_eq!(online.count("/"), 0);
        online.foreign = MAX_FOREIGN - 1;
        for user in ["ann", "bob"] {
            online.set_foreign(("/", user), &a, claim(1));
        }
        assert_eq!(online.users("/"), ["ann"]);
        online.set_foreign(("/", "ann"), &a, None);
        online.set_foreign(("/", "bob"), &a, claim(1));
        assert_eq!(online.users("/"), ["bob"]);
        let none = HashSet::new();
        online.forget_foreign(&a, &none);
        assert_eq!(online.foreign, MAX_FOREIGN - 1);
    }
}
