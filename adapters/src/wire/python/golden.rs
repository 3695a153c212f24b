//! Messages captured from python-socketio, against what its own server sends for them (`testdata/deliveries.py`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Deserialize;

use super::PythonWire;
use crate::json::{Token, Tokens};
use crate::wire::{Message, Wire, WireError};
use crate::{Command, Emit};

#[derive(Deserialize)]
struct Sample {
    producer: String,
    payload_base64: String,
    decoded: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Delivery {
    namespace: String,
    room: serde_json::Value,
    skip_sid: serde_json::Value,
    frames: Vec<Frame>,
}

#[derive(Deserialize, Debug, PartialEq)]
#[serde(untagged)]
enum Frame {
    Text(String),
    Binary { base64: String },
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// The captured messages by file name.
fn samples() -> BTreeMap<String, (Sample, Bytes)> {
    let files = std::fs::read_dir(testdata().join("python")).unwrap();
    let samples: BTreeMap<_, _> = files
        .map(|file| {
            let path = file.unwrap().path();
            let sample: Sample = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let body = BASE64_STANDARD.decode(&sample.payload_base64).unwrap();
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                (sample, body.into()),
            )
        })
        .collect();
    assert!(samples.len() > 70, "only {} samples were found", samples.len());
    samples
}

fn wire() -> PythonWire {
    PythonWire::new("socketio")
}

fn command(body: Bytes) -> Command {
    match wire().decode(body).unwrap() {
        Message::Command { command, .. } => command,
        other => panic!("not a command: {other:?}"),
    }
}

/// JSON without the white space between its tokens.
fn compact(json: &str) -> String {
    Tokens::of(json).map(Token::as_str).collect()
}

/// The frames a client is sent, as python-socketio writes them.
fn frames(emit: &Emit) -> Vec<Frame> {
    let attachments = emit.args.attachments();
    let kind = match attachments.len() {
        0 => "2".to_owned(),
        count => format!("5{count}-"),
    };
    let namespace = match &*emit.namespace {
        "/" => String::new(),
        namespace => format!("{namespace},"),
    };
    let separator = if emit.args.is_empty() { "" } else { "," };
    let data = compact(&format!("[{}{separator}{}]", emit.event.as_json(), emit.args.as_json()));
    let binary = attachments.iter().map(|bytes| Frame::Binary {
        base64: BASE64_STANDARD.encode(bytes),
    });
    std::iter::once(Frame::Text(kind + &namespace + &data))
        .chain(binary)
        .collect()
}

/// One room or sid, or several, as names.
fn names(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::Null => vec![],
        serde_json::Value::Array(values) => values.iter().flat_map(names).collect(),
        serde_json::Value::String(name) => vec![name.clone()],
        other => vec![other.to_string()],
    }
}

#[test]
fn every_emit_is_delivered_as_python_socketio_delivers_it() {
    let deliveries: BTreeMap<String, Vec<Delivery>> =
        serde_json::from_slice(&std::fs::read(testdata().join("deliveries.json")).unwrap()).unwrap();
    let samples = samples();
    assert!(deliveries.len() > 50);
    for (name, deliveries) in deliveries {
        let Command::Emit(emit) = command(samples[&name].1.clone()) else {
            panic!("{name} is no emit");
        };
        let [delivery] = deliveries.as_slice() else {
            panic!("{name}")
        };
        let python: Vec<Frame> = delivery.frames.iter().map(finite).collect();
        assert_eq!(frames(&emit), python, "{name}");
        assert_eq!(*emit.namespace, delivery.namespace, "{name}");
        assert_eq!(emit.target.rooms.unwrap_or_default(), names(&delivery.room), "{name}");
        assert_eq!(emit.target.except, names(&delivery.skip_sid), "{name}");
    }
}

/// The one thing that is not delivered as Python does, because it is not JSON.
fn finite(frame: &Frame) -> Frame {
    match frame {
        Frame::Text(text) => Frame::Text(text.replace("[NaN,Infinity,-Infinity]", "[null,null,null]")),
        Frame::Binary { base64 } => Frame::Binary { base64: base64.clone() },
    }
}

#[test]
fn every_other_method_is_understood() {
    let methods = ["enter_room", "leave_room", "close_room"];
    let mut seen = 0;
    for (name, (sample, body)) in samples() {
        let Some(decoded) = sample
            .decoded
            .filter(|decoded| methods.contains(&decoded["method"].as_str().unwrap_or("")))
        else {
            continue;
        };
        let read = command(body);
        assert_eq!(read.method(), decoded["method"], "{name}");
        let (namespace, room) = match &read {
            Command::EnterRoom(membership) | Command::LeaveRoom(membership) => {
                assert_eq!(membership.sid, decoded["sid"], "{name}");
                (&membership.namespace, &membership.room)
            }
            Command::CloseRoom { namespace, room } => (namespace, room),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(
            (&decoded["namespace"], &decoded["room"]),
            (&(&**namespace).into(), &room.as_str().into()),
            "{name}"
        );
        seen += 1;
    }
    assert!(seen >= 10, "{seen}");
}

/// What is read from the newest python-socketio and written again is the same to the byte.
#[test]
fn messages_are_written_as_python_socketio_writes_them() {
    let differ = [
        // A lone null is no argument, a number names a room by its digits, and NaN is no JSON.
        "py-redis__emit_none.json",
        "py-redis__emit_room_int.json",
        "py-redis__emit_nan.json",
    ];
    let mut same = 0;
    for (name, (sample, body)) in samples() {
        if !sample.producer.contains("5.18.1") || differ.contains(&name.as_str()) {
            continue;
        }
        let written = wire().encode(&wire().decode(body.clone()).unwrap()).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&written),
            String::from_utf8_lossy(&body),
            "{name}"
        );
        same += 1;
    }
    assert!(same > 25, "{same}");
}

#[test]
fn pickles_are_refused() {
    let mut seen = 0;
    for (name, (sample, body)) in samples() {
        if sample.producer.contains("5.13") {
            assert_eq!(wire().decode(body), Err(WireError::Pickle), "{name}");
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
}
