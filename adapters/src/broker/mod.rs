//! What moves bytes on topics, and knows no namespace, room or sid.

#[cfg(feature = "amqp")]
mod amqp;
#[cfg(any(feature = "redis", feature = "nats"))]
mod hands;
#[cfg(feature = "http")]
mod http;
#[cfg(any(feature = "redis", feature = "nats"))]
mod inbox;
#[cfg(any(feature = "amqp", feature = "nats"))]
mod known;
mod memory;
#[cfg(feature = "nats")]
mod nats;
mod queue;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "redis", feature = "nats", feature = "amqp"))]
mod slot;
#[cfg(any(feature = "redis", feature = "nats", feature = "amqp"))]
mod taken;
#[cfg(any(feature = "redis", feature = "nats", feature = "amqp"))]
mod tls;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;

use crate::ManagerError;

#[cfg(feature = "amqp")]
pub use amqp::AmqpBroker;
#[cfg(feature = "http")]
pub use http::HttpBroker;
pub use memory::{MemoryBroker, MemoryHub};
#[cfg(feature = "nats")]
pub use nats::NatsBroker;
pub use queue::{QueueLimits, dead_name, queue_name};
#[cfg(feature = "redis")]
pub use redis::RedisBroker;

/// A broker, as far as a cluster needs one.
///
/// Connections are made when needed and again after they broke; when to try again is the caller's concern.
/// Order is kept between messages of one publisher on one topic.
pub trait Broker: Debug + Send + Sync + 'static {
    /// Where the broker is, password masked.
    fn url(&self) -> &str;

    /// Makes the connection for publishing, which the first message would do otherwise.
    ///
    /// # Errors
    /// When the broker is away, too slow, or says no.
    fn connect(&self) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Gives the broker a message. `Ok` means that the broker has it.
    ///
    /// A message is never sent twice: after a failure in the middle it is unknown whether the broker has it.
    ///
    /// # Errors
    /// When the broker is away, too slow, or says no.
    fn publish(&self, topic: &str, body: Bytes) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// How many listen on each of two topics at one moment, where the broker can tell.
    fn listeners(&self, topics: [&str; 2]) -> impl Future<Output = Option<[usize; 2]>> + Send;

    /// Whether it is certain that nobody else listens on a topic, nor will when others come back: only within a process.
    fn is_alone(&self, _topic: &str) -> bool {
        false
    }

    /// Subscribes to the topics. The stream ends when the connection does.
    ///
    /// # Errors
    /// When the broker is away, too slow, or says no.
    fn listen(
        &self,
        topics: &[String],
    ) -> impl Future<Output = Result<impl Stream<Item = Delivery> + Send + Unpin + 'static, BrokerError>> + Send;

    /// Puts a message into a queue, which outlives everybody and is made when there is none. `Ok` means that the broker has it
    /// and keeps it until somebody who took it is done with it.
    ///
    /// # Errors
    /// As [`publish`](Self::publish); [`BrokerError::Full`] when the queue takes no more.
    fn put(&self, _queue: &str, _body: Bytes) -> impl Future<Output = Result<(), BrokerError>> + Send {
        async { Err(no_queues()) }
    }

    /// Takes messages from a queue, which is made when there is none; each goes to one of those who take. So many may be
    /// `in_hand` at once. The stream ends when the connection does; what is in hand then is handed out again.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    fn take(
        &self,
        _queue: &str,
        _in_hand: usize,
    ) -> impl Future<Output = Result<BoxStream<'static, Task>, BrokerError>> + Send {
        async { Err(no_queues()) }
    }
}

fn no_queues() -> BrokerError {
    BrokerError::Refused("it has no queues for workers; use Redis, RabbitMQ or NATS".into())
}

/// A message taken from a queue. Dropped, it is handed out again some time.
#[derive(Debug)]
pub struct Task {
    /// The message.
    pub body: Bytes,
    /// How often it has been handed out, this time included.
    pub attempt: u32,
    /// The way back to the queue.
    pub hold: Box<dyn Hold>,
}

/// A hold on a message of a queue.
#[async_trait]
pub trait Hold: Debug + Send {
    /// The message is done with, and goes.
    ///
    /// # Errors
    /// When the broker did not hear of it; then it is handed out again.
    async fn done(self: Box<Self>) -> Result<(), BrokerError>;

    /// The message is handed out again, to whoever takes next.
    ///
    /// # Errors
    /// When the broker did not hear of it; then it is handed out again later.
    async fn again(self: Box<Self>) -> Result<(), BrokerError>;

    /// The message is put aside, into the queue's dead-letter queue.
    ///
    /// # Errors
    /// When the broker did not hear of it; then it is handed out again.
    async fn bury(self: Box<Self>) -> Result<(), BrokerError>;
}

/// A message from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The topic it was published on.
    pub topic: Bytes,
    /// The message.
    pub body: Bytes,
}

/// Why a broker did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BrokerError {
    /// It could not be reached, or the connection broke.
    #[error("{0}")]
    Unavailable(String),
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// It answered no.
    #[error("{0}")]
    Refused(String),
    /// The queue takes no more.
    #[error("the queue is full")]
    Full,
}

impl BrokerError {
    /// The same, with the broker's URL, password masked.
    pub(crate) fn at(self, url: &str) -> ManagerError {
        let url = url.to_owned();
        match self {
            Self::Unavailable(reason) => ManagerError::Unavailable { url, reason },
            Self::TimedOut(after) => ManagerError::TimedOut { url, after },
            Self::Refused(reason) => ManagerError::Refused { url, reason },
            Self::Full => ManagerError::Refused {
                url,
                reason: self.to_string(),
            },
        }
    }
}
