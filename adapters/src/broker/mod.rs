//! What moves bytes on topics, and knows no namespace, room or sid.

#[cfg(feature = "amqp")]
mod amqp;
#[cfg(feature = "http")]
mod http;
#[cfg(any(feature = "redis", feature = "nats"))]
mod inbox;
mod memory;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "redis", feature = "nats", feature = "amqp"))]
mod slot;
#[cfg(any(feature = "redis", feature = "nats", feature = "amqp"))]
mod tls;

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;

#[cfg(feature = "amqp")]
pub use amqp::AmqpBroker;
#[cfg(feature = "http")]
pub use http::HttpBroker;
pub use memory::{MemoryBroker, MemoryHub};
#[cfg(feature = "nats")]
pub use nats::NatsBroker;
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
}
