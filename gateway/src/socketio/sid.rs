//! The public id of a socket.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// Characters of a sid.
const LENGTH: usize = 20;

/// The id of a socket: 20 random characters, which tell nothing of the session or of the client's other sockets.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Sid([u8; LENGTH]);

impl Sid {
    pub(super) fn new() -> Self {
        let mut sid = [b'-'; LENGTH];
        // The lengths fit, so nothing is left out.
        let _ = BASE64_URL_SAFE_NO_PAD.encode_slice(rand::random::<[u8; LENGTH / 4 * 3]>(), &mut sid);
        Self(sid)
    }

    /// `None` for what cannot be one, such as the name of an ordinary room.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let sid: [u8; LENGTH] = text.as_bytes().try_into().ok()?;
        sid.is_ascii().then_some(Self(sid))
    }

    pub(crate) fn as_str(&self) -> &str {
        // Only ASCII gets in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Whether this may be the sid of a socket, of whatever gateway.
pub(crate) fn may_be_sid(text: &str) -> bool {
    Sid::parse(text).is_some()
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sid_is_twenty_characters_and_never_the_same() {
        let (one, other) = (Sid::new(), Sid::new());
        assert_eq!(one.as_str().len(), 20);
        assert!(
            one.as_str()
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        );
        assert_ne!(one, other);
        assert_eq!(Sid::parse(one.as_str()), Some(one));
        assert_eq!(Sid::parse("room"), None);
        assert_eq!(Sid::parse("ééééééééééé"), None);
    }
}
