//! What holds for all messages: nothing panics, what is written is read again, a wrong field is named.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::ser::SerializeTuple;
use serde::{Serialize, Serializer};

use super::{decode::decode, encode::encode};
use crate::wire::{Callback, Message, WireError};
use crate::{Args, Command, Emit, EventName, Membership, Target};

/// Any value a client can be sent.
#[derive(Clone, Debug)]
enum Value {
    Json(serde_json::Value),
    Binary(Vec<u8>),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Json(value) => value.serialize(serializer),
            Self::Binary(bytes) => serializer.serialize_bytes(bytes),
            Self::List(values) => values.serialize(serializer),
            Self::Map(values) => values.serialize(serializer),
        }
    }
}

/// Serialises as a tuple, and so as several arguments.
struct Several<'a>(&'a [Value]);

impl Serialize for Several<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for value in self.0 {
            tuple.serialize_element(value)?;
        }
        tuple.end()
    }
}

fn value() -> impl Strategy<Value = Value> {
    let json = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        prop::num::f64::NORMAL.prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    let leaf = prop_oneof![
        4 => json.prop_map(Value::Json),
        1 => vec(any::<u8>(), 0..20).prop_map(Value::Binary),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            btree_map(any::<String>(), inner, 0..4).prop_map(Value::Map),
        ]
    })
}

fn args() -> impl Strategy<Value = Args> {
    vec(value(), 0..4).prop_map(|values| Args::encode(&Several(&values)).unwrap())
}

fn callback() -> impl Strategy<Value = Callback> {
    let id = prop_oneof![
        any::<u64>().prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
    ];
    (any::<String>(), any::<String>(), id).prop_map(|(token, namespace, id)| Callback {
        token: serde_json::Value::from(token).to_string().into(),
        namespace: namespace.into(),
        id: id.to_string().into(),
    })
}

