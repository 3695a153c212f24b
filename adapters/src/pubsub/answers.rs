//! Passing on the acks of clients to the host that asked.

use std::sync::Arc;

use metrics::counter;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Shared;
use super::host_message::HostMessage;
use crate::broker::Broker;
use crate::wire::{Callback, Message, Wire};
use crate::{Ack, metric};

/// The way back for the acks to an emit of another host.
pub(super) struct Answers<B, W> {
    pub(super) shared: Arc<Shared<B, W>>,
    pub(super) asker: String,
    pub(super) callback: Callback,
    pub(super) _permit: OwnedSemaphorePermit,
}

impl<B: Broker, W: Wire> Answers<B, W> {
    pub(super) async fn answer_host(self, id: u64, count: usize, mut acks: mpsc::Receiver<Ack>) {
        let host = self.shared.host_id.clone();
        let expect = HostMessage::Expect { host, id, count };
        self.shared.tell(&self.asker, &expect).await;
        let mut left = count;
        while let Some(ack) = acks.recv().await {
            left = left.saturating_sub(1);
            match HostMessage::ack(id, &ack) {
                Ok(message) => drop(self.shared.tell(&self.asker, &message).await),
                Err(_) => counter!(metric::ACKS_DROPPED, "reason" => "not_json").increment(1),
            }
        }
        if left > 0 {
            self.shared
                .tell(&self.asker, &HostMessage::Lost { id, count: left })
                .await;
        }
    }

    pub(super) async fn answer_foreign_host(self, mut acks: mpsc::Receiver<Ack>) {
        while let Some(Ack { args, .. }) = acks.recv().await {
            let message = Message::Callback {
                host_id: self.asker.clone(),
                callback: self.callback.clone(),
                args,
            };
            if let Err(error) = self.shared.publish(&message).await {
                tracing::debug!(%error, "an ack did not reach its host, which will time out");
            }
        }
    }
}

pub(super) fn callback_id(callback: &Callback) -> Option<u64> {
    callback.id.parse().ok()
}
