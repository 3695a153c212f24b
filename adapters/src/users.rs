//! Users: identities that one or more sockets are bound to.

use serde::{Deserialize, Serialize};

use crate::ManagerError;

/// What the names of rooms begin with that no client may enter by itself.
const RESERVED: &str = "hallporter:";

const USER: &str = "hallporter:user:";

/// The room of a user's sockets in a namespace. Any host or worker, also one of python-socketio, reaches the user by emitting to it.
pub fn user_room(user: &str) -> String {
    [USER, user].concat()
}

/// Whether a room belongs to Hallporter, so that no client may enter or leave it by itself.
pub fn is_reserved(room: &str) -> bool {
    room.starts_with(RESERVED)
}

/// The user whose room this is.
pub fn user_of(room: &str) -> Option<&str> {
    room.strip_prefix(USER)
}

/// What happens when a user who is online in a namespace comes again, on whatever host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserPolicy {
    /// All sockets stay. The default.
    #[default]
    Many,
    /// The older socket is disconnected.
    ReplaceOld,
    /// The newer one is refused.
    RefuseNew,
}

impl UserPolicy {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a socket was not bound to a user.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The user is online in this namespace, and the policy is [`UserPolicy::RefuseNew`].
    #[error("the user is online already")]
    Taken,
    /// The other hosts could not be asked, or the manager holds no sockets.
    #[error(transparent)]
    Manager(#[from] ManagerError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_a_user_is_reserved() {
        assert_eq!(user_room("ann"), "hallporter:user:ann");
        assert!(is_reserved(&user_room("")) && !is_reserved("hallporter") && !is_reserved("lobby"));
        assert_eq!(
            (user_of(&user_room("a:b")), user_of("hallporter:x")),
            (Some("a:b"), None)
        );
    }
}
