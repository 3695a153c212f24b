//! Redis and Valkey: plain publish and subscribe, as python-socketio's `RedisManager` uses it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::poll_fn;
use metrics::counter;
use redis::aio::{AsyncPushSender, MultiplexedConnection, SendError};
use redis::{
    AsyncConnectionConfig, ErrorKind, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisError, Value,
};
use tokio::sync::{Mutex, mpsc};

use super::{Broker, BrokerError, Delivery};
use crate::metric;
use crate::url::BrokerUrl;

/// How long to connect, and how long for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes a listener may be behind before messages are dropped (and counted).
const LISTEN_BUFFER: usize = 64 << 20;

/// What a message takes beside its topic and body, in bytes: even empty ones fill the memory some time.
const OVERHEAD: usize = 256;

/// The [`Broker`] over Redis 6 or later, or Valkey.
///
/// One connection publishes and one listens, so that each can break alone.
/// The database number of the URL is of no meaning: channels are common to all databases.
#[derive(Debug)]
pub struct RedisBroker {
    url: BrokerUrl,
    client: redis::Client,
    publisher: Mutex<Option<Publisher>>,
}

/// A connection that publishes.
#[derive(Clone, Debug)]
struct Publisher {
    connection: MultiplexedConnection,
    /// The connection has ended or does not answer; whoever comes next makes another.
    broken: Arc<AtomicBool>,
}

impl RedisBroker {
    /// Names the server; connects on first use.
    ///
    /// # Errors
    /// When the URL is none that Redis clients understand.
    pub fn new(url: BrokerUrl) -> Result<Self, BrokerError> {
        let client = Self::client(&url).map_err(|error| BrokerError::Refused(error.to_string()))?;
        Ok(Self {
            url,
            client,
            publisher: Mutex::new(None),
        })
    }

    fn client(url: &BrokerUrl) -> Result<redis::Client, RedisError> {
        let info = url.as_redis().into_connection_info()?;
        // Messages come as pushes, a part of RESP3, so that they can be taken over without a copy.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        redis::Client::open(info.set_redis_settings(settings))
    }

    async fn open(&self, config: AsyncConnectionConfig) -> Result<MultiplexedConnection, BrokerError> {
        let config = config
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config);
        connection.await.map_err(|error| broker_error(&error))
    }

    /// Those who come while a connection is being made wait for it, but none longer than making one may take.
    async fn publisher(&self) -> Result<Publisher, BrokerError> {
        let publisher = async {
            let mut slot = self.publisher.lock().await;
            if let Some(publisher) = slot.as_ref().filter(|publisher| publisher.is_whole()) {
                return Ok(publisher.clone());
            }
            *slot = None;
            let broken = Arc::new(AtomicBool::new(false));
            let end = End(broken.clone());
            let connection = self.open(AsyncConnectionConfig::new().set_push_sender(end)).await?;
            Ok(slot.insert(Publisher { connection, broken }).clone())
        };
        let publisher = tokio::time::timeout(TIMEOUT, publisher).await;
        publisher.unwrap_or(Err(BrokerError::TimedOut(TIMEOUT)))
    }
}

impl Publisher {
    fn is_whole(&self) -> bool {
        !self.broken.load(Ordering::Relaxed)
    }
}

impl Broker for RedisBroker {
    fn url(&self) -> &str {
        self.url.masked()
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        self.publisher().await.map(drop)
    }

    async fn publish(&self, topic: &str, body: Bytes) -> Result<(), BrokerError> {
        let Publisher { mut connection, broken } = self.publisher().await?;
        let mut command = redis::cmd("PUBLISH");
        command.arg(topic).arg(&body[..]);
        let published = command.query_async::<()>(&mut connection).await;
        published.map_err(|error| {
            if error.is_io_error() || error.is_unrecoverable_error() {
                broken.store(true, Ordering::Relaxed);
            }
            broker_error(&error)
        })
    }

    async fn listeners(&self, topics: [&str; 2]) -> Option<[usize; 2]> {
        let mut connection = self.publisher().await.ok()?.connection;
        let mut command = redis::cmd("PUBSUB");
        command.arg("NUMSUB").arg(&topics[..]);
        let [(_, first), (_, second)]: [(Value, usize); 2] = command.query_async(&mut connection).await.ok()?;
        Some([first, second])
    }

    async fn listen(
        &self,
        topics: &[String],
    ) -> Result<impl Stream<Item = Delivery> + Send + Unpin + 'static, BrokerError> {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let behind = Arc::new(AtomicUsize::new(0));
        let inbox = Inbox {
            sender,
            behind: behind.clone(),
        };
        let mut connection = self.open(AsyncConnectionConfig::new().set_push_sender(inbox)).await?;
        connection
            .subscribe(topics)
            .await
            .map_err(|error| broker_error(&error))?;
        Ok(poll_fn(move |context| {
            // The connection lives as long as the stream.
            let _ = &connection;
            receiver.poll_recv(context).map(|item: Option<Option<Delivery>>| {
                let delivery = item.flatten()?;
                behind.fetch_sub(cost(&delivery.topic, &delivery.body), Ordering::Relaxed);
                Some(delivery)
            })
        }))
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

/// Takes messages from the connection. Bounded in bytes, which the channel behind it is not.
struct Inbox {
    sender: mpsc::UnboundedSender<Option<Delivery>>,
    behind: Arc<AtomicUsize>,
}

impl AsyncPushSender for Inbox {
    fn send(&self, push: PushInfo) -> Result<(), SendError> {
        let item = match push.kind {
            PushKind::Message => match <[Value; 2]>::try_from(push.data) {
                Ok([Value::BulkString(topic), Value::BulkString(body)]) => {
                    let size = cost(&topic, &body);
                    if self.behind.fetch_add(size, Ordering::Relaxed) + size > LISTEN_BUFFER {
                        self.behind.fetch_sub(size, Ordering::Relaxed);
                        counter!(metric::BROKER_DROPPED, "reason" => "listen_buffer_full").increment(1);
                        return Ok(());
                    }
                    Some(Delivery {
                        topic: topic.into(),
                        body: body.into(),
                    })
                }
                _ => return Ok(()),
            },
            PushKind::Disconnection => None,
            _ => return Ok(()),
        };
        self.sender.send(item).map_err(|_| SendError)
    }
}

const fn cost(topic: &[u8], body: &[u8]) -> usize {
    topic.len() + body.len() + OVERHEAD
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_is_behind_is_bounded_even_in_empty_messages() {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let behind = Arc::default();
        let inbox = Inbox { sender, behind };
        let most = LISTEN_BUFFER / OVERHEAD;
        for _ in 0..=most {
            let data = vec![Value::BulkString(Vec::new()), Value::BulkString(Vec::new())];
            let kind = PushKind::Message;
            inbox.send(PushInfo { kind, data }).unwrap();
        }
        let mut taken = 0;
        while receiver.try_recv().is_ok() {
            taken += 1;
        }
        assert_eq!(taken, most);
    }
}
