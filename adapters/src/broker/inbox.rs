//! What waits between a connection and who listens, bounded in bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::Stream;
use metrics::counter;
use tokio::sync::mpsc;

use super::Delivery;
use crate::metric;

/// Bytes a listener may be behind before messages are dropped (and counted).
const LISTEN_BUFFER: usize = 64 << 20;

/// What a message takes beside its topic and body, in bytes: even empty ones fill the memory some time.
const OVERHEAD: usize = 256;

/// Where a connection puts messages without ever waiting. The stream ends once this value is gone.
pub(super) struct Inbox {
    sender: mpsc::UnboundedSender<Option<Delivery>>,
    behind: Arc<AtomicUsize>,
}

/// What a listener reads.
pub(super) struct Messages {
    receiver: mpsc::UnboundedReceiver<Option<Delivery>>,
    behind: Arc<AtomicUsize>,
}

/// Both ends of an empty inbox.
pub(super) fn inbox() -> (Inbox, Messages) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let behind = Arc::new(AtomicUsize::new(0));
    let inbox = Inbox {
        sender,
        behind: behind.clone(),
    };
    (inbox, Messages { receiver, behind })
}

impl Inbox {
    /// Takes a message over, or drops it when the listener is too far behind.
    pub(super) fn take(&self, delivery: Delivery) {
        let size = cost(&delivery);
        if self.behind.fetch_add(size, Ordering::Relaxed) + size > LISTEN_BUFFER {
            self.behind.fetch_sub(size, Ordering::Relaxed);
            counter!(metric::BROKER_DROPPED, "reason" => "listen_buffer_full").increment(1);
            return;
        }
        // Whoever does not listen any more needs no message.
        let _ = self.sender.send(Some(delivery));
    }

    /// Ends the stream behind what was taken, for those who cannot let go of the inbox.
    #[cfg(feature = "redis")]
    pub(super) fn end(&self) {
        let _ = self.sender.send(None);
    }

    /// Returns when nobody listens any more.
    #[cfg(feature = "nats")]
    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }
}

impl Stream for Messages {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.receiver.poll_recv(context).map(|item| {
            let delivery = item.flatten()?;
            self.behind.fetch_sub(cost(&delivery), Ordering::Relaxed);
            Some(delivery)
        })
    }
}

const fn cost(delivery: &Delivery) -> usize {
    delivery.topic.len() + delivery.body.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::{FutureExt, StreamExt};

    use super::*;

    #[test]
    fn a_listener_that_is_behind_is_bounded_even_in_empty_messages() {
        let (inbox, messages) = inbox();
        let most = LISTEN_BUFFER / OVERHEAD;
        let empty = Delivery {
            topic: Bytes::new(),
            body: Bytes::new(),
        };
        for _ in 0..=most {
            inbox.take(empty.clone());
        }
        drop(inbox);
        assert_eq!(messages.count().now_or_never(), Some(most));
    }

    #[test]
    fn a_listener_that_has_caught_up_has_room_again() {
        let (inbox, mut messages) = inbox();
        let large = Delivery {
            topic: Bytes::new(),
            body: vec![0; LISTEN_BUFFER - OVERHEAD].into(),
        };
        for _ in 0..3 {
            inbox.take(large.clone());
            assert!(messages.next().now_or_never().flatten().is_some());
        }
    }
}
