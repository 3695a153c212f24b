//! How packets are written and read: as JSON, or as msgpack where `engine.parser` says so.

use hallporter_adapters::{Args, EventName};
use serde_json::json;

use super::assembly::{Assembly, AssemblyLimits};
use super::msgpack;
use super::packet::{self, NotAPacket, Packet};
use crate::Refusal;
use crate::config::Parser;
use crate::engine::{Outgoing, Protocol};

/// The parser of a gateway.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codec(pub(super) Parser);

impl Codec {
    /// Takes a text message; `None` while attachments are to come.
    pub(super) fn text(
        self,
        text: &str,
        assembly: &mut Assembly,
        limits: &AssemblyLimits,
    ) -> Result<Option<Packet>, NotAPacket> {
        match self.0 {
            Parser::Json => assembly.text(text, limits),
            Parser::Msgpack => msgpack::decode_json(text).map(Some),
        }
    }

    /// Takes a binary message; `None` while attachments are to come.
    pub(super) fn binary(
        self,
        data: &[u8],
        assembly: &mut Assembly,
        limits: &AssemblyLimits,
    ) -> Result<Option<Packet>, NotAPacket> {
        match self.0 {
            Parser::Json => assembly.binary(data, limits),
            Parser::Msgpack => msgpack::decode(data).map(Some),
        }
    }

    /// An event for clients.
    pub(super) fn event(self, namespace: &str, ack: Option<u64>, name: &EventName, args: &Args) -> Outgoing {
        match self.0 {
            Parser::Json => packet::event(namespace, ack, name, args),
            Parser::Msgpack => msgpack::event(namespace, ack, name, args),
        }
    }

    /// The answer to an event of a client.
    pub(super) fn ack(self, namespace: &str, id: u64, args: &Args) -> Outgoing {
        match self.0 {
            Parser::Json => packet::ack(namespace, id, args),
            Parser::Msgpack => msgpack::ack(namespace, id, args),
        }
    }

    /// The client is connected. Protocol 4 tells no sid.
    pub(super) fn connect(self, namespace: &str, sid: &str, protocol: Protocol) -> Outgoing {
        let payload = match protocol {
            Protocol::V4 => json!({"sid": sid}).to_string(),
            Protocol::V3 => String::new(),
        };
        self.other(packet::CONNECT, namespace, &payload)
    }

    /// The client may not connect.
    pub(super) fn connect_error(self, namespace: &str, refusal: &Refusal, protocol: Protocol) -> Outgoing {
        let payload = match protocol {
            Protocol::V4 => refusal.to_json(),
            Protocol::V3 => refusal.to_json_v4(),
        };
        self.other(packet::CONNECT_ERROR, namespace, &payload)
    }

    /// The client is disconnected from the namespace.
    pub(super) fn disconnect(self, namespace: &str) -> Outgoing {
        self.other(packet::DISCONNECT, namespace, "")
    }

    fn other(self, kind: u8, namespace: &str, payload: &str) -> Outgoing {
        match self.0 {
            Parser::Json => packet::other(kind, namespace, payload),
            Parser::Msgpack => msgpack::other(kind, namespace, payload),
        }
    }
}
