//! Reading, as python-socketio 5.18 does, but trusting nothing.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::args::MAX_DEPTH;
use crate::json;
use crate::wire::{Callback, Message, WireError, repair};
use crate::{Args, ArgsError, Command, Emit, EventName, Membership, Target};

/// Opcode PROTO, with which every pickle of protocol 2 and later begins.
const PICKLE: u8 = 0x80;

/// The levels of a message around the arguments: the object, `data`, and the array inside it when there are attachments.
const ENVELOPE: usize = 3;

pub(super) fn decode(body: Bytes) -> Result<Message, WireError> {
    if body.first() == Some(&PICKLE) {
        return Err(WireError::Pickle);
    }
    let text = repair::text_of(body).ok_or(WireError::NotText)?;
    if json::deeper_than(MAX_DEPTH + ENVELOPE, &text) {
        return Err(ArgsError::TooDeep.into());
    }
    match serde_json::from_str(&text) {
        Ok(fields) => read(&text, fields),
        Err(error) => match repair::replace_non_finite(&text).map(ByteString::from) {
            None => Err(not_json(&error)),
            Some(repaired) => match serde_json::from_str(&repaired) {
                Ok(fields) => read(&repaired, fields),
                Err(error) => Err(not_json(&error)),
            },
        },
    }
}

fn not_json(error: &serde_json::Error) -> WireError {
    WireError::NotJson(error.to_string())
}

/// Everything a message may hold, as text; `None` where the key is missing or null.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    event: Option<&'a RawValue>,
    /// An explicit null is data, unlike a missing key.
    #[serde(default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    binary: Option<&'a RawValue>,
    namespace: Option<&'a RawValue>,
    room: Option<&'a RawValue>,
    skip_sid: Option<&'a RawValue>,
    callback: Option<&'a RawValue>,
    host_id: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "present")]
    sid: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    args: Option<&'a RawValue>,
    hallporter: Option<&'a RawValue>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// What a message says beyond python-socketio's format: an emit the first two, a disconnect the last.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Extension {
    volatile: bool,
    null: bool,
    connection: bool,
    receipt: Option<u64>,
}

fn read(source: &ByteString, fields: Fields<'_>) -> Result<Message, WireError> {
    let method = text("method", fields.method)?;
    if method == "callback" {
        return Ok(Message::Callback {
            host_id: text("host_id", fields.host_id)?.into_owned(),
            callback: Callback {
                token: slice(source, required("sid", fields.sid)?),
                namespace: namespace(fields.namespace).unwrap_or_else(|_| "/".into()),
                id: slice(source, required("id", fields.id)?),
            },
            args: array("args", source, required("args", fields.args)?)?,
        });
    }
    let extension = extension(&fields)?;
    let command = match method.as_ref() {
        "emit" => Command::Emit(emit(source, &fields, &extension)?),
        "enter_room" => Command::EnterRoom(membership(&fields)?),
        "leave_room" => Command::LeaveRoom(membership(&fields)?),
        "close_room" => Command::CloseRoom {
            namespace: namespace(fields.namespace)?,
            room: room(&fields)?,
        },
        "disconnect" => Command::Disconnect {
            // The one method python-socketio carries out without a namespace.
            namespace: fields.namespace.map_or(Ok("/".into()), |raw| namespace(Some(raw)))?,
            sid: text("sid", fields.sid)?.into_owned(),
            connection: extension.connection,
        },
        other => return Err(WireError::UnknownMethod(other.chars().take(64).collect())),
    };
    Ok(Message::Command {
        host_id: fields
            .host_id
            .map(|raw| text("host_id", Some(raw)))
            .transpose()?
            .map(Cow::into_owned),
        callback: callback(source, fields.callback)?,
        command,
        receipt: extension.receipt,
    })
}

fn emit(source: &ByteString, fields: &Fields<'_>, extension: &Extension) -> Result<Emit, WireError> {
    let event = required("event", fields.event)?;
    if !event.get().starts_with('"') {
        return Err(wrong("event", "must be a string"));
    }
    let data = required("data", fields.data)?;
    let args = match fields.binary.map(RawValue::get) {
        None | Some("null" | "false") => values(source, data.get()),
        Some("true") => binary(source, data)?,
        Some(_) => return Err(wrong("binary", "must be true or false")),
    };
    Ok(Emit {
        namespace: namespace(fields.namespace)?,
        target: Target {
            rooms: one_or_more("room", fields.room)?,
            except: one_or_more("skip_sid", fields.skip_sid)?.unwrap_or_default(),
        },
        event: EventName::from_valid_json(slice(source, event)),
        // A lone null means no argument; that of a Hallporter host means null.
        args: if args.as_json() == "null" && !extension.null {
            Args::none()
        } else {
            args
        },
        volatile: extension.volatile,
    })
}

