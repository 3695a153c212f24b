//! RabbitMQ: a fanout exchange named after the channel, as python-socketio's `KombuManager` and `AsyncAioPikaManager` use it.

mod exchanges;
mod link;
mod publisher;
mod queue;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{BoxStream, unfold};
use futures_util::{FutureExt, Stream, StreamExt};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPHardError};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Consumer, ErrorKind};

use self::exchanges::Exchanges;
use self::link::{Link, Server};
use self::publisher::Publisher;
use super::slot::{Slot, within};
use super::{Broker, BrokerError, Delivery, QueueLimits, Task};
use crate::url::BrokerUrl;

/// Bytes of messages RabbitMQ keeps for a listener that is behind, before it drops the oldest.
const QUEUE_BYTES: i64 = 64 << 20;

/// Messages RabbitMQ hands over before it wants some of them acked.
const PREFETCH: u16 = 500;

/// Messages that one ack answers, while more are waiting.
const ACK_EVERY: usize = 100;

/// The [`Broker`] over RabbitMQ 3.8 or later.
///
/// One connection publishes and one listens, so that each can break alone. The topic that is the channel is a fanout exchange
/// of that name, shared with python-socketio. All other topics are routing keys of one direct exchange, `CHANNEL.hallporter`,
/// so that a message for a host that has gone has no way to go and leaves nothing behind.
///
/// Queues are quorum queues. Each taker has a connection of its own. What it has in hand for longer than RabbitMQ's `consumer_timeout`,
/// half an hour by default, RabbitMQ hands out again, and ends the taker's stream.
pub struct AmqpBroker {
    url: BrokerUrl,
    server: Server,
    exchanges: Exchanges,
    publisher: Slot<Arc<Publisher>>,
    limits: QueueLimits,
}

impl AmqpBroker {
    /// Names the server and the cluster's channel; connects on first use.
    ///
    /// # Errors
    /// When the URL is none that AMQP clients understand, has unknown parameters or names a file that cannot be used, or
    /// the channel is too long for the name of an exchange.
    pub fn new(url: BrokerUrl, channel: &str) -> Result<Self, BrokerError> {
        Ok(Self {
            server: Server::new(&url)?,
            url,
            exchanges: Exchanges::new(channel)?,
            publisher: Slot::default(),
            limits: QueueLimits::default(),
        })
    }

    /// With other bounds for queues, which tests need.
    #[doc(hidden)]
    #[must_use]
    pub fn with_queue_limits(self, limits: QueueLimits) -> Self {
        Self { limits, ..self }
    }

    async fn open(&self) -> Result<Link, BrokerError> {
        let open = async {
            let link = self.server.connect().await?;
            self.exchanges.declare(&link.channel).await?;
            Ok(link)
        };
        within(open).await
    }

    async fn publisher(&self) -> Result<Arc<Publisher>, BrokerError> {
        let open = async || Ok(Arc::new(Publisher::new(self.open().await?).await?));
        self.publisher.get(open).await
    }

    /// A queue that goes with the connection, bound to the topics.
    async fn consume(&self, channel: &Channel, topics: &[String]) -> Result<Consumer, BrokerError> {
        let refused = |error: lapin::Error| broker_error(&error);
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(QUEUE_BYTES));
        arguments.insert("x-overflow".into(), AMQPValue::LongString("drop-head".into()));
        let queue = channel.queue_declare(ShortString::default(), options, arguments).await;
        let queue = queue.map_err(refused)?.name().clone();
        for topic in topics {
            let (exchange, key) = self.exchanges.route(topic)?;
            let options = QueueBindOptions::default();
            let bound = channel.queue_bind(queue.clone(), exchange, key, options, FieldTable::default());
            bound.await.map_err(refused)?;
        }
        let prefetch = channel.basic_qos(PREFETCH, BasicQosOptions::default());
        prefetch.await.map_err(refused)?;
        let options = BasicConsumeOptions {
            exclusive: true,
            ..BasicConsumeOptions::default()
        };
        let consumer = channel.basic_consume(queue, ShortString::default(), options, FieldTable::default());
        consumer.await.map_err(refused)
    }
}

