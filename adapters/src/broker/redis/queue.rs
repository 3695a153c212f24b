//! Queues of workers: streams with a consumer group, from which whoever is done with an entry deletes it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisResult, Value, cmd};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::super::hands::{Grip, Hands};
use super::super::taken::{hand_out, taken};
use super::super::{BrokerError, Hold, QueueLimits, Task, dead_name};
use super::broker_error;

/// The consumer group.
const GROUP: &str = "workers";

/// The field of an entry that is the message.
const FIELD: &str = "event";

/// How often a taker looks for what others have given back or left behind.
const CLAIM: Duration = Duration::from_secs(1);

/// A consumer that has been silent for so many times the patience, and has nothing, is forgotten.
const FORGET: u32 = 4;

/// Adds an entry unless there are too many.
const PUT: &str = "if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('XADD', KEYS[1], '*', 'event', ARGV[2])
return 1";

/// Moves an entry to the other stream, once.
const BURY: &str = "if redis.call('XACK', KEYS[1], 'workers', ARGV[1]) == 1 then
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'event', ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[1])
end";

/// Deletes consumers that have nothing and have been silent for long: each taker is one, with a name of its own.
const FORGET_CONSUMERS: &str = "for _, told in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], 'workers')) do
local consumer = {}
for n = 1, #told, 2 do consumer[told[n]] = told[n + 1] end
if consumer.pending == 0 and consumer.idle > tonumber(ARGV[1]) then
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'workers', consumer.name)
end
end";

/// Puts a message into a queue; the answer is [`was_put`].
pub(super) fn put(queue: &str, body: &[u8], limits: QueueLimits) -> Cmd {
    let mut command = cmd("EVAL");
    command.arg(PUT).arg(1).arg(queue).arg(limits.length).arg(body);
    command
}

/// What Redis says to a [`put`].
pub(super) fn was_put(put: bool) -> Result<(), BrokerError> {
    put.then_some(()).ok_or(BrokerError::Full)
}

/// Takes messages. `reader` waits for them; what else there is to say goes over `line`, which never waits.
pub(super) async fn take(
    reader: MultiplexedConnection,
    line: MultiplexedConnection,
    queue: &str,
    in_hand: usize,
    limits: QueueLimits,
) -> Result<BoxStream<'static, Task>, BrokerError> {
    let hands = Hands::new(in_hand);
    let (tasks, taken) = taken(hands.size());
    let mut taker = Taker {
        reader,
        queue: Arc::new(Queue {
            line,
            name: queue.to_owned(),
            consumer: format!("hallporter-{}", uuid::Uuid::new_v4().simple()),
            limits,
        }),
        hands,
        tasks,
    };
    taker.queue.prepare().await.map_err(|error| broker_error(&error))?;
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
    line: MultiplexedConnection,
    name: String,
    consumer: String,
    limits: QueueLimits,
}

impl Queue {
    /// How often a taker shows that it still has its messages.
    fn renewal(&self) -> Duration {
        self.limits.patience / 3
    }

    async fn send<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        command.query_async(&mut self.line.clone()).await
    }

    /// Makes the stream and the group where there are none.
    async fn prepare(&self) -> RedisResult<()> {
        let mut command = cmd("XGROUP");
        command.arg("CREATE").arg(&self.name).arg(GROUP).arg(0).arg("MKSTREAM");
        match self.send::<()>(&command).await {
            Err(error) if error.code() != Some("BUSYGROUP") => return Err(error),
            _ => {}
        }
        let silent = millis(self.limits.patience.saturating_mul(FORGET));
        let mut command = cmd("EVAL");
        command.arg(FORGET_CONSUMERS).arg(1).arg(&self.name);
        self.send(command.arg(silent)).await
    }

    /// Makes these entries ours again, without counting that as another attempt.
    async fn claim(&self, ids: &[String], idle: Duration) -> RedisResult<()> {
        let mut command = cmd("XCLAIM");
        command.arg(&self.name).arg(GROUP).arg(&self.consumer).arg(0).arg(ids);
        self.send(command.arg("IDLE").arg(millis(idle)).arg("JUSTID")).await
    }
}

/// An entry: its id, and its fields unless it has been deleted.
type Entry = (String, Option<Vec<Bytes>>);

struct Taker {
    reader: MultiplexedConnection,
    queue: Arc<Queue>,
    hands: Arc<Hands<String>>,
    tasks: mpsc::Sender<Task>,
}

