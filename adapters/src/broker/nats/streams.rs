//! The JetStream streams that queues are, and what is put into them.

use std::error::Error as _;

use async_nats::Client;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use async_nats::jetstream::context::{
    ContextBuilder, CreateStreamError, CreateStreamErrorKind, PublishError, PublishErrorKind,
};
use async_nats::jetstream::stream::{Config, ConsumerErrorKind, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, Context, ErrorCode};
use bytes::Bytes;

use super::super::known::Known;
use super::super::slot::TIMEOUT;
use super::super::{BrokerError, QueueLimits, dead_name};
use super::check_subject;
use super::connection::ended;

/// The durable consumer that all takers share.
const CONSUMER: &str = "workers";

/// What the server says, with this error code among others, when a stream is full.
const FULL: &str = "maximum messages exceeded";

/// The streams of one connection.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    context: Context,
    known: Known,
}

impl Streams {
    /// Nothing is asked yet.
    pub(super) fn new(client: Client) -> Self {
        Self {
            context: ContextBuilder::new().timeout(TIMEOUT).build(client),
            known: Known::default(),
        }
    }

    /// Puts a message into the stream of a queue, which is made where there is none.
    pub(super) async fn put(&self, queue: &str, body: Bytes, limits: QueueLimits) -> Result<(), BrokerError> {
        self.make(queue, limits).await?;
        let stored = self.store(queue, body).await;
        if let Err(BrokerError::Unavailable(_)) = stored {
            self.known.forget(queue).await;
        }
        stored
    }

    /// Puts a message aside, into the stream that [`make`](Self::make) made beside that of the queue.
    pub(super) async fn bury(&self, queue: &str, body: Bytes) -> Result<(), BrokerError> {
        self.store(&dead_name(queue), body).await
    }

    /// Returns when the server has stored the message.
    async fn store(&self, subject: &str, body: Bytes) -> Result<(), BrokerError> {
        let sent = self.context.publish(subject.to_owned(), body).await;
        let stored = match sent {
            Ok(stored) => stored.await,
            Err(error) => Err(error),
        };
        stored.map(drop).map_err(|error| publish_error(&error))
    }

    /// Makes the streams of a queue where there are none.
    pub(super) async fn make(&self, queue: &str, limits: QueueLimits) -> Result<(), BrokerError> {
        let make = async {
            check_subject(queue)?;
            let max_messages = i64::try_from(limits.length).unwrap_or(i64::MAX);
            let config = Config {
                name: stream_name(queue),
                subjects: vec![queue.to_owned()],
                storage: StorageType::File,
                max_messages,
                ..Config::default()
            };
            let dead = Config {
                name: stream_name(&dead_name(queue)),
                subjects: vec![dead_name(queue)],
                retention: RetentionPolicy::Limits,
                discard: DiscardPolicy::Old,
                ..config.clone()
            };
            let queue = Config {
                retention: RetentionPolicy::WorkQueue,
                discard: DiscardPolicy::New,
                ..config
            };
            tokio::try_join!(self.make_one(queue), self.make_one(dead)).map(drop)
        };
        self.known.see(queue, make).await
    }

    /// One that is there is used as it is, with other bounds or more replicas, if it keeps messages as it should.
    async fn make_one(&self, config: Config) -> Result<(), BrokerError> {
        let error = match self.context.create_stream(config.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let exists = matches!(error.kind(), CreateStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NAME_EXIST);
        if !exists {
            return Err(create_error(&error));
        }
        let there = self.context.get_stream(&config.name).await;
        let there = there.map_err(|error| BrokerError::Unavailable(error.to_string()))?;
        let there = &there.cached_info().config;
        match there.retention == config.retention && there.subjects == config.subjects {
            true => Ok(()),
            false => Err(BrokerError::Refused(format!(
                "the stream {:?} is there already, for the subjects {:?} and with the retention {:?}; a queue needs {:?} and {:?}: \
                 delete it, or choose another name",
                config.name, there.subjects, there.retention, config.subjects, config.retention,
            ))),
        }
    }

    /// The consumer of a queue, which is made with its stream where there is none.
    pub(super) async fn consumer(
        &self,
        queue: &str,
        limits: QueueLimits,
    ) -> Result<Consumer<pull::Config>, BrokerError> {
        self.make(queue, limits).await?;
        let config = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: limits.patience,
            max_deliver: -1,
            // Each taker says how many it takes; the server's own default of 1,000 is for all of them together.
            max_ack_pending: i64::try_from(limits.length).unwrap_or(i64::MAX),
            ..pull::Config::default()
        };
        let stream = self.context.get_stream_no_info(stream_name(queue)).await;
        let stream = stream.map_err(|error| BrokerError::Refused(error.to_string()))?;
        let consumer = stream.get_or_create_consumer(CONSUMER, config).await;
        consumer.map_err(|error| match error.kind() {
            ConsumerErrorKind::TimedOut => BrokerError::TimedOut(TIMEOUT),
            ConsumerErrorKind::Request | ConsumerErrorKind::Other => BrokerError::Unavailable(error.to_string()),
            _ => BrokerError::Refused(error.to_string()),
        })
    }
}

/// The name of a queue's stream. Dots are not allowed in it, and a plus is in no name of a group, so no two queues have the same.
pub(super) fn stream_name(queue: &str) -> String {
    queue.replace('.', "+")
}

fn off() -> BrokerError {
    BrokerError::Refused(
        "this NATS server has no JetStream, which queues need: start nats-server with --jetstream".into(),
    )
}

fn create_error(error: &CreateStreamError) -> BrokerError {
    match error.kind() {
        CreateStreamErrorKind::JetStreamUnavailable => off(),
        CreateStreamErrorKind::JetStream(said) => match said.error_code() {
            ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => off(),
            ErrorCode::CLUSTER_NOT_AVAILABLE => BrokerError::Unavailable(said.to_string()),
            _ => BrokerError::Refused(said.to_string()),
        },
        CreateStreamErrorKind::TimedOut => BrokerError::TimedOut(TIMEOUT),
        CreateStreamErrorKind::Response => BrokerError::Unavailable(error.to_string()),
        _ => BrokerError::Refused(error.to_string()),
    }
}

fn publish_error(error: &PublishError) -> BrokerError {
    match error.kind() {
        PublishErrorKind::TimedOut => BrokerError::TimedOut(TIMEOUT),
        PublishErrorKind::StreamNotFound => BrokerError::Unavailable("the stream of the queue is gone".into()),
        PublishErrorKind::BrokenPipe => ended(),
        PublishErrorKind::Other => match error
            .source()
            .and_then(|source| source.downcast_ref::<jetstream::Error>())
        {
            Some(said) if said.to_string().contains(FULL) => BrokerError::Full,
            Some(said) => BrokerError::Refused(said.to_string()),
            None => BrokerError::Unavailable(error.to_string()),
        },
        _ => BrokerError::Refused(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::queue_name;

    #[test]
    fn no_two_queues_have_one_stream() {
        let [letters, named_alike] = [dead_name(&queue_name("c", "a")), queue_name("c", "a_dead")];
        assert_ne!(stream_name(&letters), stream_name(&named_alike));
        assert_ne!(
            stream_name(&queue_name("a.b", "g")),
            stream_name(&queue_name("a_b", "g"))
        );
    }
}
