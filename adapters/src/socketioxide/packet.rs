//! Between socketioxide's packets and ours. Both hold the same text; nothing is parsed.

use std::collections::VecDeque;

use socketioxide_core::packet::{Packet, PacketData};
use socketioxide_core::{Str, Value};

use crate::{Args, ArgsError, Emit, EventName};

/// The name and arguments of an event packet; `None` for another packet, or one of another parser.
pub(super) fn event(packet: &Packet) -> Option<(EventName, Args)> {
    let (PacketData::Event(value, _) | PacketData::BinaryEvent(value, _)) = &packet.inner else {
        return None;
    };
    args(value).ok()?.split_event()
}

/// The event packet of an emit.
pub(super) fn packet(emit: &Emit) -> Packet {
    let name = emit.event.as_json();
    let separator = if emit.args.is_empty() { "" } else { "," };
    let text = format!("[{name}{separator}{}]", emit.args.as_json());
    Packet::event(
        Str::copy_from_slice(&emit.namespace),
        with_attachments(text, &emit.args),
    )
}

/// Arguments as socketioxide's common parser keeps them: the text of an array, and attachments.
pub fn value(args: &Args) -> Value {
    with_attachments(args.to_json_array(), args)
}

fn with_attachments(text: String, args: &Args) -> Value {
    let attachments: VecDeque<_> = args.attachments().iter().cloned().collect();
    Value::Str(Str::from(text), (!attachments.is_empty()).then_some(attachments))
}

/// Arguments out of what socketioxide's common parser keeps.
///
/// # Errors
/// When a client sent what is no JSON array, or the value is of another parser.
pub fn args(value: &Value) -> Result<Args, ArgsError> {
    match value {
        Value::Str(text, attachments) => Args::from_json_array(text, attachments.iter().flatten().cloned().collect()),
        Value::Bytes(_) => Err(ArgsError::NotAnArray),
    }
}