impl Taker {
    /// Takes until nobody wants any more, and then renews what is in hand until that is settled.
    async fn run(&mut self) -> RedisResult<()> {
        let (hands, tasks) = (self.hands.clone(), self.tasks.clone());
        let mut renewal = interval(self.queue.renewal());
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut claimed: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                _ = renewal.tick() => self.renew().await?,
                () = async { tasks.closed().await; hands.empty().await } => return Ok(()),
                Some(mut room) = hands.room(1), if !tasks.is_closed() => {
                    // First, or a queue that is never empty would keep others' messages waiting.
                    if claimed.is_none_or(|claimed| claimed.elapsed() >= self.wait()) {
                        self.claim(&mut room).await?;
                        claimed = Some(Instant::now());
                    }
                    if room.num_permits() > 0 {
                        self.read(room).await?;
                    }
                }
            }
        }
    }

    /// How long to wait for messages: renewals must not be late.
    fn wait(&self) -> Duration {
        CLAIM.min(self.queue.renewal())
    }

    async fn renew(&self) -> RedisResult<()> {
        match &self.hands.ids()[..] {
            [] => Ok(()),
            ids => self.queue.claim(ids, Duration::ZERO).await,
        }
    }

    /// Takes what nobody has had yet.
    async fn read(&mut self, mut room: OwnedSemaphorePermit) -> RedisResult<()> {
        let mut command = cmd("XREADGROUP");
        command.arg("GROUP").arg(GROUP).arg(&self.queue.consumer);
        command.arg("COUNT").arg(room.num_permits());
        command.arg("BLOCK").arg(millis(self.wait()).max(1));
        command.arg("STREAMS").arg(&self.queue.name).arg(">");
        let streams: Option<HashMap<Bytes, Vec<Entry>>> = command.query_async(&mut self.reader).await?;
        for (id, fields) in streams.into_iter().flatten().flat_map(|(_, entries)| entries) {
            self.hand_out(id, fields, 1, &mut room).await;
        }
        Ok(())
    }

    /// Takes what others have given back, or have not renewed.
    async fn claim(&self, room: &mut OwnedSemaphorePermit) -> RedisResult<()> {
        let mut cursor = "0-0".to_owned();
        while room.num_permits() > 0 {
            let mut command = cmd("XAUTOCLAIM");
            command.arg(&self.queue.name).arg(GROUP).arg(&self.queue.consumer);
            command.arg(millis(self.queue.limits.patience)).arg(&cursor);
            command.arg("COUNT").arg(room.num_permits());
            // What comes third, of Redis 7, are the ids of deleted entries; earlier it has null for an entry.
            let claimed: Vec<Value> = self.queue.send(&command).await?;
            let mut claimed = claimed.into_iter();
            cursor = String::from_redis_value(claimed.next().unwrap_or(Value::Nil))?;
            let entries = Vec::<Option<Entry>>::from_redis_value(claimed.next().unwrap_or(Value::Nil))?;
            let entries: Vec<Entry> = entries.into_iter().flatten().collect();
            let attempts = self.attempts(&entries).await?;
            for (id, fields) in entries {
                if let Some(attempt) = attempts.get(&id) {
                    self.hand_out(id, fields, *attempt, room).await;
                }
            }
            if cursor == "0-0" {
                break;
            }
        }
        Ok(())
    }

    /// How often each of these has been handed out.
    async fn attempts(&self, entries: &[Entry]) -> RedisResult<HashMap<String, u32>> {
        let [(first, _), ..] = entries else {
            return Ok(HashMap::new());
        };
        let last = entries.last().map_or(first, |(id, _)| id);
        let mut command = cmd("XPENDING");
        command.arg(&self.queue.name).arg(GROUP).arg(first).arg(last);
        command.arg(self.hands.size()).arg(&self.queue.consumer);
        let pending: Vec<(String, Value, Value, u32)> = self.queue.send(&command).await?;
        Ok(pending.into_iter().map(|(id, _, _, times)| (id, times)).collect())
    }

    async fn hand_out(&self, id: String, fields: Option<Vec<Bytes>>, attempt: u32, room: &mut OwnedSemaphorePermit) {
        let Some(grip) = self.hands.hold(id, room) else {
            return;
        };
        // An entry without the field is none of ours; whoever takes it finds that it cannot be read.
        let mut fields = fields.unwrap_or_default().into_iter();
        let body = loop {
            match (fields.next(), fields.next()) {
                (Some(name), Some(value)) if name == FIELD => break value,
                (None, _) => break Bytes::new(),
                _ => {}
            }
        };
        let hold = Box::new(RedisHold {
            queue: self.queue.clone(),
            grip,
            body: body.clone(),
        });
        hand_out(&self.tasks, Task { body, attempt, hold }).await;
    }
}

#[derive(Debug)]
struct RedisHold {
    queue: Arc<Queue>,
    grip: Grip<String>,
    body: Bytes,
}

#[async_trait]
impl Hold for RedisHold {
    async fn done(self: Box<Self>) -> Result<(), BrokerError> {
        let (queue, id) = (&self.queue, self.grip.id());
        let mut both = redis::pipe();
        both.atomic();
        both.cmd("XACK").arg(&queue.name).arg(GROUP).arg(id);
        both.cmd("XDEL").arg(&queue.name).arg(id);
        settled(both.query_async(&mut queue.line.clone()).await)
    }

    async fn again(mut self: Box<Self>) -> Result<(), BrokerError> {
        // First, or it would be renewed, or passed over when it comes again.
        self.grip.let_go();
        let (queue, id) = (&self.queue, self.grip.id());
        // As if it had not been renewed for so long.
        settled(queue.claim(std::slice::from_ref(id), queue.limits.patience).await)
    }

    async fn bury(self: Box<Self>) -> Result<(), BrokerError> {
        let (queue, id) = (&self.queue, self.grip.id());
        let mut command = cmd("EVAL");
        command.arg(BURY).arg(2).arg(&queue.name).arg(dead_name(&queue.name));
        command.arg(id).arg(queue.limits.length).arg(&self.body[..]);
        settled(queue.send(&command).await)
    }
}

fn settled(result: RedisResult<()>) -> Result<(), BrokerError> {
    result.map_err(|error| broker_error(&error))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
