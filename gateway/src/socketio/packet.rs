//! Socket.IO packets as JSON (Socket.IO protocol 5, "Packet encoding"; protocol 4 differs for connecting alone).

use bytes::Bytes;
use bytestring::ByteString;
use hallporter_adapters::{Args, EventName};
use serde_json::Value;

use crate::engine::Outgoing;

/// The client is connected.
pub(super) const CONNECT: u8 = 0;
/// The client is disconnected from the namespace.
pub(super) const DISCONNECT: u8 = 1;
/// The client may not connect.
pub(super) const CONNECT_ERROR: u8 = 4;

/// Event names that clients may not send and nobody emits, since servers and clients give them a meaning of their own.
pub(crate) const RESERVED: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

/// A packet of a client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Packet {
    /// It wants to connect to a namespace.
    Connect {
        namespace: ByteString,
        /// An object.
        auth: Option<Value>,
    },
    /// It leaves a namespace.
    Disconnect { namespace: ByteString },
    /// An event.
    Event {
        namespace: ByteString,
        /// The number of the ack it asks for.
        ack: Option<u64>,
        name: String,
        args: Args,
    },
    /// The answer to an event.
    Ack { namespace: ByteString, id: u64, args: Args },
}

/// What a client sent is no packet.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a Socket.IO packet")]
pub(crate) struct NotAPacket;

/// What stands before a packet's payload, and the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    pub(crate) kind: Kind,
    /// How many binary messages follow.
    pub(crate) attachments: usize,
    pub(crate) namespace: &'a str,
    pub(crate) id: Option<u64>,
    pub(crate) payload: &'a str,
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Connect,
    Disconnect,
    Event,
    Ack,
}

