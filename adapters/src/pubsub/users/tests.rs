//! Hosts that tell each other of users by hand, so that every message can be lost.

use super::*;
use crate::conformance::RecordingSockets;

const PATIENCE: Duration = Duration::from_secs(4);
const LIMIT: usize = 1 << 20;
const ANN: (&str, &str) = ("/", "ann");

struct Host {
    id: &'static str,
    users: Users,
    sockets: RecordingSockets,
}

impl Host {
    fn new(id: &'static str) -> Self {
        Self {
            id,
            users: Users::new(id),
            sockets: RecordingSockets::default(),
        }
    }

    fn bind(&self, sid: &str, user: &str, policy: UserPolicy) -> Result<(), BindError> {
        self.sockets.connect("/", sid);
        self.users.bind(&self.sockets, ("/", user), sid, policy).map(drop)
    }

    fn many(&self, sid: &str, user: &str) {
        self.bind(sid, user, UserPolicy::Many).unwrap();
    }

    fn unbind(&self, sid: &str) {
        self.users.unbind(&self.sockets, "/", sid);
    }

    /// What it has to tell is told, or lost.
    fn changes(&self) -> Vec<Numbered> {
        let changes = self.users.take_untold(LIMIT);
        if let Some(last) = changes.last() {
            self.users.told(last.number);
        }
        changes
    }

    fn tell(&self, other: &Self) -> Option<u64> {
        let changes = self.changes().into_iter();
        changes
            .filter_map(|changes| other.users.changes(&other.sockets, self.id, changes))
            .last()
    }

    fn heartbeat(&self, other: &Self) -> Option<u64> {
        let (number, stamp) = self.users.digest();
        other.users.heard(self.id, number, stamp, PATIENCE)
    }

    fn answer(&self, other: &Self, id: u64) {
        let (number, users) = self.users.all_own();
        let (part, more) = (0, false);
        let part = Part {
            id,
            number,
            part,
            users,
            more,
        };
        assert_eq!(other.users.answered(&other.sockets, self.id, part), None);
    }

    fn bid(&self, other: &Self) -> Result<Bid, BindError> {
        self.users.bid("/", "ann", HashSet::from([other.id.to_owned()]))
    }

    /// Another host's bid, and what this one says to it.
    fn decide(&self, of: &Self, bid: &Bid) {
        let is_taken = self.users.is_taken_for(of.id, "/", "ann", bid.stamp);
        of.users.bid_answered(self.id, "/", "ann", bid.stamp, is_taken);
    }

    fn here(&self) -> usize {
        self.users.sids("/", "ann").len()
    }

    fn told(&self) -> Vec<bool> {
        self.sockets
            .user_changes("/")
            .into_iter()
            .map(|(_, is_online)| is_online)
            .collect()
    }
}

fn pair() -> (Host, Host) {
    let (a, b) = (Host::new("a"), Host::new("b"));
    assert_eq!((a.heartbeat(&b), b.heartbeat(&a)), (None, None));
    (a, b)
}

#[test]
fn a_user_with_many_sockets_is_online_once() {
    let (a, b) = pair();
    a.many("a1", "ann");
    a.many("a2", "ann");
    b.many("b1", "ann");
    a.tell(&b);
    assert!(b.changes().len() == 1 && a.changes().is_empty());
    assert_eq!((b.users.count("/"), b.users.online("/")), (1, vec!["ann".to_owned()]));
    a.unbind("a1");
    assert!(a.changes().is_empty(), "another socket is still there");
    a.unbind("a2");
    a.tell(&b);
    assert_eq!(b.told(), [true], "still on this host");
    b.unbind("b1");
    assert_eq!((b.told(), b.users.count("/")), (vec![true, false], 0));
    b.unbind("b1");
    b.unbind("nobody");
    assert_eq!(b.told(), [true, false]);
}

