//! The rules of a cluster, once for all brokers and wires.
//!
//! - What a host asks for it does locally first, then publishes.
//! - A host carries out what others publish, and passes over what carries its own id.
//! - What concerns one socket is published only when the socket is not here.
//! - What the wire lacks (heartbeats, ack counts, queries) travels between Hallporter hosts on topics of their own,
//!   `CHANNEL.hallporter` for all of them and `CHANNEL.hallporter.HOST` for one.

mod acks;
mod canary;
mod host_message;
mod hosts;
mod listen;
mod pending;
mod query;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use metrics::{counter, histogram};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, BrokerError};
use crate::wire::{Callback, Message, Wire};
use crate::{ClientManager, Command, Emit, LocalSockets, ManagerError, SocketInfo, Status, Target, metric};

use acks::{Ask, ForeignHosts};
use canary::Canary;
use host_message::{HostMessage, HostTopics};
use hosts::Hosts;
use pending::Pending;
use query::Query;

pub use acks::AckStream;

/// What a manager may be told; every field has a default.
#[derive(Clone, Debug)]
pub struct ManagerOptions {
    /// Separates clusters on one broker. Default `socketio`, as python-socketio's (Flask-SocketIO: `flask-socketio`).
    pub channel: String,
    /// The largest message published or accepted, in bytes. Default 1 MiB.
    pub max_message: usize,
    /// How often a host shows itself to the others, and to itself (the canary): one that has not heard itself for two
    /// intervals subscribes anew, and is not [`Status::Listening`] until it does. Default 2 s.
    pub canary_interval: Duration,
    /// How long the clients' acks to an emit of another host are waited for. Default 60 s, as python-socketio's `call`.
    pub ack_timeout: Duration,
    /// How long other hosts may take to answer a query. Default 5 s.
    pub query_timeout: Duration,
    /// How long a message waits for a broker that is away before it is refused. Default zero, since a gateway has delivered
    /// it to its own clients already; an emitter waits 5 s. [`Duration::MAX`] is for as long as it takes.
    pub publish_wait: Duration,
}

impl Default for ManagerOptions {
    fn default() -> Self {
        Self {
            channel: "socketio".into(),
            max_message: 1 << 20,
            canary_interval: Duration::from_secs(2),
            ack_timeout: Duration::from_secs(60),
            query_timeout: Duration::from_secs(5),
            publish_wait: Duration::ZERO,
        }
    }
}

/// Emits with ack and queries that may be waited for at once.
const MAX_PENDING: usize = 65_536;

/// Bytes of messages that may wait for the broker at once; one more is refused.
const PUBLISH_QUEUE: usize = 64 << 20;

/// As long as a clock can be trusted to count.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// What a message takes while it waits: even empty ones fill the memory some time.
const fn cost(size: usize) -> usize {
    size.saturating_add(256)
}

/// What the ids of Hallporter's hosts begin with, so that they know each other before they have met.
const HOST_ID_PREFIX: &str = "hallporter-";

fn is_ours(host_id: &str) -> bool {
    host_id.starts_with(HOST_ID_PREFIX)
}

/// The [`ClientManager`] over any broker and wire.
#[derive(Debug)]
pub struct PubSubManager<B, W> {
    shared: Arc<Shared<B, W>>,
}

#[derive(Debug)]
struct Shared<B, W> {
    host_id: String,
    broker: B,
    wire: W,
    options: ManagerOptions,
    topics: HostTopics,
    /// The sockets of this host; none for a write-only manager.
    local: OnceLock<Arc<dyn LocalSockets>>,
    status: watch::Sender<Status>,
    hosts: Hosts,
    canary: Canary,
    /// Bytes that may still wait for the broker.
    publish_queue: Semaphore,
    asks: Pending<Ask>,
    queries: Pending<Query>,
    /// Limits the emits of other hosts whose acks are being waited for.
    answering: Arc<Semaphore>,
    foreign: Arc<ForeignHosts>,
    stop: CancellationToken,
}

impl<B: Broker, W: Wire> PubSubManager<B, W> {
    /// A manager that does not listen until it is started.
    pub fn new(broker: B, wire: W, options: ManagerOptions) -> Self {
        let host_id = format!("{HOST_ID_PREFIX}{}", uuid::Uuid::new_v4().simple());
        let topics = HostTopics::new(&options.channel, &host_id);
        Self {
            shared: Arc::new(Shared {
                hosts: Hosts::new(host_id.clone(), options.canary_interval),
                canary: Canary::new(options.canary_interval),
                publish_queue: Semaphore::new(PUBLISH_QUEUE.max(cost(options.max_message))),
                host_id,
                broker,
                wire,
                options,
                topics,
                local: OnceLock::new(),
                status: watch::Sender::new(Status::Idle),
                asks: Pending::new(MAX_PENDING),
                queries: Pending::new(MAX_PENDING),
                answering: Arc::new(Semaphore::new(MAX_PENDING)),
                foreign: Arc::default(),
                stop: CancellationToken::new(),
            }),
        }
    }
}