impl<'a> Head<'a> {
    /// Reads `<type>[<attachments>-][<namespace>,][<id>][<payload>]`.
    pub(crate) fn parse(text: &'a str) -> Result<Self, NotAPacket> {
        let (kind, is_binary) = match text.as_bytes().first() {
            Some(b'0') => (Kind::Connect, false),
            Some(b'1') => (Kind::Disconnect, false),
            Some(b'2') => (Kind::Event, false),
            Some(b'3') => (Kind::Ack, false),
            Some(b'5') => (Kind::Event, true),
            Some(b'6') => (Kind::Ack, true),
            // 4 is the server's alone.
            _ => return Err(NotAPacket),
        };
        let mut rest = &text[1..];
        let mut attachments = 0;
        if is_binary {
            let (count, after) = rest.split_once('-').ok_or(NotAPacket)?;
            attachments = number(count)
                .and_then(|count| usize::try_from(count).ok())
                .ok_or(NotAPacket)?;
            rest = after;
        }
        let mut namespace = "/";
        if rest.starts_with('/') {
            (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (id, payload) = rest.split_at(digits);
        let id = (digits > 0).then(|| number(id).ok_or(NotAPacket)).transpose()?;
        Ok(Self {
            kind,
            attachments,
            namespace,
            id,
            payload,
        })
    }

    /// The whole packet, once its attachments are there.
    pub(crate) fn packet(&self, attachments: Vec<Bytes>) -> Result<Packet, NotAPacket> {
        Packet::new(self.kind, name_of(self.namespace), self.id, self.payload, attachments)
    }
}

impl Packet {
    /// `payload` is JSON or empty.
    pub(super) fn new(
        kind: Kind,
        namespace: ByteString,
        id: Option<u64>,
        payload: &str,
        attachments: Vec<Bytes>,
    ) -> Result<Self, NotAPacket> {
        let args = |attachments| Args::from_json_array(payload, attachments).map_err(|_| NotAPacket);
        match kind {
            Kind::Connect if payload.is_empty() => Ok(Self::Connect { namespace, auth: None }),
            Kind::Connect => match serde_json::from_str(payload) {
                Ok(auth @ Value::Object(_)) => Ok(Self::Connect {
                    namespace,
                    auth: Some(auth),
                }),
                _ => Err(NotAPacket),
            },
            Kind::Disconnect if payload.is_empty() => Ok(Self::Disconnect { namespace }),
            Kind::Disconnect => Err(NotAPacket),
            Kind::Event => Self::event(namespace, id, args(attachments)?),
            Kind::Ack => Ok(Self::Ack {
                namespace,
                id: id.ok_or(NotAPacket)?,
                args: args(attachments)?,
            }),
        }
    }

    /// `args` begin with the name of the event.
    fn event(namespace: ByteString, ack: Option<u64>, args: Args) -> Result<Self, NotAPacket> {
        let (name, args) = args
            .clone()
            .split_event()
            .or_else(|| numbered(&args))
            .ok_or(NotAPacket)?;
        let name = name.decode();
        match RESERVED.contains(&name.as_str()) {
            true => Err(NotAPacket),
            false => Ok(Self::Event {
                namespace,
                ack,
                name,
                args,
            }),
        }
    }
}

/// The name of an event may be a number, which is taken as text.
fn numbered(args: &Args) -> Option<(EventName, Args)> {
    let text = args.as_json();
    let (name, rest) = text.split_once(',').unwrap_or((text, ""));
    let name: serde_json::Number = serde_json::from_str(name).ok()?;
    let args = Args::from_json_array(&format!("[{rest}]"), args.attachments().to_vec()).ok()?;
    Some((EventName::new(&name.to_string()), args))
}

/// A number of digits alone.
fn number(digits: &str) -> Option<u64> {
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

pub(super) fn name_of(namespace: &str) -> ByteString {
    match namespace {
        "/" => ByteString::from_static("/"),
        name => name.into(),
    }
}

/// An event for clients.
pub(super) fn event(namespace: &str, ack: Option<u64>, name: &EventName, args: &Args) -> Outgoing {
    let comma = if args.is_empty() { "" } else { "," };
    let payload = ["[", name.as_json(), comma, args.as_json(), "]"];
    write(["2", "5"], namespace, ack, payload, args.attachments())
}

/// The answer to an event of a client.
pub(super) fn ack(namespace: &str, id: u64, args: &Args) -> Outgoing {
    let payload = ["[", args.as_json(), "]", "", ""];
    write(["3", "6"], namespace, Some(id), payload, args.attachments())
}

/// A packet of another type; `payload` is JSON or empty.
pub(super) fn other(kind: u8, namespace: &str, payload: &str) -> Outgoing {
    let kind = kind.to_string();
    write([&kind; 2], namespace, None, [payload, "", "", "", ""], &[])
}

/// `kinds` are the type without attachments, and with.
fn write(kinds: [&str; 2], namespace: &str, id: Option<u64>, payload: [&str; 5], attachments: &[Bytes]) -> Outgoing {
    let count = match attachments.len() {
        0 => String::new(),
        count => format!("{count}-"),
    };
    let kind = kinds[usize::from(!attachments.is_empty())];
    let (namespace, comma) = if namespace == "/" { ("", "") } else { (namespace, ",") };
    let id = id.map(|id| id.to_string()).unwrap_or_default();
    let [a, b, c, d, e] = payload;
    Outgoing::message(&[kind, &count, namespace, comma, &id, a, b, c, d, e], attachments)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::engine::payload::Item;

    fn parse(text: &str) -> Result<Packet, NotAPacket> {
        Head::parse(text)?.packet(Vec::new())
    }

    #[test]
    fn packets_of_the_protocol_document() {
        let connect = |namespace: &'static str, auth| Packet::Connect {
            namespace: namespace.into(),
            auth,
        };
        assert_eq!(parse("0"), Ok(connect("/", None)));
        assert_eq!(parse("0{\"a\":1}"), Ok(connect("/", Some(json!({"a": 1})))));
        assert_eq!(parse("0/admin,{\"a\":1}"), Ok(connect("/admin", Some(json!({"a": 1})))));
        assert_eq!(parse("0/admin"), Ok(connect("/admin", None)));
        assert_eq!(
            parse("1/admin,"),
            Ok(Packet::Disconnect {
                namespace: "/admin".into()
            })
        );
        let event = |namespace: &'static str, ack, name: &str, args: &str| Packet::Event {
            namespace: namespace.into(),
            ack,
            name: name.into(),
            args: Args::from_json_array(args, vec![]).unwrap(),
        };
        assert_eq!(parse("2[\"foo\"]"), Ok(event("/", None, "foo", "[]")));
        assert_eq!(
            parse("2/admin,12[\"f\\u00e9\",1,[2]]"),
            Ok(event("/admin", Some(12), "fé", "[1,[2]]"))
        );
        assert_eq!(parse("2[7,\"x\"]"), Ok(event("/", None, "7", "[\"x\"]")));
        let ack = Packet::Ack {
            namespace: "/admin".into(),
            id: 12,
            args: Args::none(),
        };
        assert_eq!(parse("3/admin,12[]"), Ok(ack));
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        for text in [
            "",
            "a",
            "4{}",
            "7",
            "0[]",
            "0\"x\"",
            "0{",
            "1x",
            "2",
            "2{}",
            "2[]",
            "2[1",
            "2[null]",
            "2abc[\"e\"]",
            "3[]",
            "312{}",
            "5[\"e\"]",
            "5x-[\"e\"]",
            "5-[\"e\"]",
            "2[\"connect\"]",
            "2[\"disconnecting\"]",
            "2[\"newListener\"]",
            "2[\"connec\\u0074\"]",
            "299999999999999999999[\"e\"]",
        ] {
            assert_eq!(parse(text), Err(NotAPacket), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            namespace in "/[a-z0-9_-]{0,9}", ack: Option<u64>, name in "[^c]{0,9}", values: Vec<Option<String>>, data: Vec<u8>, binary: bool
        ) {
            let attachments = if binary { vec![Bytes::from(data)] } else { vec![] };
            let mut json: Vec<_> = values.iter().map(|value| json!(value)).collect();
            json.extend(binary.then(|| json!({"_placeholder": true, "num": 0})));
            let args = Args::from_json_array(&json!(json).to_string(), attachments.clone()).unwrap();
            let outgoing = event(&namespace, ack, &EventName::new(&name), &args);
            let items: Vec<_> = outgoing.items().collect();
            let Item::Text(text) = items[0] else { panic!() };
            let head = Head::parse(&text[1..]).unwrap();
            prop_assert_eq!(head.attachments, attachments.len());
            prop_assert_eq!(items.len(), 1 + attachments.len());
            let expected = Packet::Event { namespace: namespace.into(), ack, name, args };
            prop_assert_eq!(head.packet(attachments), Ok(expected));
        }

        #[test]
        fn any_text_is_a_packet_or_none(text: String) {
            let _ = parse(&text);
        }
    }
}
