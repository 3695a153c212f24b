//! Queues of workers: durable quorum queues, which RabbitMQ itself keeps, hands out and counts.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Connection, Consumer};
use tokio::sync::mpsc;

use super::super::slot::within;
use super::super::taken::{hand_out, taken};
use super::super::{BrokerError, Hold, QueueLimits, Task, dead_name};
use super::broker_error;
use super::exchanges::name;
use super::publisher::Publisher;

/// Declares a queue and its dead-letter queue, on a channel of their own: one that is refused takes its channel with it.
pub(super) async fn declare(connection: &Connection, queue: &str, limits: QueueLimits) -> Result<(), BrokerError> {
    let channel = connection.create_channel().await;
    let channel = channel.map_err(|error| broker_error(&error))?;
    let length = i64::try_from(limits.length).unwrap_or(i64::MAX);
    for (queue, overflow) in [(queue, Some("reject-publish")), (&dead_name(queue), None)] {
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(length));
        if let Some(overflow) = overflow {
            arguments.insert("x-overflow".into(), AMQPValue::LongString(overflow.into()));
        }
        let declared = channel.queue_declare(name(queue)?, options, arguments).await;
        declared.map_err(|error| match broker_error(&error) {
            BrokerError::Refused(reason) => BrokerError::Refused(format!(
                "the queue {queue:?} cannot be declared as a durable quorum queue of at most {length} messages; \
                 if there is another of that name, delete that: {reason}"
            )),
            other => other,
        })?;
    }
    channel
        .close(200, ShortString::default())
        .await
        .map_err(|error| broker_error(&error))
}

/// Takes messages over a connection of its own, which also publishes what is put aside.
pub(super) async fn take(
    publisher: Publisher,
    queue: &str,
    in_hand: usize,
    limits: QueueLimits,
) -> Result<BoxStream<'static, Task>, BrokerError> {
    publisher.make(queue, limits).await?;
    let in_hand = u16::try_from(in_hand).unwrap_or(u16::MAX).max(1);
    let channel = publisher.channel();
    let consumer = async {
        channel.basic_qos(in_hand, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue.into(), ShortString::default(), options, FieldTable::default());
        consumer.await
    };
    let consumer = consumer.await.map_err(|error| broker_error(&error))?;
    let (tasks, taken) = taken(in_hand.into());
    let queue = Arc::new(Queue {
        publisher,
        name: queue.to_owned(),
    });
    tokio::spawn(run(queue, consumer, tasks));
    Ok(taken.boxed())
}

/// What both a taker and its holds need. The connection lives as long.
struct Queue {
    publisher: Publisher,
    name: String,
}

impl fmt::Debug for Queue {
    /// Without lapin's types, some of which show the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queue").field(&self.name).finish()
    }
}

/// Takes until nobody wants any more, and then gives back what RabbitMQ has sent already.
async fn run(queue: Arc<Queue>, mut consumer: Consumer, tasks: mpsc::Sender<Task>) {
    loop {
        tokio::select! {
            biased;
            () = tasks.closed() => break,
            message = consumer.next() => match message {
                Some(Ok(message)) => hand_out(&tasks, task(&queue, message)).await,
                Some(Err(_)) | None => return,
            }
        }
    }
    let cancelled = queue
        .publisher
        .channel()
        .basic_cancel(consumer.tag(), BasicCancelOptions::default());
    if cancelled.await.is_ok() {
        while let Some(Ok(message)) = consumer.next().await {
            hand_out(&tasks, task(&queue, message)).await;
        }
    }
}

fn task(queue: &Arc<Queue>, message: Delivery) -> Task {
    let attempt = 1u32.saturating_add(deliveries(&message).unwrap_or(0));
    let body = Bytes::from(message.data);
    let hold = Box::new(AmqpHold {
        queue: queue.clone(),
        tag: message.delivery_tag,
        settled: false,
        body: body.clone(),
    });
    Task { body, attempt, hold }
}

/// How often RabbitMQ has handed a message out before; it does not say so the first time.
fn deliveries(message: &Delivery) -> Option<u32> {
    let headers = message.properties.headers().as_ref()?;
    match headers.inner().get("x-delivery-count")? {
        AMQPValue::LongLongInt(times) => u32::try_from(*times).ok(),
        AMQPValue::LongInt(times) => u32::try_from(*times).ok(),
        AMQPValue::LongUInt(times) => Some(*times),
        AMQPValue::ShortInt(times) => u32::try_from(*times).ok(),
        AMQPValue::ShortUInt(times) => Some((*times).into()),
        AMQPValue::ShortShortInt(times) => u32::try_from(*times).ok(),
        AMQPValue::ShortShortUInt(times) => Some((*times).into()),
        _ => None,
    }
}

#[derive(Debug)]
struct AmqpHold {
    queue: Arc<Queue>,
    tag: u64,
    settled: bool,
    body: Bytes,
}

impl AmqpHold {
    fn requeue(&mut self) -> impl Future<Output = lapin::Result<()>> {
        self.settled = true;
        let options = BasicNackOptions {
            requeue: true,
            ..BasicNackOptions::default()
        };
        self.queue.publisher.channel().basic_nack(self.tag, options)
    }
}

#[async_trait]
impl Hold for AmqpHold {
    async fn done(mut self: Box<Self>) -> Result<(), BrokerError> {
        self.settled = true;
        let acked = self
            .queue
            .publisher
            .channel()
            .basic_ack(self.tag, BasicAckOptions::default());
        within(acked.map(settled)).await
    }

    async fn again(mut self: Box<Self>) -> Result<(), BrokerError> {
        within(self.requeue().map(settled)).await
    }

    async fn bury(self: Box<Self>) -> Result<(), BrokerError> {
        let Queue { publisher, name } = &*self.queue;
        publisher.put(&dead_name(name), self.body.clone()).await?;
        self.done().await
    }
}

impl Drop for AmqpHold {
    /// RabbitMQ would wait for as long as the connection lasts. What is to be sent is sent before there is anything to wait for.
    fn drop(&mut self) {
        if !self.settled {
            let _ = self.requeue().now_or_never();
        }
    }
}

fn settled(result: lapin::Result<()>) -> Result<(), BrokerError> {
    result.map_err(|error| broker_error(&error))
}