impl<B, W> Drop for PubSubManager<B, W> {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

#[async_trait]
impl<B: Broker, W: Wire> ClientManager for PubSubManager<B, W> {
    fn host_id(&self) -> &str {
        &self.shared.host_id
    }

    fn start(&self, local: Arc<dyn LocalSockets>) {
        if self.shared.local.set(local).is_ok() {
            tokio::spawn(listen::listen(self.shared.clone()));
            tokio::spawn(listen::heartbeat(self.shared.clone()));
        }
    }

    async fn connect(&self) -> Result<(), ManagerError> {
        let connected = self.shared.broker.connect().await;
        connected.map_err(|error| self.shared.manager_error(error))
    }

    async fn send(&self, command: Command) -> Result<(), ManagerError> {
        if let Some(local) = self.shared.local.get()
            && do_locally(local.as_ref(), &command)? == Scope::Here
        {
            return Ok(());
        }
        self.shared.publish(&self.shared.message(command, None)).await
    }

    async fn emit_with_ack(&self, emit: Emit, timeout: Duration) -> Result<AckStream, ManagerError> {
        let shared = &self.shared;
        let local = shared.local.get().ok_or(ManagerError::WriteOnly)?;
        let (mut stream, ask) = AckStream::open(&shared.asks, shared.foreign.clone(), shared.hosts.others(), timeout)?;
        if emit.target.rooms.as_ref().is_some_and(Vec::is_empty) {
            return Ok(stream.end());
        }
        ask.asked(local.deliver_with_ack(&emit, timeout, ask.sender()));
        let token = emit.target.rooms.as_ref().and_then(|rooms| rooms.first());
        let callback = Callback {
            token: serde_json::Value::from(token.map_or("", String::as_str))
                .to_string()
                .into(),
            namespace: emit.namespace.clone(),
            id: stream.id().to_string().into(),
        };
        let message = shared.message(Command::Emit(emit), Some(callback));
        let (published, foreign) = tokio::join!(shared.publish(&message), shared.foreign_listeners(&message));
        published?;
        stream.expect_foreign(foreign);
        Ok(stream)
    }

    async fn sockets(&self, namespace: &str, target: &Target) -> Result<Vec<SocketInfo>, ManagerError> {
        let shared = &self.shared;
        let local = shared.local.get().ok_or(ManagerError::WriteOnly)?;
        if let Status::Away(reason) = &*shared.status.borrow() {
            // Who else there is shows only when the broker is back.
            return Err(shared.manager_error(BrokerError::Unavailable(reason.clone())));
        }
        let mut sockets = local.sockets(namespace, target);
        let others = shared.hosts.others();
        if others.is_empty() {
            return Ok(sockets);
        }
        let query = Query::new(others);
        let entry = shared.queries.insert(query.clone())?;
        let question = HostMessage::Sockets {
            host: shared.host_id.clone(),
            id: entry.id(),
            namespace: namespace.into(),
            target: target.clone(),
        };
        shared.publish_to(&shared.topics.all, &question).await?;
        sockets.extend(query.complete(shared.options.query_timeout).await?);
        Ok(sockets)
    }

    fn hosts(&self) -> Vec<String> {
        let mut hosts: Vec<String> = self.shared.hosts.others().into_iter().collect();
        hosts.push(self.shared.host_id.clone());
        hosts
    }

    fn status(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    async fn close(&self) {
        // First, so that no heartbeat follows the farewell.
        let running = !self.shared.stop.is_cancelled();
        self.shared.stop.cancel();
        if running && self.shared.local.get().is_some() {
            let host = self.shared.host_id.clone();
            let goodbye = HostMessage::Gone { host };
            if let Err(error) = self.shared.publish_to(&self.shared.topics.all, &goodbye).await {
                tracing::debug!(%error, "the other hosts were not told of the leave; they will notice");
            }
        }
    }
}

/// Whom a command still concerns once this host has done it.
#[derive(PartialEq, Eq)]
enum Scope {
    /// Nobody else.
    Here,
    /// All other hosts.
    Others,
}

/// Does a command for the sockets of this host.
fn do_locally(local: &dyn LocalSockets, command: &Command) -> Result<Scope, ManagerError> {
    let scope_of = |namespace: &str, sid: &str| match local.has(namespace, sid) {
        true => Scope::Here,
        false => Scope::Others,
    };
    match command {
        Command::Emit(emit) => {
            local.deliver(emit);
            Ok(Scope::Others)
        }
        Command::EnterRoom(membership) => {
            local.enter_room(membership)?;
            Ok(scope_of(&membership.namespace, &membership.sid))
        }
        Command::LeaveRoom(membership) => {
            local.leave_room(membership);
            Ok(scope_of(&membership.namespace, &membership.sid))
        }
        Command::CloseRoom { namespace, room } => {
            local.close_room(namespace, room)?;
            Ok(Scope::Others)
        }
        Command::Disconnect { namespace, sid } => {
            let scope = scope_of(namespace, sid);
            local.disconnect(namespace, sid);
            Ok(scope)
        }
    }
}

impl<B: Broker, W: Wire> Shared<B, W> {
    fn message(&self, command: Command, callback: Option<Callback>) -> Message {
        Message::Command {
            host_id: Some(self.host_id.clone()),
            command,
            callback,
        }
    }