#[test]
fn a_socket_may_become_another_user() {
    let (a, b) = pair();
    a.many("a1", "ann");
    a.many("a1", "bob");
    a.tell(&b);
    assert_eq!(b.users.online("/"), ["bob"]);
    assert_eq!((a.users.online("/"), a.here()), (vec!["bob".to_owned()], 0));
}

/// The next message, or else the next heartbeat, shows that one was lost.
#[tokio::test(start_paused = true)]
async fn what_was_lost_is_asked_for() {
    let (a, b) = pair();
    for (sid, user) in [("a1", "ann"), ("a2", "bob"), ("a3", "cleo")] {
        a.many(sid, user);
        a.tell(&b);
    }
    a.unbind("a1");
    a.many("a4", "dan");
    a.changes();
    let question = a.heartbeat(&b).expect("a heartbeat shows the loss");
    assert_eq!(a.heartbeat(&b), None, "asked once");
    // What comes meanwhile is not lost, nor taken before the answer.
    a.unbind("a2");
    assert_eq!(a.tell(&b), None);
    assert!(b.users.is_online("/", "bob"));
    a.answer(&b, question);
    let mut online = b.users.online("/");
    online.sort();
    assert_eq!(online, ["cleo", "dan"]);
    assert_eq!(a.heartbeat(&b), None);

    a.unbind("a3");
    a.changes();
    a.many("a5", "eve");
    let question = a.tell(&b).expect("a gap in the numbers shows the loss");
    tokio::time::advance(PATIENCE).await;
    let again = a.heartbeat(&b).expect("the answer did not come");
    a.answer(&b, question);
    assert!(!b.users.is_online("/", "eve"), "not what was asked");
    a.answer(&b, again);
    assert!(b.users.is_online("/", "eve") && !b.users.is_online("/", "cleo"));
    assert_eq!(b.users.count("/"), 2);
}

#[test]
fn a_host_takes_its_users_with_it() {
    let (a, b) = pair();
    a.many("a1", "ann");
    a.many("a2", "bob");
    b.many("b1", "bob");
    a.tell(&b);
    b.users.only(&b.sockets, &HashSet::from(["a".to_owned()]));
    assert_eq!(b.users.count("/"), 2);
    b.users.only(&b.sockets, &HashSet::new());
    assert_eq!(b.users.online("/"), ["bob"]);
    a.many("a3", "cleo");
    assert_eq!(a.tell(&b), None);
    assert_eq!(b.users.count("/"), 1, "nothing is heard of a host that is not alive");
    // It was only silent.
    let question = a.heartbeat(&b).expect("all is to be learnt again");
    a.answer(&b, question);
    assert_eq!(b.users.count("/"), 3);
}

#[test]
fn the_newer_socket_replaces_the_older() {
    let (a, b) = pair();
    let replace = |host: &Host, sid| host.bind(sid, "ann", UserPolicy::ReplaceOld).unwrap();
    replace(&a, "a1");
    replace(&a, "a2");
    assert_eq!(a.sockets.rooms("/", "a1"), None);
    a.tell(&b);
    replace(&b, "b1");
    b.tell(&a);
    assert_eq!((a.here(), b.here()), (0, 1));
    assert_eq!(a.sockets.rooms("/", "a2"), None);
    a.tell(&b);
    assert_eq!((a.told(), b.told()), (vec![true], vec![true]));
    // At the same moment.
    replace(&a, "a3");
    replace(&b, "b2");
    let (of_a, of_b) = (a.changes(), b.changes());
    for changes in of_a {
        b.users.changes(&b.sockets, "a", changes);
    }
    for changes in of_b {
        a.users.changes(&a.sockets, "b", changes);
    }
    assert_eq!(a.here() + b.here(), 1);
    a.tell(&b);
    b.tell(&a);
    assert_eq!(a.users.is_online("/", "ann"), b.users.is_online("/", "ann"));
}

