//! Engine.IO packets: a type, one character, and data (Engine.IO protocol 4, "Packet encoding").

/// A packet a client sent. Binary messages have no type character and are no concern of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    /// `1`: the client closes the session.
    Close,
    /// `2`: a heartbeat of Engine.IO 3, or the probe of an upgrade.
    Ping(&'a str),
    /// `3`: the answer to a heartbeat of Engine.IO 4.
    Pong,
    /// `4`: data for the layer above.
    Message(&'a str),
    /// `5`: the upgrade is made.
    Upgrade,
    /// `6`: nothing.
    Noop,
}

/// The text is no packet a client may send.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an Engine.IO packet")]
pub(crate) struct NotAPacket;

impl<'a> Packet<'a> {
    /// Reads a packet; `0` (open) is the server's alone.
    pub(crate) fn parse(text: &'a str) -> Result<Self, NotAPacket> {
        let data = || &text[1..];
        match text.as_bytes().first() {
            Some(b'1') => Ok(Self::Close),
            Some(b'2') => Ok(Self::Ping(data())),
            Some(b'3') => Ok(Self::Pong),
            Some(b'4') => Ok(Self::Message(data())),
            Some(b'5') => Ok(Self::Upgrade),
            Some(b'6') => Ok(Self::Noop),
            _ => Err(NotAPacket),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_character_is_the_type() {
        for (text, packet) in [
            ("1", Packet::Close),
            ("2probe", Packet::Ping("probe")),
            ("3", Packet::Pong),
            ("4", Packet::Message("")),
            ("42[\"é\"]", Packet::Message("2[\"é\"]")),
            ("5", Packet::Upgrade),
            ("6", Packet::Noop),
        ] {
            assert_eq!(Packet::parse(text), Ok(packet));
        }
        for text in ["", "0", "7", "é", " 4"] {
            assert_eq!(Packet::parse(text), Err(NotAPacket), "{text}");
        }
    }
}
