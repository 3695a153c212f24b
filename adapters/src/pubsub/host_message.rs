//! What Hallporter hosts tell each other beside the wire, as JSON on topics of their own.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::presence::UserMessage;
use crate::{Ack, Args, SocketInfo, Target};

/// The topics that only Hallporter hosts listen on.
#[derive(Debug)]
pub(super) struct HostTopics {
    /// For all of them.
    pub(super) all: String,
    /// For this one.
    pub(super) own: String,
}

impl HostTopics {
    pub(super) fn new(channel: &str, host_id: &str) -> Self {
        let all = format!("{channel}.hallporter");
        let own = format!("{all}.{host_id}");
        Self { all, own }
    }

    pub(super) fn of(&self, host_id: &str) -> String {
        format!("{}.{host_id}", self.all)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HostMessage {
    /// The host is there. Sent again and again; the sender hears it too, and so knows that it hears.
    Alive {
        host: String,
        #[serde(flatten)]
        digest: Digest,
    },
    /// The host is leaving.
    Gone { host: String },
    /// Which sockets does everyone have?
    Sockets {
        host: String,
        id: u64,
        namespace: String,
        target: Target,
    },
    /// These, and more to come or not.
    SocketsAre {
        host: String,
        id: u64,
        sockets: Vec<SocketInfo>,
        more: bool,
    },
    /// So many clients of this host were asked for an ack.
    Expect { host: String, id: u64, count: usize },
    /// So many of them have gone without an answer, or taken too long.
    Lost { id: u64, count: usize },
    /// One of them answered.
    Ack {
        id: u64,
        sid: Option<String>,
        args: Box<RawValue>,
        attachments: Vec<String>,
    },
    /// Something about users.
    Users(UserMessage),
    /// An event for the code of all other hosts.
    ServerSideEvent {
        host: String,
        namespace: String,
        event: String,
        args: Box<RawValue>,
        attachments: Vec<String>,
    },
}

/// What a heartbeat tells beside that its host is alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Digest {
    /// Which host leads: the lowest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rank: Option<u64>,
    /// The number of the newest changes of users that the host has told.
    pub(super) users: u64,
    /// The largest stamp that it has seen.
    pub(super) stamp: u64,
}

impl HostMessage {
    /// # Errors
    /// When the arguments are not JSON, which an engine that checks them never hands out.
    pub(super) fn ack(id: u64, ack: &Ack) -> Result<Self, serde_json::Error> {
        let (args, attachments) = encode_args(&ack.args)?;
        Ok(Self::Ack {
            id,
            sid: ack.sid.clone(),
            args,
            attachments,
        })
    }

    /// # Errors
    /// As [`ack`](Self::ack).
    pub(super) fn server_side_event(
        host: &str,
        namespace: &str,
        event: &str,
        args: &Args,
    ) -> Result<Self, serde_json::Error> {
        let (args, attachments) = encode_args(args)?;
        Ok(Self::ServerSideEvent {
            host: host.to_owned(),
            namespace: namespace.to_owned(),
            event: event.to_owned(),
            args,
            attachments,
        })
    }

    pub(super) fn encode(&self) -> Bytes {
        // Strings, numbers and JSON that was checked: nothing in it can fail.
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}

fn encode_args(args: &Args) -> Result<(Box<RawValue>, Vec<String>), serde_json::Error> {
    let attachments = args.attachments().iter().map(|bytes| BASE64_STANDARD.encode(bytes));
    Ok((RawValue::from_string(args.to_json_array())?, attachments.collect()))
}

/// Arguments as they came; `None` when an attachment is not base64.
pub(super) fn decode_args(args: &RawValue, attachments: &[String]) -> Option<Args> {
    let attachments = attachments
        .iter()
        .map(|text| BASE64_STANDARD.decode(text).map(Bytes::from));
    let attachments = attachments.collect::<Result<Vec<_>, _>>().ok()?;
    Args::from_json_array(args.get(), attachments).ok()
}
