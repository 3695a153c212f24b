//! No broker: hosts of one process, joined by queues.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::poll_fn;
use tokio::sync::mpsc;

use super::{Broker, BrokerError, Delivery};

/// Messages a listener may be behind before publishers wait for it.
const QUEUE: usize = 1024;

/// The [`Broker`] of a process that needs no other: one gateway alone, or several in a test.
#[derive(Debug)]
pub struct MemoryBroker {
    hub: Arc<MemoryHub>,
}

impl MemoryBroker {
    /// A host on this hub.
    pub fn new(hub: Arc<MemoryHub>) -> Self {
        Self { hub }
    }
}

/// What memory brokers have in common: the listeners of each topic.
#[derive(Debug, Default)]
pub struct MemoryHub {
    listeners: Mutex<HashMap<String, Vec<mpsc::Sender<Delivery>>>>,
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