#[tokio::test]
async fn the_newer_socket_is_refused() {
    let (a, b) = pair();
    let refuse = |host: &Host, sid| host.bind(sid, "ann", UserPolicy::RefuseNew);
    let bid = a.bid(&b).unwrap();
    assert!(matches!(a.bid(&b), Err(BindError::Taken)), "one at a time");
    b.decide(&a, &bid);
    bid.decided(PATIENCE).await;
    refuse(&a, "a1").unwrap();
    a.users.end_bid("/", "ann");
    // b has not heard of it yet.
    let bid = b.bid(&a).unwrap();
    a.decide(&b, &bid);
    bid.decided(PATIENCE).await;
    assert!(matches!(refuse(&b, "b1"), Err(BindError::Taken)));
    b.users.end_bid("/", "ann");
    a.tell(&b);
    assert!(matches!(b.bid(&a), Err(BindError::Taken)), "known from memory");
    a.unbind("a1");
    a.tell(&b);
    drop(b.bid(&a).unwrap());
}

#[tokio::test]
async fn of_two_bids_at_once_the_older_wins() {
    for (first, second) in [("a", "b"), ("b", "a")] {
        let (first, second) = (Host::new(first), Host::new(second));
        // The stamps are the same: the host id decides.
        let bids = (first.bid(&second).unwrap(), second.bid(&first).unwrap());
        second.decide(&first, &bids.0);
        first.decide(&second, &bids.1);
        bids.0.decided(PATIENCE).await;
        bids.1.decided(PATIENCE).await;
        let won = [&first, &second].map(|host| host.bind("s", "ann", UserPolicy::RefuseNew).is_ok());
        assert_eq!(won, [first.id == "a", second.id == "a"]);
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_a_bid_does_not_count() {
    let (a, b) = pair();
    let bid = a.bid(&b).unwrap();
    let asked = tokio::time::Instant::now();
    bid.decided(PATIENCE).await;
    assert_eq!(asked.elapsed(), PATIENCE);
    a.bind("a1", "ann", UserPolicy::RefuseNew).unwrap();
    a.users.end_bid("/", "ann");
    a.unbind("a1");
    let bid = a.bid(&b).unwrap();
    a.users.gone(&a.sockets, "b");
    bid.decided(PATIENCE).await;
    assert_eq!(asked.elapsed(), PATIENCE, "known to be gone");
}

/// Both had the user while they could not hear each other.
#[tokio::test]
async fn after_a_partition_the_policy_holds_again() {
    for policy in [UserPolicy::Many, UserPolicy::ReplaceOld, UserPolicy::RefuseNew] {
        let (a, b) = (Host::new("a"), Host::new("b"));
        b.many("b0", "somebody else");
        for (host, other, sid) in [(&a, &b, "a1"), (&b, &a, "b1")] {
            drop(host.bid(other).unwrap());
            host.bind(sid, ANN.1, policy).unwrap();
            host.users.end_bid(ANN.0, ANN.1);
            host.changes();
        }
        for (host, other) in [(&a, &b), (&b, &a)] {
            let question = host.heartbeat(other).expect("it has missed everything");
            host.answer(other, question);
        }
        let expected = match policy {
            UserPolicy::Many => (1, 1),
            UserPolicy::ReplaceOld => (0, 1),
            UserPolicy::RefuseNew => (1, 0),
        };
        assert_eq!((a.here(), b.here()), expected, "{policy:?}");
        a.tell(&b);
        b.tell(&a);
        assert!(
            a.users.is_online("/", "ann") && b.users.is_online("/", "ann"),
            "{policy:?}"
        );
    }
}

#[test]
fn changes_that_cannot_be_told_one_by_one_make_the_others_ask() {
    let (a, b) = pair();
    for number in 0..70_000 {
        a.many(&format!("a{number}"), &format!("user {number}"));
    }
    let question = a.tell(&b).expect("some were passed over");
    a.answer(&b, question);
    assert_eq!(b.users.count("/"), 70_000);
    assert_eq!(b.sockets.user_changes("/").len(), 70_000);
}
