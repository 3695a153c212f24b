//! RabbitMQ: a fanout exchange named after the channel, as python-socketio's `KombuManager` and `AsyncAioPikaManager` use it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use futures_util::{FutureExt, Stream, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPHardError};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ErrorKind, Event, ExchangeKind,
};
use tokio::sync::{Mutex, watch};

use super::{Broker, BrokerError, Delivery};
use crate::url::BrokerUrl;

/// How long to connect, and how long for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often both sides of an idle connection show that they are there, in seconds, unless the URL says otherwise.
const HEARTBEAT: u16 = 10;

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
pub struct AmqpBroker {
    url: BrokerUrl,
    uri: AMQPUri,
    exchanges: Exchanges,
    publisher: Mutex<Option<Arc<Publisher>>>,
}

/// The exchanges of a cluster.
#[derive(Clone)]
struct Exchanges {
    channel: ShortString,
    ours: ShortString,
}

/// A connection and the one AMQP channel on it.
struct Link {
    connection: Connection,
    channel: Channel,
}

/// A connection that publishes.
struct Publisher {
    link: Link,
    /// Why RabbitMQ takes nothing for the time being.
    blocked: watch::Receiver<Option<String>>,
    /// The connection does not answer, or has ended; whoever comes next makes another.
    broken: AtomicBool,
}

