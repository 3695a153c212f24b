//! Replies that are remembered, for events that come again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hallporter_adapters::envelope::Reply;

/// The newest replies, by the id of the event.
#[derive(Debug)]
pub(super) struct Answered {
    replies: HashMap<String, Arc<Reply>>,
    order: VecDeque<String>,
    bytes: usize,
    limit: usize,
}

/// Replies that are remembered at most.
const MAX_REPLIES: usize = 4096;

impl Answered {
    /// Remembers about so many bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            replies: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            limit,
        }
    }

    pub(super) fn get(&self, event: &str) -> Option<Arc<Reply>> {
        self.replies.get(event).cloned()
    }

    pub(super) fn insert(&mut self, event: String, reply: Arc<Reply>) {
        self.bytes += size(&event, &reply);
        if let Some(before) = self.replies.insert(event.clone(), reply) {
            self.bytes -= size(&event, &before);
        } else {
            self.order.push_back(event);
        }
        while (self.bytes > self.limit || self.order.len() > MAX_REPLIES)
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(reply) = self.replies.remove(&oldest) {
                self.bytes -= size(&oldest, &reply);
            }
        }
    }
}

/// About what a reply takes: what may be large is counted.
fn size(event: &str, reply: &Reply) -> usize {
    let texts = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
    let emits = reply.emits.iter().map(|emit| {
        let args = emit.args.as_ref().map_or(0, |args| args.get().len());
        let rooms = emit.rooms.as_deref().map_or(0, texts) + emit.users.as_deref().map_or(0, texts);
        128 + args + rooms + texts(&emit.attachments)
    });
    let session = reply
        .session
        .as_ref()
        .map_or(0, |change| serde_json::to_vec(&change.set).map_or(0, |json| json.len()));
    let ack = reply.ack.as_ref().map_or(0, |ack| ack.get().len());
    512 + 2 * event.len() + ack + texts(&reply.attachments) + emits.sum::<usize>() + session
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn reply(ack: &str) -> Arc<Reply> {
        let ack = Some(RawValue::from_string(format!("[{ack:?}]")).unwrap());
        Arc::new(Reply {
            ack,
            ..Reply::default()
        })
    }

    #[test]
    fn the_oldest_are_forgotten_for_the_newest() {
        let mut answered = Answered::new(20_000);
        answered.insert("0".into(), reply("small"));
        assert!(answered.get("0").is_some());
        for number in 1..=10 {
            answered.insert(number.to_string(), reply(&"x".repeat(5_000)));
        }
        assert!(answered.get("0").is_none() && answered.get("7").is_none());
        assert!(answered.get("8").is_some() && answered.get("10").is_some());
        assert!(answered.bytes <= 20_000 && answered.order.len() == answered.replies.len());
        // One that came again counts once.
        answered.insert("10".into(), reply("small"));
        answered.insert("10".into(), reply("small"));
        assert_eq!(answered.order.len(), 3);
        answered.insert("huge".into(), reply(&"x".repeat(50_000)));
        assert_eq!((answered.bytes, answered.replies.len()), (0, 0));
    }
}