fn emit() -> impl Strategy<Value = Emit> {
    let target = (prop::option::of(vec(any::<String>(), 1..4)), vec(any::<String>(), 0..4));
    (any::<String>(), target, any::<String>(), args(), any::<bool>()).prop_map(
        |(namespace, (rooms, except), event, args, volatile)| Emit {
            namespace: namespace.into(),
            target: Target { rooms, except },
            event: EventName::new(&event),
            args,
            volatile,
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    let membership = || {
        (any::<String>(), any::<String>(), any::<String>()).prop_map(|(namespace, sid, room)| Membership {
            namespace: namespace.into(),
            sid,
            room,
        })
    };
    let pair = || (any::<String>(), any::<String>());
    let command = prop_oneof![
        3 => (emit(), prop::option::of(callback()), prop::option::of(any::<u64>()))
            .prop_map(|(emit, callback, receipt)| (Command::Emit(emit), callback, receipt)),
        1 => membership().prop_map(|membership| (Command::EnterRoom(membership), None, None)),
        1 => membership().prop_map(|membership| (Command::LeaveRoom(membership), None, None)),
        1 => pair().prop_map(|(name, room)| (Command::CloseRoom { namespace: name.into(), room }, None, None)),
        1 => (pair(), any::<bool>()).prop_map(|((name, sid), connection)| {
            let namespace = name.into();
            (Command::Disconnect { namespace, sid, connection }, None, None)
        }),
    ];
    prop_oneof![
        4 => (prop::option::of(any::<String>()), command).prop_map(|(host_id, command)| {
            let (command, callback, receipt) = command;
            Message::Command { host_id, command, callback, receipt }
        }),
        1 => (any::<String>(), callback(), args()).prop_map(|(host_id, callback, args)| Message::Callback {
            host_id,
            callback,
            args,
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(message in message()) {
        match encode(&message) {
            Some(body) => prop_assert_eq!(decode(body), Ok(message)),
            None => {
                let binary = matches!(&message, Message::Callback { args, .. } if !args.attachments().is_empty());
                prop_assert!(binary, "only binary acks cannot be written");
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body in vec(any::<u8>(), 0..200)) {
        let _ = decode(body.into());
    }

    #[test]
    fn no_damage_makes_it_panic(
        message in message(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>(), 0..3usize), 1..4),
    ) {
        let mut body = encode(&message).unwrap_or_default().to_vec();
        for (at, byte, kind) in damage {
            let at = at.index(body.len() + 1);
            match kind {
                0 => body.insert(at, byte),
                1 => body.truncate(at),
                _ => body.splice(at..at, *b"\"[{,:NaN\\ud800").for_each(drop),
            }
        }
        let _ = decode(body.into());
    }
}

#[test]
fn a_wrong_field_is_named() {
    let emit = |change: &str| format!(r#"{{"method":"emit","event":"e","data":[],"namespace":"/",{change}}}"#);
    let without = |key: &str| {
        let fields = [("event", "\"e\""), ("data", "[]"), ("namespace", "\"/\"")];
        let kept = fields.iter().filter(|(name, _)| *name != key);
        let kept: String = kept.map(|(name, value)| format!(",\"{name}\":{value}")).collect();
        format!(r#"{{"method":"emit"{kept}}}"#)
    };
    let with = |method: &str, fields: &str| format!(r#"{{"method":"{method}",{fields}}}"#);
    let samples = [
        ("method", "{}".to_owned()),
        ("method", r#"{"method":null}"#.into()),
        ("method", r#"{"method":["emit"]}"#.into()),
        ("event", without("event")),
        (
            "event",
            r#"{"method":"emit","event":1,"data":[],"namespace":"/"}"#.into(),
        ),
        (
            "event",
            r#"{"method":"emit","event":null,"data":[],"namespace":"/"}"#.into(),
        ),
        ("data", without("data")),
        (
            "data",
            r#"{"method":"emit","event":"e","data":1,"namespace":"/","binary":true}"#.into(),
        ),
        ("data", emit(r#""binary":true"#)),
        (
            "data",
            r#"{"method":"emit","event":"e","data":[[],1],"namespace":"/","binary":true}"#.into(),
        ),
        (
            "data",
            r#"{"method":"emit","event":"e","data":[[],"?"],"namespace":"/","binary":true}"#.into(),
        ),
        ("binary", emit(r#""binary":1"#)),
        ("binary", emit(r#""binary":"true""#)),
        ("namespace", without("namespace")),
        (
            "namespace",
            r#"{"method":"emit","event":"e","data":[],"namespace":{}}"#.into(),
        ),
        ("room", emit(r#""room":{}"#)),
        ("room", emit(r#""room":[]"#)),
        ("room", emit(r#""room":["r",null]"#)),
        ("room", emit(r#""room":true"#)),
        ("skip_sid", emit(r#""skip_sid":{}"#)),
        ("skip_sid", emit(r#""skip_sid":[["s"]]"#)),
        ("callback", emit(r#""callback":7"#)),
        ("callback", emit(r#""callback":{}"#)),
        ("namespace", emit(r#""callback":["r",7,1]"#)),
        ("host_id", emit(r#""host_id":7"#)),
        ("hallporter", emit(r#""hallporter":[[]]"#)),
        ("hallporter", emit(r#""hallporter":{"volatile":1}"#)),
        ("sid", with("enter_room", r#""room":"r","namespace":"/""#)),
        ("sid", with("leave_room", r#""sid":1,"room":"r","namespace":"/""#)),
        ("room", with("enter_room", r#""sid":"s","namespace":"/""#)),
        (
            "room",
            with("leave_room", r#""sid":"s","room":["r","t"],"namespace":"/""#),
        ),
        ("namespace", with("enter_room", r#""sid":"s","room":"r""#)),
        ("room", with("close_room", r#""namespace":"/""#)),
        ("namespace", with("close_room", r#""room":"r""#)),
        ("sid", with("disconnect", r#""namespace":"/""#)),
        ("namespace", with("disconnect", r#""sid":"s","namespace":7"#)),
        ("host_id", with("callback", r#""sid":"s","id":1,"args":[]"#)),
        ("sid", with("callback", r#""host_id":"h","id":1,"args":[]"#)),
        ("id", with("callback", r#""host_id":"h","sid":"s","args":[]"#)),
        ("args", with("callback", r#""host_id":"h","sid":"s","id":1"#)),
        ("args", with("callback", r#""host_id":"h","sid":"s","id":1,"args":{}"#)),
    ];
    for (named, body) in samples {
        match decode(Bytes::from(body.clone())) {
            Err(WireError::Field { field, .. }) => assert_eq!(field, named, "{body}"),
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn what_python_socketio_leaves_out_or_bends_is_understood() {
    let read = |body: &str| match decode(Bytes::copy_from_slice(body.as_bytes())) {
        Ok(Message::Command {
            command: Command::Emit(emit),
            callback,
            ..
        }) => (emit, callback),
        other => panic!("{body}: {other:?}"),
    };
    let emit = |change: &str| read(&format!(r#"{{"method":"emit","event":"e","namespace":"/",{change}}}"#));
    for (data, args) in [
        ("[]", ""),
        ("[ 1 , 2 ]", "1 , 2"),
        ("[null]", ""),
        ("null", ""),
        ("[null,1]", "null,1"),
        ("7", "7"),
        ("{\"a\":[]}", "{\"a\":[]}"),
        ("[[1]]", "[1]"),
        ("[NaN]", ""),
    ] {
        let (read, _) = emit(&format!("\"data\":{data}"));
        assert_eq!(read.args.as_json(), args, "{data}");
    }
    let (read, _) = emit(r#""data":[],"room":7,"skip_sid":["a",8],"unknown":{"x":[]}"#);
    assert_eq!(read.target.rooms, Some(vec!["7".to_owned()]));
    assert_eq!(read.target.except, ["a", "8"]);
    for (callback, known) in [
        ("null", false),
        ("[]", false),
        ("[1,\"/\"]", false),
        ("[{},\"/\",[]]", true),
    ] {
        let (_, read) = emit(&format!("\"data\":[],\"callback\":{callback}"));
        assert_eq!(read.is_some(), known, "{callback}");
    }
    let disconnect = decode(Bytes::from_static(br#"{"method":"disconnect","sid":"s"}"#));
    assert!(
        matches!(disconnect, Ok(Message::Command { command: Command::Disconnect { namespace, .. }, .. }) if namespace == "/")
    );
}