fn extension(fields: &Fields<'_>) -> Result<Extension, WireError> {
    fields.hallporter.map_or(Ok(Extension::default()), |raw| {
        serde_json::from_str(raw.get()).map_err(|_| wrong("hallporter", "is not understood"))
    })
}

/// An array is the arguments, and anything else the only one, as up to 5.15.0.
fn values(source: &ByteString, data: &str) -> Args {
    match data.starts_with('[') {
        true => Args::from_valid_array(source.slice_ref(data)),
        false => Args::from_valid_value(source.slice_ref(data)),
    }
}

/// The arguments followed by their attachments in base64.
fn binary(source: &ByteString, data: &RawValue) -> Result<Args, WireError> {
    let parts: Vec<&RawValue> =
        serde_json::from_str(data.get()).map_err(|_| wrong("data", "must be an array when binary is true"))?;
    let Some((args, encoded)) = parts.split_first() else {
        return Err(wrong("data", "must not be empty when binary is true"));
    };
    let attachments = encoded.iter().map(|raw| {
        let text: Cow<'_, str> = text("data", Some(raw))?;
        let bytes = BASE64_STANDARD.decode(text.as_bytes());
        bytes
            .map(Bytes::from)
            .map_err(|_| wrong("data", "holds an attachment that is not base64"))
    });
    let attachments: Vec<Bytes> = attachments.collect::<Result<_, _>>()?;
    Ok(values(source, args.get()).with_attachments(attachments)?)
}

fn membership(fields: &Fields<'_>) -> Result<Membership, WireError> {
    Ok(Membership {
        namespace: namespace(fields.namespace)?,
        sid: text("sid", fields.sid)?.into_owned(),
        room: room(fields)?,
    })
}

/// `[token, namespace, id]`; of any other length it is not one, and nobody waits.
fn callback(source: &ByteString, raw: Option<&RawValue>) -> Result<Option<Callback>, WireError> {
    let Some(raw) = raw else { return Ok(None) };
    let parts: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|_| wrong("callback", "must be an array"))?;
    match parts.as_slice() {
        [token, name, id] => Ok(Some(Callback {
            token: slice(source, token),
            namespace: namespace(Some(name))?,
            id: slice(source, id),
        })),
        _ => Ok(None),
    }
}

fn wrong(field: &'static str, problem: &'static str) -> WireError {
    WireError::Field { field, problem }
}

fn slice(source: &ByteString, raw: &RawValue) -> ByteString {
    source.slice_ref(raw.get())
}

fn required<'a>(field: &'static str, raw: Option<&'a RawValue>) -> Result<&'a RawValue, WireError> {
    raw.ok_or_else(|| wrong(field, "is missing"))
}

fn text<'a>(field: &'static str, raw: Option<&'a RawValue>) -> Result<Cow<'a, str>, WireError> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let raw = required(field, raw)?;
    let text: Text<'a> = serde_json::from_str(raw.get()).map_err(|_| wrong(field, "must be a string"))?;
    Ok(text.0)
}

fn namespace(raw: Option<&RawValue>) -> Result<ByteString, WireError> {
    Ok(ByteString::from(text("namespace", raw)?.into_owned()))
}

fn array(field: &'static str, source: &ByteString, raw: &RawValue) -> Result<Args, WireError> {
    match raw.get().starts_with('[') {
        true => Ok(Args::from_valid_array(slice(source, raw))),
        false => Err(wrong(field, "must be an array")),
    }
}

fn room(fields: &Fields<'_>) -> Result<String, WireError> {
    match one_or_more("room", fields.room)?.map(<[String; 1]>::try_from) {
        Some(Ok([room])) => Ok(room),
        _ => Err(wrong("room", "must be one room")),
    }
}

/// A string, a number (known by its digits) or several of them; null or nothing is `None`.
fn one_or_more(field: &'static str, raw: Option<&RawValue>) -> Result<Option<Vec<String>>, WireError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Name {
        Text(String),
        Number(serde_json::Number),
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        One(Name),
        More(Vec<Name>),
    }
    let Some(raw) = raw else { return Ok(None) };
    let names = match serde_json::from_str(raw.get()) {
        Ok(Names::One(name)) => vec![name],
        Ok(Names::More(names)) if !names.is_empty() || field != "room" => names,
        Ok(Names::More(_)) => return Err(wrong(field, "must not be an empty array")),
        Err(_) => {
            return Err(wrong(field, "must be null, a string, a number or an array of them"));
        }
    };
    Ok(Some(
        names
            .into_iter()
            .map(|name| match name {
                Name::Text(text) => text,
                Name::Number(number) => number.to_string(),
            })
            .collect(),
    ))
}