    async fn publish(&self, message: &Message) -> Result<(), ManagerError> {
        let method = match message {
            Message::Command { command, .. } => command.method(),
            Message::Callback { .. } => "callback",
        };
        match self.wire.encode(message) {
            Some(body) => self.publish_bytes(&self.wire.topic(message), body, method).await,
            None => {
                if let Message::Callback { .. } = message {
                    counter!(metric::ACKS_DROPPED, "reason" => "binary").increment(1);
                }
                Ok(())
            }
        }
    }

    /// How many hosts that are not Hallporter's would hear this message, where the broker can tell.
    async fn foreign_listeners(&self, message: &Message) -> Option<usize> {
        let topic = self.wire.topic(message);
        let [all, ours] = self.broker.listeners([&topic, &self.topics.all]).await?;
        Some(all.saturating_sub(ours))
    }

    /// Publishes what only Hallporter hosts understand.
    async fn publish_to(&self, topic: &str, message: &HostMessage) -> Result<(), ManagerError> {
        self.publish_bytes(topic, message.encode(), "host").await
    }

    async fn publish_bytes(&self, topic: &str, body: Bytes, method: &'static str) -> Result<(), ManagerError> {
        let limit = self.options.max_message;
        let published = match body.len() {
            size if size > limit => Err(ManagerError::TooLarge {
                url: self.broker.url().to_owned(),
                size,
                limit,
            }),
            size => match self
                .publish_queue
                .try_acquire_many(u32::try_from(cost(size)).unwrap_or(u32::MAX))
            {
                Ok(_room) => self.reach_and_publish(topic, body).await,
                Err(_) => Err(ManagerError::QueueFull {
                    url: self.broker.url().to_owned(),
                    limit: PUBLISH_QUEUE,
                }),
            },
        };
        match &published {
            Ok(()) => counter!(metric::BROKER_PUBLISHED, "method" => method).increment(1),
            Err(error) => counter!(metric::BROKER_PUBLISH_FAILED, "reason" => failure(error)).increment(1),
        }
        published
    }

    /// Waits for the broker, then publishes once: after a failure in the middle nobody knows whether the broker has it.
    async fn reach_and_publish(&self, topic: &str, body: Bytes) -> Result<(), ManagerError> {
        let asked = Instant::now();
        let published = match self.reach(asked + self.options.publish_wait.min(FOREVER)).await {
            Ok(()) => self.broker.publish(topic, body).await,
            Err(refused) => Err(refused),
        };
        histogram!(metric::BROKER_PUBLISH_SECONDS).record(asked.elapsed());
        published.map_err(|error| self.manager_error(error))
    }

    /// Tries until the broker is there, says no, or the time is over; only a no is an error.
    async fn reach(&self, deadline: Instant) -> Result<(), BrokerError> {
        let mut waits = listen::backoff();
        while Instant::now() < deadline {
            match tokio::time::timeout_at(deadline, self.broker.connect()).await {
                Ok(Err(error @ BrokerError::Refused(_))) => return Err(error),
                Ok(Err(_)) => {
                    let next = Instant::now() + waits.next().unwrap_or_default();
                    tokio::time::sleep_until(next.min(deadline)).await;
                }
                Ok(Ok(())) | Err(_) => break,
            }
        }
        Ok(())
    }

    fn manager_error(&self, error: BrokerError) -> ManagerError {
        let url = self.broker.url().to_owned();
        match error {
            BrokerError::Unavailable(reason) => ManagerError::Unavailable { url, reason },
            BrokerError::TimedOut(after) => ManagerError::TimedOut { url, after },
            BrokerError::Refused(reason) => ManagerError::Refused { url, reason },
        }
    }
}

const fn failure(error: &ManagerError) -> &'static str {
    match error {
        ManagerError::TooLarge { .. } => "too_large",
        ManagerError::QueueFull { .. } => "queue_full",
        ManagerError::TimedOut { .. } => "timed_out",
        ManagerError::Refused { .. } => "refused",
        _ => "unavailable",
    }
}
