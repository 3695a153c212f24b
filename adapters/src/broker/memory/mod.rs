//! No broker: hosts of one process, joined by queues.

mod work_queue;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{BoxStream, poll_fn};
use tokio::sync::mpsc;

use super::{Broker, BrokerError, Delivery, QueueLimits, Task, dead_name};
use work_queue::WorkQueue;

/// Messages a listener may be behind before publishers wait for it.
const QUEUE: usize = 1024;

/// The [`Broker`] of a process that needs no other: one gateway alone, or several in a test.
#[derive(Debug)]
pub struct MemoryBroker {
    hub: Arc<MemoryHub>,
    limits: QueueLimits,
}

impl MemoryBroker {
    /// A host on this hub.
    pub fn new(hub: Arc<MemoryHub>) -> Self {
        let limits = QueueLimits::default();
        Self { hub, limits }
    }

    /// For tests, which cannot wait for the real ones.
    #[doc(hidden)]
    #[must_use]
    pub fn with_queue_limits(self, limits: QueueLimits) -> Self {
        Self { limits, ..self }
    }
}

/// What memory brokers have in common: the listeners of each topic, and the queues.
#[derive(Debug, Default)]
pub struct MemoryHub {
    listeners: Mutex<HashMap<String, Vec<mpsc::Sender<Delivery>>>>,
    /// By name. Names are those of groups, which are configured.
    queues: Mutex<HashMap<String, Arc<WorkQueue>>>,
}

impl MemoryHub {
    fn listeners(&self, topic: &str) -> Vec<mpsc::Sender<Delivery>> {
        let mut topics = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(listeners) = topics.get_mut(topic) else {
            return Vec::new();
        };
        listeners.retain(|listener| !listener.is_closed());
        let remaining = listeners.clone();
        if remaining.is_empty() {
            topics.remove(topic);
        }
        remaining
    }

    fn queue(&self, name: &str) -> Arc<WorkQueue> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.entry(name.to_owned()).or_default().clone()
    }
}

impl Broker for MemoryBroker {
    fn url(&self) -> &str {
        "memory://"
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn publish(&self, topic: &str, body: Bytes) -> Result<(), BrokerError> {
        for listener in self.hub.listeners(topic) {
            let topic = Bytes::copy_from_slice(topic.as_bytes());
            let body = body.clone();
            // A listener that has gone needs no message.
            let _ = listener.send(Delivery { topic, body }).await;
        }
        Ok(())
    }

    async fn listeners(&self, topics: [&str; 2]) -> Option<[usize; 2]> {
        Some(topics.map(|topic| self.hub.listeners(topic).len()))
    }

    fn is_alone(&self, topic: &str) -> bool {
        self.hub.listeners(topic).len() == 1
    }

    async fn listen(
        &self,
        topics: &[String],
    ) -> Result<impl Stream<Item = Delivery> + Send + Unpin + 'static, BrokerError> {
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        let mut listeners = self.hub.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        // A host's own topic goes with it, and nobody publishes on it any more.
        listeners.retain(|_, senders| {
            senders.retain(|sender| !sender.is_closed());
            !senders.is_empty()
        });
        for topic in topics {
            listeners.entry(topic.clone()).or_default().push(sender.clone());
        }
        Ok(poll_fn(move |context| receiver.poll_recv(context)))
    }

    async fn put(&self, queue: &str, body: Bytes) -> Result<(), BrokerError> {
        self.hub.queue(queue).put(body, self.limits.length)
    }

    async fn take(&self, queue: &str, in_hand: usize) -> Result<BoxStream<'static, Task>, BrokerError> {
        let dead = self.hub.queue(&dead_name(queue));
        Ok(self.hub.queue(queue).take(dead, in_hand, self.limits.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn topics_of_listeners_that_have_gone_are_forgotten() {
        let broker = MemoryBroker::new(Arc::default());
        for number in 0..10 {
            let topics = [format!("own {number}"), "all".to_owned()];
            drop(broker.listen(&topics).await.unwrap());
        }
        let last = ["last".to_owned()];
        let _listener = broker.listen(&last).await.unwrap();
        assert_eq!(broker.hub.listeners.lock().unwrap().len(), 1);
    }
}
