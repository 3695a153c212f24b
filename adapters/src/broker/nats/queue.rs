//! Takers: each pulls as many messages as it has room for.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subject;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll, unfold};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::interval;

use super::super::hands::{Grip, Hands};
use super::super::taken::{hand_out, taken};
use super::super::{BrokerError, Hold, QueueLimits, Task};
use super::connection::{Connection, ended};

/// How long the server remembers that a taker has room.
const PULL: Duration = Duration::from_secs(5);

/// What is said of a message.
const ACK: &[u8] = b"+ACK";
const NAK: &[u8] = b"-NAK";
const IN_PROGRESS: &[u8] = b"+WPI";

/// Takes messages over a connection of its own.
pub(super) async fn take(
    connection: Connection,
    queue: &str,
    in_hand: usize,
    limits: QueueLimits,
) -> Result<BoxStream<'static, Task>, BrokerError> {
    let consumer = connection.streams().consumer(queue, limits);
    let consumer = connection.with_queue(queue, consumer).await?;
    let hands = Hands::new(in_hand);
    let (tasks, taken) = taken(hands.size());
    let mut taker = Taker {
        queue: Arc::new(Queue {
            connection,
            name: queue.to_owned(),
        }),
        consumer,
        hands,
        tasks,
    };
    tokio::spawn(async move {
        if let Err(error) = taker.run().await {
            tracing::debug!(queue = taker.queue.name, %error, "nothing is taken any more");
        }
    });
    Ok(taken.boxed())
}

/// What both a taker and its holds need.
#[derive(Debug)]
struct Queue {
    connection: Connection,
    name: String,
}

/// A message that has come, and what keeps it in hand.
type Taken = Result<(Message, Grip<Subject>), async_nats::Error>;

struct Taker {
    queue: Arc<Queue>,
    consumer: Consumer<pull::Config>,
    hands: Arc<Hands<Subject>>,
    tasks: mpsc::Sender<Task>,
}

impl Taker {
    /// Takes until nobody wants any more, and then renews what is in hand until that is settled.
    async fn run(&mut self) -> Result<(), async_nats::Error> {
        let (hands, tasks) = (self.hands.clone(), self.tasks.clone());
        // Whoever made the consumer has said how long it waits.
        let mut renewal = interval(self.consumer.cached_info().config.ack_wait / 3);
        let mut pulls = SelectAll::new();
        loop {
            // Many small pulls would be more than the server remembers: while it knows of some room, it is told of more in large parts.
            let least = if pulls.is_empty() { 1 } else { hands.size().div_ceil(2) };
            tokio::select! {
                biased;
                () = self.queue.connection.broken() => return Err(ended().into()),
                _ = renewal.tick() => self.renew().await?,
                () = async { tasks.closed().await; hands.empty().await } => return Ok(()),
                taken = pulls.next(), if !pulls.is_empty() => if let Some(taken) = taken {
                    let (message, grip) = taken?;
                    self.hand_out(message, grip).await;
                },
                Some(room) = hands.room(least), if !tasks.is_closed() => pulls.push(self.pull(room).await?),
            }
        }
    }

    async fn renew(&self) -> Result<(), async_nats::Error> {
        for id in self.hands.ids() {
            self.queue.connection.say(id, IN_PROGRESS).await?;
        }
        Ok(())
    }

    /// Asks for as many messages as there is room for; what does not come in time gives its room back.
    async fn pull(&self, room: OwnedSemaphorePermit) -> Result<BoxStream<'static, Taken>, async_nats::Error> {
        let pull = self.consumer.batch().max_messages(room.num_permits()).expires(PULL);
        let pull = pull.messages().await?;
        let hands = self.hands.clone();
        let taken = unfold((pull, room, hands), |(mut pull, mut room, hands)| async {
            let taken = match pull.next().await? {
                Ok(message) => {
                    let grip = hands.hold(message.reply.clone()?, &mut room)?;
                    Ok((message, grip))
                }
                Err(error) => Err(error),
            };
            Some((taken, (pull, room, hands)))
        });
        Ok(taken.boxed())
    }

    async fn hand_out(&self, message: Message, grip: Grip<Subject>) {
        let attempt = message.info().map_or(1, |info| info.delivered);
        let body = message.message.payload;
        let hold = Box::new(NatsHold {
            queue: self.queue.clone(),
            grip,
            body: body.clone(),
        });
        let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
        hand_out(&self.tasks, Task { body, attempt, hold }).await;
    }
}

#[derive(Debug)]
struct NatsHold {
    queue: Arc<Queue>,
    grip: Grip<Subject>,
    body: Bytes,
}

impl NatsHold {
    async fn settle(&mut self, word: &'static [u8]) -> Result<(), BrokerError> {
        // First, or it would be renewed.
        self.grip.let_go();
        let Queue { connection, name } = &*self.queue;
        connection
            .with_queue(name, connection.ask(self.grip.id().clone(), word))
            .await
    }
}

#[async_trait]
impl Hold for NatsHold {
    async fn done(mut self: Box<Self>) -> Result<(), BrokerError> {
        self.settle(ACK).await
    }

    async fn again(mut self: Box<Self>) -> Result<(), BrokerError> {
        self.settle(NAK).await
    }

    async fn bury(mut self: Box<Self>) -> Result<(), BrokerError> {
        let Queue { connection, name } = &*self.queue;
        let buried = connection.streams().bury(name, self.body.clone());
        connection.with_queue(name, buried).await?;
        self.settle(ACK).await
    }
}
