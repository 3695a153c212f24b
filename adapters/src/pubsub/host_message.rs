//! What Hallporter hosts tell each other beside the wire, as JSON on topics of their own.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::presence::UserMessage;
use crate::envelope::{Call, Event, Reply, encode_args};
use crate::{Ack, Args, SocketInfo, Target};

/// The topics that only Hallporter hosts listen on.
#[derive(Debug)]
pub(super) struct HostTopics {
    /// For all of them.
    pub(super) all: String,
    /// For those that hold sockets. As many listen on it as Hallporter hosts listen on the wire's topics.
    pub(super) gateways: String,
    /// For this one.
    pub(super) own: String,
}

impl HostTopics {
    pub(super) fn new(channel: &str, host_id: &str) -> Self {
        let all = format!("{channel}.hallporter");
        let gateways = format!("{all}.gateways");
        let own = format!("{all}.{host_id}");
        Self { all, gateways, own }
    }

    pub(super) fn of(&self, host_id: &str) -> String {
        format!("{}.{host_id}", self.all)
    }

    pub(super) fn contain(&self, topic: &[u8]) -> bool {
        [&self.all, &self.gateways, &self.own]
            .iter()
            .any(|its| its.as_bytes() == topic)
    }

    /// Whether this can be the topic of a host: others tell where they want to be answered.
    pub(super) fn is_of_a_host(&self, topic: &str) -> bool {
        let host_id = topic.strip_prefix(&self.all).and_then(|rest| rest.strip_prefix('.'));
        host_id.is_some_and(super::is_ours)
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
    /// An instance is there: a gateway, or a worker that holds no sockets. Sent again and again; it is the canary of a worker.
    Instance {
        host: String,
        id: String,
        #[serde(rename = "type")]
        kind: String,
        /// How long ago it started, in milliseconds.
        #[serde(default)]
        age: u64,
    },
    /// An event of a client, for the code of this instance alone.
    Event(Box<Event>),
    /// Calls a method of this instance.
    Call(Box<Call>),
    /// The answer to an event or a call.
    Reply(Box<Reply>),
    /// To so many sockets of this host an emit that asked for a receipt was delivered.
    Receipt { host: String, id: u64, sockets: usize },
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

    /// As [`Reply`](Self::Reply) is, without owning it.
    pub(super) fn encode_reply(reply: &Reply) -> Bytes {
        #[derive(Serialize)]
        struct Message<'a> {
            reply: &'a Reply,
        }
        Bytes::from(serde_json::to_vec(&Message { reply }).unwrap_or_default())
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}
