//! Polling payloads: several packets in one HTTP body.
//!
//! Engine.IO 4 puts `\x1e` between packets and writes binary ones as `b` and base64. Engine.IO 3 puts the length before each, as text,
//! or as bytes when a packet is binary and the client can read that.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::Protocol;

/// One packet of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// The type and its data.
    Text(&'a str),
    /// The data of a binary message.
    Binary(Cow<'a, [u8]>),
}

/// The body is no payload.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an Engine.IO payload")]
pub(crate) struct NotAPayload;

const SEPARATOR: u8 = 0x1e;
/// The type of a message among the bytes of Engine.IO 3.
const MESSAGE: u8 = 4;

/// Reads the packets of a request's body; `octets` says that its content type is `application/octet-stream`.
///
/// # Errors
/// When the body is not in the format of the protocol.
pub(crate) fn decode(protocol: Protocol, octets: bool, body: &[u8]) -> Result<Vec<Item<'_>>, NotAPayload> {
    if protocol == Protocol::V3 && octets {
        return decode_v3_octets(body);
    }
    let text = std::str::from_utf8(body).map_err(|_| NotAPayload)?;
    match protocol {
        Protocol::V4 => text.split(char::from(SEPARATOR)).map(decode_text).collect(),
        Protocol::V3 => decode_v3_text(text),
    }
}

fn decode_text(packet: &str) -> Result<Item<'_>, NotAPayload> {
    match packet.strip_prefix('b') {
        Some(base64) => decode_base64(base64),
        None => Ok(Item::Text(packet)),
    }
}

fn decode_base64(text: &str) -> Result<Item<'_>, NotAPayload> {
    let data = BASE64_STANDARD.decode(text).map_err(|_| NotAPayload)?;
    Ok(Item::Binary(data.into()))
}

/// Lengths are counted as JavaScript does, in UTF-16 code units.
fn decode_v3_text(mut text: &str) -> Result<Vec<Item<'_>>, NotAPayload> {
    let mut items = Vec::new();
    while !text.is_empty() {
        let (length, rest) = text.split_once(':').ok_or(NotAPayload)?;
        let length = length.parse().map_err(|_| NotAPayload)?;
        let (packet, rest) = rest.split_at(utf16_prefix(rest, length).ok_or(NotAPayload)?);
        items.push(match packet.strip_prefix("b4") {
            Some(base64) => decode_base64(base64)?,
            None => Item::Text(packet),
        });
        text = rest;
    }
    Ok(items)
}

/// How many bytes of `text` are `units` UTF-16 code units.
fn utf16_prefix(text: &str, units: usize) -> Option<usize> {
    let mut left = units;
    for (at, char) in text.char_indices() {
        if left == 0 {
            return Some(at);
        }
        left = left.checked_sub(char.len_utf16())?;
    }
    (left == 0).then_some(text.len())
}

fn decode_v3_octets(mut body: &[u8]) -> Result<Vec<Item<'_>>, NotAPayload> {
    let mut items = Vec::new();
    while let Some((&kind, rest)) = body.split_first() {
        let digits = rest.iter().position(|&byte| byte == 255).ok_or(NotAPayload)?;
        let length = rest[..digits].iter().try_fold(0usize, |length, &digit| {
            let length = length.checked_mul(10)?.checked_add(usize::from(digit))?;
            (digit < 10).then_some(length)
        });
        let rest = &rest[digits + 1..];
        let (packet, rest) = rest.split_at_checked(length.ok_or(NotAPayload)?).ok_or(NotAPayload)?;
        items.push(match (kind, packet.split_first()) {
            (0, _) => Item::Text(std::str::from_utf8(packet).map_err(|_| NotAPayload)?),
            (1, Some((&MESSAGE, data))) => Item::Binary(data.into()),
            _ => return Err(NotAPayload),
        });
        body = rest;
    }
    Ok(items)
}

/// Packets as one HTTP body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) body: Vec<u8>,
    /// Whether it is bytes rather than text.
    pub(crate) octets: bool,
}

/// Writes packets, which are at least one. `base64` says that an Engine.IO 3 client can read text only.
pub(crate) fn encode<'a>(protocol: Protocol, base64: bool, items: impl Iterator<Item = Item<'a>> + Clone) -> Payload {
    let octets = protocol == Protocol::V3 && !base64 && items.clone().any(|item| matches!(item, Item::Binary(_)));
    let mut body = Vec::new();
    for item in items {
        match (protocol, octets) {
            (Protocol::V4, _) => encode_v4(item, &mut body),
            (Protocol::V3, false) => encode_v3_text(item, &mut body),
            (Protocol::V3, true) => encode_v3_octets(item, &mut body),
        }
    }
    Payload { body, octets }
}

