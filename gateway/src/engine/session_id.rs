//! Session ids: secret, since whoever knows one can read and write as that client, and naming the gateway that holds the session.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// Random bytes of an id: 144 bits.
const RANDOM: usize = 18;
/// Characters of an id: those of the owner's tag, then the random ones.
const LENGTH: usize = TAG_LENGTH + RANDOM / 3 * 4;
const TAG_LENGTH: usize = 8;

/// The id of an Engine.IO session. `Debug` shows the owner's tag alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionId([u8; LENGTH]);

impl SessionId {
    /// A new id of the gateway with this tag.
    pub(crate) fn new(owner: OwnerTag) -> Self {
        let mut id = [b'-'; LENGTH];
        let (tag, random) = id.split_at_mut(TAG_LENGTH);
        tag.copy_from_slice(&owner.0);
        // The lengths fit, so nothing is left out.
        let _ = BASE64_URL_SAFE_NO_PAD.encode_slice(rand::random::<[u8; RANDOM]>(), random);
        Self(id)
    }

    /// Reads an id; `None` for what cannot be one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let id: [u8; LENGTH] = text.as_bytes().try_into().ok()?;
        id.is_ascii().then_some(Self(id))
    }

    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        // Only ASCII gets in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The tag of the gateway that made it.
    pub(crate) fn owner(&self) -> OwnerTag {
        let mut tag = [0; TAG_LENGTH];
        tag.copy_from_slice(&self.0[..TAG_LENGTH]);
        OwnerTag(tag)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", std::str::from_utf8(&self.0[..TAG_LENGTH]).unwrap_or_default())
    }
}

/// Eight characters that stand for a gateway: the last ones of its host id, which is random there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnerTag([u8; TAG_LENGTH]);

impl OwnerTag {
    /// The tag of a host.
    pub(crate) fn of(host_id: &str) -> Self {
        let mut tag = [b'-'; TAG_LENGTH];
        for (place, char) in tag.iter_mut().rev().zip(host_id.bytes().rev()) {
            *place = if char.is_ascii_alphanumeric() { char } else { b'-' };
        }
        Self(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_owner_and_no_two_are_equal() {
        let owner = OwnerTag::of("hallporter-0123456789abcdef");
        let (one, other) = (SessionId::new(owner), SessionId::new(owner));
        assert_eq!(SessionId::parse(one.as_str()), Some(one));
        assert_ne!(one, other);
        assert_eq!(one.owner(), owner);
        assert!(one.as_str().starts_with("89abcdef"));
        assert!(!format!("{one:?}").contains(&one.as_str()[TAG_LENGTH..]));
        assert_eq!(OwnerTag::of("é").0, *b"--------");
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in ["", "abc", &"x".repeat(LENGTH + 1), &"é".repeat(LENGTH / 2)] {
            assert_eq!(SessionId::parse(text), None, "{text}");
        }
    }
}
