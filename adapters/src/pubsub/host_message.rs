//! What Hallporter hosts tell each other beside the wire, as JSON on topics of their own.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

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
    Alive { host: String },
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
    /// One of them answered.
    Ack {
        id: u64,
        sid: Option<String>,
        args: Box<RawValue>,
        attachments: Vec<String>,
    },
}

impl HostMessage {
    /// # Errors
    /// When the arguments are not JSON, which an engine that checks them never hands out.
    pub(super) fn ack(id: u64, ack: &Ack) -> Result<Self, serde_json::Error> {
        Ok(Self::Ack {
            id,
            sid: ack.sid.clone(),
            args: RawValue::from_string(ack.args.to_json_array())?,
            attachments: ack
                .args
                .attachments()
                .iter()
                .map(|bytes| BASE64_STANDARD.encode(bytes))
                .collect(),
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

/// The arguments of an ack as they came; `None` when an attachment is not base64.
pub(super) fn ack_args(args: &RawValue, attachments: &[String]) -> Option<Args> {
    let attachments = attachments
        .iter()
        .map(|text| BASE64_STANDARD.decode(text).map(Bytes::from));
    let attachments = attachments.collect::<Result<Vec<_>, _>>().ok()?;
    Args::from_json_array(args.get(), attachments).ok()
}
