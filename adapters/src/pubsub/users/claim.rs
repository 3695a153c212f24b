//! Who of two may stay.

use serde::{Deserialize, Serialize};

use crate::UserPolicy;

/// What a host says of a user it holds: since when in Lamport's order, and what shall happen to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::pubsub) struct Claim {
    /// One more than the largest seen when the claim was made, so a claim made in the knowledge of another is larger.
    pub(in crate::pubsub) stamp: u64,
    #[serde(default, skip_serializing_if = "UserPolicy::is_default")]
    pub(in crate::pubsub) policy: UserPolicy,
}

/// What a host says of one user: a claim while they have a socket there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::pubsub) struct UserState {
    pub(in crate::pubsub) namespace: String,
    pub(in crate::pubsub) user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::pubsub) claim: Option<Claim>,
}

/// Whether `own` has to give way to `other`; the host ids order what no stamp does. The newer claim's policy holds, so both hosts find the same.
pub(super) fn gives_way(own: (Claim, &str), other: (Claim, &str)) -> bool {
    let order = |(claim, host): (Claim, _)| (claim.stamp, host);
    let own_is_newer = order(own) > order(other);
    let newer = if own_is_newer { own.0 } else { other.0 };
    match newer.policy {
        UserPolicy::Many => false,
        UserPolicy::ReplaceOld => !own_is_newer,
        UserPolicy::RefuseNew => own_is_newer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_of_two_gives_way() {
        let policies = [UserPolicy::ReplaceOld, UserPolicy::RefuseNew];
        for (a, b) in [(1, 1), (1, 2), (2, 1)] {
            for policy in policies {
                let claim = |stamp| Claim { stamp, policy };
                let (a, b) = ((claim(a), "a"), (claim(b), "b"));
                assert_ne!(gives_way(a, b), gives_way(b, a), "{a:?} {b:?}");
            }
        }
        let claim = |stamp, policy| (Claim { stamp, policy }, "a");
        let (old, new) = (claim(1, UserPolicy::Many), claim(2, UserPolicy::ReplaceOld));
        assert!(gives_way(old, new) && !gives_way(new, old));
        let new = claim(2, UserPolicy::RefuseNew);
        assert!(!gives_way(old, new) && gives_way(new, old));
        let new = claim(2, UserPolicy::Many);
        assert!(!gives_way(old, new) && !gives_way(new, old));
    }
}