impl AmqpBroker {
    /// Names the server and the cluster's channel; connects on first use.
    ///
    /// # Errors
    /// When the URL is none that AMQP clients understand, or the channel is too long for the name of an exchange.
    pub fn new(url: BrokerUrl, channel: &str) -> Result<Self, BrokerError> {
        let refused = |problem: String| BrokerError::Refused(problem);
        let mut uri: AMQPUri = url.as_amqp().parse().map_err(refused)?;
        // lapin takes an IPv6 address for no host, and the path `/` for a virtual host without a name.
        uri.authority.host = url.host().trim_matches(['[', ']']).to_owned();
        if uri.vhost.is_empty() {
            uri.vhost = "/".to_owned();
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        let exchanges = Exchanges {
            channel: name(channel)?,
            ours: name(format!("{channel}.hallporter"))?,
        };
        Ok(Self {
            url,
            uri,
            exchanges,
            publisher: Mutex::new(None),
        })
    }

    async fn open(&self) -> Result<Link, BrokerError> {
        let open = async {
            let properties = ConnectionProperties::default().with_connection_name("hallporter".into());
            let connection = Connection::connect_uri(self.uri.clone(), properties).await;
            let connection = connection.map_err(|error| broker_error(&error))?;
            let channel = connection.create_channel().await;
            let channel = channel.map_err(|error| broker_error(&error))?;
            self.exchanges.declare(&channel).await?;
            Ok(Link { connection, channel })
        };
        within(open).await
    }

    /// Those who come while a connection is being made wait for it, but none longer than making one may take.
    async fn publisher(&self) -> Result<Arc<Publisher>, BrokerError> {
        let publisher = async {
            let mut slot = self.publisher.lock().await;
            if let Some(publisher) = slot.as_ref().filter(|publisher| publisher.is_whole()) {
                return Ok(publisher.clone());
            }
            *slot = None;
            let link = self.open().await?;
            let confirms = link.channel.confirm_select(ConfirmSelectOptions::default()).await;
            confirms.map_err(|error| broker_error(&error))?;
            let publisher = Publisher {
                blocked: watch_alarms(&link.connection),
                link,
                broken: AtomicBool::new(false),
            };
            Ok(slot.insert(Arc::new(publisher)).clone())
        };
        within(publisher).await
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

impl Exchanges {
    /// Declares the shared exchange as python-socketio does: with any other flag one of the two would be refused.
    async fn declare(&self, channel: &Channel) -> Result<(), BrokerError> {
        for (exchange, kind) in [
            (&self.channel, ExchangeKind::Fanout),
            (&self.ours, ExchangeKind::Direct),
        ] {
            let options = ExchangeDeclareOptions::default();
            let declared = channel.exchange_declare(exchange.clone(), kind.clone(), options, FieldTable::default());
            declared.await.map_err(|error| match broker_error(&error) {
                BrokerError::Refused(reason) => BrokerError::Refused(format!(
                    "the exchange {exchange:?} cannot be declared as {kind:?}, not durable, not auto-delete: {reason}",
                    exchange = exchange.as_str(),
                )),
                other => other,
            })?;
        }
        Ok(())
    }

    /// The exchange and the routing key of a topic.
    fn route(&self, topic: &str) -> Result<(ShortString, ShortString), BrokerError> {
        match topic == self.channel.as_str() {
            true => Ok((self.channel.clone(), ShortString::default())),
            false => Ok((self.ours.clone(), name(topic)?)),
        }
    }

    /// The reverse of `route`; others publish on the channel with routing keys of their own.
    fn topic<'a>(&self, exchange: &'a ShortString, key: &'a ShortString) -> &'a str {
        match *exchange == self.channel {
            true => exchange.as_str(),
            false => key.as_str(),
        }
    }
}

impl Publisher {
    fn is_whole(&self) -> bool {
        let Link { connection, channel } = &self.link;
        !self.broken.load(Ordering::Relaxed) && connection.status().connected() && channel.status().connected()
    }

    async fn publish(&self, exchange: ShortString, key: ShortString, body: Bytes) -> Result<(), BrokerError> {
        let published = tokio::time::timeout(TIMEOUT, self.publish_once(exchange, key, &body)).await;
        match published {
            Ok(Ok(Confirmation::Ack(_) | Confirmation::NotRequested)) => Ok(()),
            Ok(Ok(Confirmation::Nack(_))) => Err(BrokerError::Refused("RabbitMQ could not take the message".into())),
            Ok(Err(error)) => {
                self.broken.store(true, Ordering::Relaxed);
                Err(broker_error(&error))
            }
            Err(_) => Err(match &*self.blocked.borrow() {
                Some(reason) => BrokerError::Unavailable(format!(
                    "RabbitMQ has blocked publishers (memory or disk alarm): {reason}; waited {TIMEOUT:?}"
                )),
                None => {
                    self.broken.store(true, Ordering::Relaxed);
                    BrokerError::TimedOut(TIMEOUT)
                }
            }),
        }
    }

    async fn publish_once(&self, exchange: ShortString, key: ShortString, body: &[u8]) -> lapin::Result<Confirmation> {
        // What is handed to lapin meanwhile goes out when the alarm is over, long after the caller was told of a failure.
        // That nobody is left to say so means that the connection has ended, which publishing finds out.
        let _ = self.blocked.clone().wait_for(Option::is_none).await;
        let options = BasicPublishOptions::default();
        let sent = self
            .link
            .channel
            .basic_publish(exchange, key, options, body, properties());
        sent.await?.await
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
        // In a task of its own, which nobody can end halfway: lapin keeps what is left of such a publish.
        let published = tokio::spawn(async move { publisher.publish(exchange, key, body).await });
        let ended = |error: tokio::task::JoinError| Err(BrokerError::Unavailable(error.to_string()));
        published.await.unwrap_or_else(ended)
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
}

impl AmqpBroker {
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

/// Follows RabbitMQ's alarms, for as long as someone looks.
fn watch_alarms(connection: &Connection) -> watch::Receiver<Option<String>> {
    let (blocked, receiver) = watch::channel(None);
    let mut events = Box::pin(connection.events_listener());
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = blocked.closed() => None,
            };
            match event {
                Some(Event::ConnectionBlocked(reason)) => blocked.send_replace(Some(reason)),
                // Whoever waits shall find out that the connection has ended.
                Some(Event::ConnectionUnblocked | Event::Error(_)) => blocked.send_replace(None),
                Some(_) => continue,
                None => return,
            };
        }
    });
    receiver
}

/// What kombu sends along, which every python-socketio server understands.
fn properties() -> BasicProperties {
    BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(2)
        .with_priority(0)
}

/// Names of exchanges and routing keys are bounded.
fn name(text: impl Into<String>) -> Result<ShortString, BrokerError> {
    ShortString::try_new(text).map_err(|error| BrokerError::Refused(error.to_string()))
}

async fn within<T>(action: impl Future<Output = Result<T, BrokerError>>) -> Result<T, BrokerError> {
    let done = tokio::time::timeout(TIMEOUT, action).await;
    done.unwrap_or(Err(BrokerError::TimedOut(TIMEOUT)))
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
