//! Messages that wait for a broker that is away.

use std::sync::Arc;

use hallporter_adapters::{ClientManager, Command};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::EmitError;

/// A queue of messages that one task publishes, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    queue: mpsc::Sender<Waiting>,
    limit: usize,
}

#[derive(Debug)]
struct Waiting {
    /// None only asks whether all before it have left.
    command: Option<Command>,
    done: oneshot::Sender<Result<(), EmitError>>,
}

impl Buffer {
    /// For this many messages. The manager is one that waits for its broker for ever.
    pub(crate) fn new(manager: Arc<dyn ClientManager>, limit: usize) -> Self {
        let limit = limit.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        let (queue, waiting) = mpsc::channel(limit);
        tokio::spawn(publish(manager, waiting));
        Self { queue, limit }
    }

    /// Takes the message at once, or not at all. What is returned ends when the broker has it.
    pub(crate) fn push(&self, command: Command) -> impl Future<Output = Result<(), EmitError>> + Send + use<> {
        let (done, told) = oneshot::channel();
        let command = Some(command);
        let pushed = self.queue.try_send(Waiting { command, done });
        let limit = self.limit;
        async move {
            match pushed {
                Ok(()) => told.await.unwrap_or(Err(EmitError::BufferEnded)),
                Err(TrySendError::Full(_)) => Err(EmitError::BufferFull { limit }),
                Err(TrySendError::Closed(_)) => Err(EmitError::BufferEnded),
            }
        }
    }

    /// Returns when all that was pushed before has left.
    pub(crate) async fn flush(&self) -> Result<(), EmitError> {
        let (done, told) = oneshot::channel();
        let marker = Waiting { command: None, done };
        self.queue.send(marker).await.map_err(|_| EmitError::BufferEnded)?;
        told.await.unwrap_or(Err(EmitError::BufferEnded))
    }
}

/// Ends when all is published and no emitter is left.
async fn publish(manager: Arc<dyn ClientManager>, mut waiting: mpsc::Receiver<Waiting>) {
    while let Some(Waiting { command, done }) = waiting.recv().await {
        let published = match command {
            // A failure in the middle: the broker may have it, so it is not sent again.
            Some(command) => manager.send(command).await.map_err(EmitError::from),
            None => Ok(()),
        };
        if let Err(Err(error)) = done.send(published) {
            tracing::warn!(%error, "a buffered message is lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::Stream;
    use futures_util::stream::empty;
    use hallporter_adapters::broker::{Broker, BrokerError, Delivery};
    use hallporter_adapters::wire::PythonWire;
    use hallporter_adapters::{ManagerOptions, PubSubManager};
    use tokio::sync::watch;

    use super::*;

    /// Notes what is published while it is up.
    #[derive(Debug)]
    struct Notes {
        up: watch::Receiver<bool>,
        published: mpsc::UnboundedSender<Bytes>,
    }

    impl Broker for Notes {
        fn url(&self) -> &str {
            "notes"
        }
        async fn connect(&self) -> Result<(), BrokerError> {
            match *self.up.borrow() {
                true => Ok(()),
                false => Err(BrokerError::Unavailable("down".into())),
            }
        }
        async fn publish(&self, _: &str, body: Bytes) -> Result<(), BrokerError> {
            self.connect().await?;
            self.published.send(body).unwrap();
            Ok(())
        }
        async fn listeners(&self, _: [&str; 2]) -> Option<[usize; 2]> {
            None
        }
        async fn listen(
            &self,
            _: &[String],
        ) -> Result<impl Stream<Item = Delivery> + Send + Unpin + 'static, BrokerError> {
            Ok(empty())
        }
    }

    fn close_room(number: usize) -> Command {
        Command::CloseRoom {
            namespace: "/".into(),
            room: number.to_string(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_waited_for_an_hour_is_sent_in_order_and_once() {
        let (published, mut notes) = mpsc::unbounded_channel();
        let up = watch::Sender::new(false);
        let broker = Notes {
            up: up.subscribe(),
            published,
        };
        let options = ManagerOptions {
            publish_wait: std::time::Duration::MAX,
            ..ManagerOptions::default()
        };
        let manager = PubSubManager::new(broker, PythonWire::new("c"), options);
        let buffer = Buffer::new(Arc::new(manager), 3);
        // Nobody awaits it.
        drop(buffer.push(close_room(0)));
        tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
        let mut waiting: Vec<_> = (1..5).map(|number| buffer.push(close_room(number))).collect();
        let refused = waiting.pop().unwrap().await;
        assert!(
            matches!(refused, Err(EmitError::BufferFull { limit: 3 })),
            "{refused:?}"
        );
        up.send_replace(true);
        buffer.flush().await.unwrap();
        for sent in waiting {
            sent.await.unwrap();
        }
        for number in 0..4 {
            let body = notes.recv().await.unwrap();
            let message: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(message["room"], number.to_string());
        }
        drop(buffer);
        assert_eq!(notes.recv().await, None, "the task ends with the last emitter");
    }
}
