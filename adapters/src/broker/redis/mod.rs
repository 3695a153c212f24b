//! Redis and Valkey: plain publish and subscribe, as python-socketio's `RedisManager` uses it.

mod queue;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::stream::{BoxStream, poll_fn};
use futures_util::{Stream, StreamExt};
use redis::aio::{AsyncPushSender, MultiplexedConnection, SendError};
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, PushInfo, PushKind, RedisError, Value};

use self::server::Server;
use super::inbox::{Inbox, inbox};
use super::slot::{Slot, TIMEOUT, Whole};
use super::{Broker, BrokerError, Delivery, QueueLimits, Task};
use crate::url::BrokerUrl;

/// The [`Broker`] over Redis 6 or later, or Valkey.
///
/// One connection publishes and one listens, so that each can break alone.
/// Channels are common to all databases; the one that the URL names is that of the queues, which need Redis 6.2. Each taker has two connections of its own, of which one waits for messages.
///
/// With Sentinels, each connection is made to the server that is the master then.
#[derive(Debug)]
pub struct RedisBroker {
    url: BrokerUrl,
    server: Server,
    publisher: Slot<Publisher>,
    limits: QueueLimits,
}

impl RedisBroker {
    /// Names the server and the cluster's channel, by which Sentinels know the service unless the URL says otherwise;
    /// connects on first use.
    ///
    /// # Errors
    /// When the URL has unknown parameters, or names a file that cannot be used.
    pub fn new(url: BrokerUrl, channel: &str) -> Result<Self, BrokerError> {
        Ok(Self {
            server: Server::new(&url, channel)?,
            url,
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

    /// Says something over the connection that publishes.
    async fn send<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, BrokerError> {
        let Publisher { mut connection, broken } = self.publisher.get(|| self.open()).await?;
        command.query_async(&mut connection).await.map_err(|error| {
            if error.is_io_error() || error.is_unrecoverable_error() {
                broken.store(true, Ordering::Relaxed);
            }
            broker_error(&error)
        })
    }

    async fn open(&self) -> Result<Publisher, BrokerError> {
        let broken = Arc::new(AtomicBool::new(false));
        let config = AsyncConnectionConfig::new().set_push_sender(End(broken.clone()));
        let connection = self.server.connect(config).await?;
        Ok(Publisher { connection, broken })
    }
}

/// A connection that publishes.
#[derive(Clone, Debug)]
struct Publisher {
    connection: MultiplexedConnection,
    /// The connection has ended or does not answer; whoever comes next makes another.
    broken: Arc<AtomicBool>,
}

impl Whole for Publisher {
    fn is_whole(&self) -> bool {
        !self.broken.load(Ordering::Relaxed)
    }
}

/// Notes the end of a connection, which may come long before its next use.
struct End(Arc<AtomicBool>);

impl AsyncPushSender for End {
    fn send(&self, push: PushInfo) -> Result<(), SendError> {
        if push.kind == PushKind::Disconnection {
            self.0.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Broker for RedisBroker {
    fn url(&self) -> &str {
        self.url.masked()
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        self.publisher.get(|| self.open()).await.map(drop)
    }

    async fn publish(&self, topic: &str, body: Bytes) -> Result<(), BrokerError> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(topic).arg(&body[..]);
        self.send(&command).await
    }

    async fn listeners(&self, topics: [&str; 2]) -> Option<[usize; 2]> {
        let mut connection = self.publisher.get(|| self.open()).await.ok()?.connection;
        let mut command = redis::cmd("PUBSUB");
        command.arg("NUMSUB").arg(&topics[..]);
        let [(_, first), (_, second)]: [(Value, usize); 2] = command.query_async(&mut connection).await.ok()?;
        Some([first, second])
    }

    async fn listen(
        &self,
        topics: &[String],
    ) -> Result<impl Stream<Item = Delivery> + Send + Unpin + 'static, BrokerError> {
        let (inbox, mut messages) = inbox();
        let config = AsyncConnectionConfig::new().set_push_sender(inbox);
        let mut connection = self.server.connect(config).await?;
        connection
            .subscribe(topics)
            .await
            .map_err(|error| broker_error(&error))?;
        Ok(poll_fn(move |context| {
            // The connection lives as long as the stream.
            let _ = &connection;
            messages.poll_next_unpin(context)
        }))
    }

    async fn put(&self, queue: &str, body: Bytes) -> Result<(), BrokerError> {
        queue::was_put(self.send(&queue::put(queue, &body, self.limits)).await?)
    }

    async fn take(&self, queue: &str, in_hand: usize) -> Result<BoxStream<'static, Task>, BrokerError> {
        let connect = || self.server.connect(AsyncConnectionConfig::new());
        let (reader, line) = tokio::try_join!(connect(), connect())?;
        queue::take(reader, line, queue, in_hand, self.limits).await
    }
}

impl AsyncPushSender for Inbox {
    fn send(&self, push: PushInfo) -> Result<(), SendError> {
        match push.kind {
            PushKind::Message => {
                if let Ok([Value::BulkString(topic), Value::BulkString(body)]) = <[Value; 2]>::try_from(push.data) {
                    self.take(Delivery {
                        topic: topic.into(),
                        body: body.into(),
                    });
                }
            }
            // The connection keeps the inbox, and the stream the connection.
            PushKind::Disconnection => self.end(),
            _ => {}
        }
        Ok(())
    }
}

fn broker_error(error: &RedisError) -> BrokerError {
    if error.is_timeout() {
        BrokerError::TimedOut(TIMEOUT)
    } else if matches!(
        error.kind(),
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed
    ) {
        BrokerError::Refused(error.to_string())
    } else {
        BrokerError::Unavailable(error.to_string())
    }
}