fn encode_v4(item: Item<'_>, body: &mut Vec<u8>) {
    if !body.is_empty() {
        body.push(SEPARATOR);
    }
    match item {
        Item::Text(packet) => body.extend_from_slice(packet.as_bytes()),
        Item::Binary(data) => {
            body.push(b'b');
            body.extend_from_slice(BASE64_STANDARD.encode(data).as_bytes());
        }
    }
}

fn encode_v3_text(item: Item<'_>, body: &mut Vec<u8>) {
    let packet: Cow<'_, str> = match item {
        Item::Text(packet) => packet.into(),
        Item::Binary(data) => format!("b4{}", BASE64_STANDARD.encode(data)).into(),
    };
    let length = packet.encode_utf16().count();
    body.extend_from_slice(format!("{length}:{packet}").as_bytes());
}

fn encode_v3_octets(item: Item<'_>, body: &mut Vec<u8>) {
    let (kind, message, packet): (u8, &[u8], Cow<'_, [u8]>) = match item {
        Item::Text(packet) => (0, &[], packet.as_bytes().into()),
        Item::Binary(data) => (1, &[MESSAGE], data),
    };
    let length = (message.len() + packet.len()).to_string();
    body.push(kind);
    body.extend(length.bytes().map(|digit| digit - b'0'));
    body.push(255);
    body.extend_from_slice(message);
    body.extend_from_slice(&packet);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(body: &str, protocol: Protocol) -> Result<Vec<Item<'_>>, NotAPayload> {
        decode(protocol, false, body.as_bytes())
    }

    #[test]
    fn payloads_of_the_protocol_document() {
        let binary = |data: &'static [u8]| Item::Binary(data.into());
        assert_eq!(
            text("4hello\x1e2\x1e4world\x1ebAQIDBA==", Protocol::V4),
            Ok(vec![
                Item::Text("4hello"),
                Item::Text("2"),
                Item::Text("4world"),
                binary(&[1, 2, 3, 4])
            ])
        );
        let v3 = [Item::Text("4€"), binary(&[1, 2, 3, 4])];
        assert_eq!(text("2:4€10:b4AQIDBA==", Protocol::V3), Ok(v3.to_vec()));
        let payload = encode(Protocol::V3, true, v3.iter().cloned());
        assert_eq!(payload.body, "2:4€10:b4AQIDBA==".as_bytes());
        let octets = [0, 4, 255, b'4', 0xe2, 0x82, 0xac, 1, 5, 255, 4, 1, 2, 3, 4];
        assert_eq!(decode(Protocol::V3, true, &octets), Ok(v3.to_vec()));
        let payload = encode(Protocol::V3, false, v3.iter().cloned());
        assert_eq!((payload.body.as_slice(), payload.octets), (&octets[..], true));
    }

    #[test]
    fn what_is_no_payload_is_refused() {
        for body in ["b!", "b4A", "4a\x1eb?"] {
            assert_eq!(text(body, Protocol::V4), Err(NotAPayload), "{body}");
        }
        for body in ["4", "5:4", ":4", "x:4", "-1:4", "1:😀", "99999999999999999999:4"] {
            assert_eq!(text(body, Protocol::V3), Err(NotAPayload), "{body}");
        }
        for body in [
            &[0u8][..],
            &[0, 1],
            &[0, 1, 255],
            &[2, 1, 255, 4],
            &[1, 1, 255, 5],
            &[0, 11, 255, 4],
        ] {
            assert_eq!(decode(Protocol::V3, true, body), Err(NotAPayload), "{body:?}");
        }
    }

    fn items() -> impl Strategy<Value = Vec<Item<'static>>> {
        let text = "[0-6][^\x1e]*".prop_map(|text| Item::Text(text.leak()));
        let item = prop_oneof![text, any::<Vec<u8>>().prop_map(|data| Item::Binary(data.into()))];
        prop::collection::vec(item, 1..5)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(items in items(), v3: bool, base64: bool) {
            let protocol = if v3 { Protocol::V3 } else { Protocol::V4 };
            let payload = encode(protocol, base64, items.iter().cloned());
            prop_assert_eq!(decode(protocol, payload.octets, &payload.body), Ok(items));
        }

        #[test]
        fn any_bytes_are_a_payload_or_none(body: Vec<u8>, octets: bool) {
            for protocol in [Protocol::V3, Protocol::V4] {
                let _ = decode(protocol, octets, &body);
            }
        }
    }
}
