//! Writing, as python-socketio 5.15.1 and later does.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use crate::wire::{Callback, Message};
use crate::{Args, Command, Emit, Membership};

pub(super) fn encode(message: &Message) -> Option<Bytes> {
    let mut out = Object::default();
    match message {
        Message::Command {
            host_id,
            command,
            callback,
            receipt,
        } => {
            out.text("method", command.method());
            match command {
                Command::Emit(emit) => write_emit(&mut out, emit, callback.as_ref(), *receipt)?,
                Command::EnterRoom(membership) | Command::LeaveRoom(membership) => {
                    write_membership(&mut out, membership)
                }
                Command::CloseRoom { namespace, room } => {
                    out.text("room", room);
                    out.text("namespace", namespace);
                }
                Command::Disconnect {
                    namespace,
                    sid,
                    connection,
                } => {
                    out.text("sid", sid);
                    out.text("namespace", namespace);
                    if *connection {
                        out.raw("hallporter", r#"{"connection": true}"#);
                    }
                }
            }
            if let Some(host_id) = host_id {
                out.text("host_id", host_id);
            }
        }
        Message::Callback {
            host_id,
            callback,
            args,
        } => {
            // python-socketio has no form for binary acks, and would misread any.
            if !args.attachments().is_empty() {
                return None;
            }
            out.text("method", "callback");
            out.text("host_id", host_id);
            out.raw("sid", &callback.token);
            out.text("namespace", &callback.namespace);
            out.raw("id", &callback.id);
            out.raw("args", &args.to_json_array());
        }
    }
    Some(out.finish())
}

fn write_emit(out: &mut Object, emit: &Emit, callback: Option<&Callback>, receipt: Option<u64>) -> Option<()> {
    out.raw("event", emit.event.as_json());
    out.key("data");
    write_data(&mut out.text, &emit.args);
    out.raw(
        "binary",
        if emit.args.attachments().is_empty() {
            "false"
        } else {
            "true"
        },
    );
    out.text("namespace", &emit.namespace);
    match emit.target.rooms.as_deref() {
        None => out.raw("room", "null"),
        // python-socketio raises on an empty list; nobody is meant anyway.
        Some([]) => return None,
        Some(rooms) => out.one_or_more("room", rooms),
    }
    match emit.target.except.as_slice() {
        [] => out.raw("skip_sid", "null"),
        sids => out.one_or_more("skip_sid", sids),
    }
    match callback {
        None => out.raw("callback", "null"),
        Some(Callback { token, namespace, id }) => {
            let namespace = quoted(namespace);
            out.raw("callback", &format!("[{token}, {namespace}, {id}]"));
        }
    }
    // What the format lacks. Foreign hosts pass over a key they do not know.
    let (volatile, null) = (emit.volatile, emit.args.as_json() == "null");
    if volatile || null || receipt.is_some() {
        let receipt = receipt.map_or_else(String::new, |id| format!(r#", "receipt": {id}"#));
        out.raw(
            "hallporter",
            &format!(r#"{{"volatile": {volatile}, "null": {null}{receipt}}}"#),
        );
    }
    Some(())
}

fn write_membership(out: &mut Object, membership: &Membership) {
    out.text("sid", &membership.sid);
    out.text("room", &membership.room);
    out.text("namespace", &membership.namespace);
}

/// The array of arguments, or that array followed by its attachments in base64.
fn write_data(out: &mut String, args: &Args) {
    let binary = !args.attachments().is_empty();
    out.push_str(if binary { "[[" } else { "[" });
    out.push_str(args.as_json());
    if binary {
        out.push(']');
        for attachment in args.attachments() {
            out.push_str(", \"");
            BASE64_STANDARD.encode_string(attachment, out);
            out.push('"');
        }
    }
    out.push(']');
}

/// A JSON string, with everything beyond ASCII as escapes, as Python's `json.dumps` writes it.
fn quoted(text: &str) -> String {
    let mut quoted = serde_json::Value::from(text).to_string();
    if !quoted.is_ascii() {
        let mut ascii = String::with_capacity(quoted.len() * 2);
        for char in quoted.chars() {
            match char.is_ascii() {
                true => ascii.push(char),
                false => ascii.extend(
                    char.encode_utf16(&mut [0; 2])
                        .iter()
                        .map(|unit| format!("\\u{unit:04x}")),
                ),
            }
        }
        quoted = ascii;
    }
    quoted
}

/// A JSON object being written.
struct Object {
    text: String,
}

impl Default for Object {
    fn default() -> Self {
        Self {
            text: String::with_capacity(256),
        }
    }
}

impl Object {
    fn key(&mut self, key: &str) {
        self.text.push_str(if self.text.is_empty() { "{\"" } else { ", \"" });
        self.text.push_str(key);
        self.text.push_str("\": ");
    }

    fn raw(&mut self, key: &str, json: &str) {
        self.key(key);
        self.text.push_str(json);
    }

    fn text(&mut self, key: &str, value: &str) {
        self.raw(key, &quoted(value));
    }

    fn one_or_more(&mut self, key: &str, values: &[String]) {
        match values {
            [one] => self.text(key, one),
            more => {
                let quoted: Vec<String> = more.iter().map(|name| quoted(name)).collect();
                self.raw(key, &format!("[{}]", quoted.join(", ")));
            }
        }
    }

    fn finish(mut self) -> Bytes {
        self.text.push('}');
        Bytes::from(self.text)
    }
}