impl fmt::Debug for AmqpBroker {
    /// Without lapin's types, some of which show the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpBroker")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Broker for AmqpBroker {
    fn url(&self) -> &str {
        self.url.masked()
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        self.publisher().await.map(drop)
    }

    async fn publish(&self, topic: &str, body: Bytes) -> Result<(), BrokerError> {
        let (exchange, key) = self.exchanges.route(topic)?;
        let publisher = self.publisher().await?;
        unended(async move { publisher.publish(exchange, key, body).await }).await
    }

    /// RabbitMQ does not tell how many queues are bound.
    async fn listeners(&self, _topics: [&str; 2]) -> Option<[usize; 2]> {
        None
    }

    async fn listen(
        &self,
        topics: &[String],
    ) -> Result<impl Stream<Item = Delivery> + Send + Unpin + 'static, BrokerError> {
        let link = self.open().await?;
        let consumer = within(self.consume(&link.channel, topics)).await?;
        let inbox = Inbox {
            consumer,
            link,
            exchanges: self.exchanges.clone(),
            last: 0,
            unacked: 0,
        };
        Ok(Box::pin(unfold(inbox, |mut inbox| async move {
            let delivery = inbox.next().await?;
            Some((delivery, inbox))
        })))
    }

    async fn put(&self, queue: &str, body: Bytes) -> Result<(), BrokerError> {
        let publisher = self.publisher().await?;
        publisher.make(queue, self.limits).await?;
        let queue = queue.to_owned();
        unended(async move { publisher.put(&queue, body).await }).await
    }

    async fn take(&self, queue: &str, in_hand: usize) -> Result<BoxStream<'static, Task>, BrokerError> {
        let link = self.open().await?;
        let take = async { queue::take(Publisher::new(link).await?, queue, in_hand, self.limits).await };
        within(take).await
    }
}

/// Publishes in a task of its own, which nobody can end halfway: lapin keeps what is left of such a publish.
async fn unended(publish: impl Future<Output = Result<(), BrokerError>> + Send + 'static) -> Result<(), BrokerError> {
    let ended = |error: tokio::task::JoinError| Err(BrokerError::Unavailable(error.to_string()));
    tokio::spawn(publish).await.unwrap_or_else(ended)
}

/// Takes messages from the queue and acks them once they have been handled. The connection lives as long.
struct Inbox {
    consumer: Consumer,
    link: Link,
    exchanges: Exchanges,
    /// The last message taken.
    last: u64,
    /// How many, up to the last, have not been acked.
    unacked: usize,
}

impl Inbox {
    /// `None` when the connection has ended, or its channel, or RabbitMQ has deleted the queue.
    async fn next(&mut self) -> Option<Delivery> {
        if self.unacked >= ACK_EVERY {
            self.ack().await?;
        }
        let next = match self.consumer.next().now_or_never() {
            Some(next) => next,
            None => {
                self.ack().await?;
                self.consumer.next().await
            }
        };
        let message = next?.ok()?;
        self.last = message.delivery_tag;
        self.unacked += 1;
        let topic = self.exchanges.topic(&message.exchange, &message.routing_key);
        Some(Delivery {
            topic: Bytes::copy_from_slice(topic.as_bytes()),
            body: message.data.into(),
        })
    }

    async fn ack(&mut self) -> Option<()> {
        if std::mem::take(&mut self.unacked) > 0 {
            let options = BasicAckOptions { multiple: true };
            self.link.channel.basic_ack(self.last, options).await.ok()?;
        }
        Some(())
    }
}

fn broker_error(error: &lapin::Error) -> BrokerError {
    match error.kind() {
        ErrorKind::ProtocolError(said) => match said.kind() {
            AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED | AMQPHardError::INTERNALERROR) => {
                BrokerError::Unavailable(said.get_message().to_string())
            }
            _ => BrokerError::Refused(said.get_message().to_string()),
        },
        ErrorKind::IOError(error) => BrokerError::Unavailable(error.to_string()),
        _ => BrokerError::Unavailable(error.to_string()),
    }
}
