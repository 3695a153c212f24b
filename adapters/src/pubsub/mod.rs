//! The rules of a cluster, once for all brokers and wires.
//!
//! - What a host asks for it does locally first, then publishes.
//! - A host carries out what others publish, and passes over what carries its own id.
//! - What concerns one socket is published only when the socket is not here.
//! - What the wire lacks (heartbeats, ack counts, queries, users, events for the other hosts' code) travels between Hallporter hosts on topics of their own,
//!   `CHANNEL.hallporter` for all of them, `CHANNEL.hallporter.gateways` for those that hold sockets, and `CHANNEL.hallporter.HOST` for one.

mod acks;
mod answers;
mod canary;
mod cluster;
mod host_message;
mod hosts;
mod instances;
mod lead;
mod listen;
mod listener;
mod living;
mod options;
mod parts;
mod pending;
mod presence;
mod publish;
mod query;
mod receipts;
mod replies;
mod users;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, BrokerError};
use crate::users::user_of;
use crate::wire::{Callback, Message, Wire};
use crate::{
    Args, BindError, ClientManager, Command, Emit, EncodeError, Instance, LocalSockets, ManagerError, Receipt,
    SocketInfo, Status, Target, UserPolicy,
};

use acks::{Ask, ForeignHosts};
use canary::Canary;
use host_message::{HostMessage, HostTopics};
use hosts::Hosts;
use instances::Instances;
use lead::Lead;
use pending::Pending;
use query::Query;
use replies::Replies;
use users::Users;

pub use acks::AckStream;
pub use listen::backoff;
pub use options::{ManagerOptions, Role};

/// Emits with ack, and as many queries, receipts and replies, that may be waited for at once.
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

fn own_instance(options: &ManagerOptions, host_id: &str) -> Instance {
    Instance {
        kind: options.instance_type.clone(),
        id: options.instance.clone().unwrap_or_else(|| host_id.to_owned()),
        host_id: host_id.to_owned(),
    }
}

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
    instances: Instances,
    canary: Canary,
    lead: Lead,
    users: Users,
    /// Limits the answers with all users of this host.
    answers: Arc<Semaphore>,
    /// Bytes that may still wait for the broker.
    publish_queue: Semaphore,
    asks: Pending<Ask>,
    queries: Pending<Query<Vec<SocketInfo>>>,
    receipts: Pending<Query<Receipt>>,
    replies: Replies,
    /// Limits the emits of other hosts whose acks are being waited for, or that a receipt is being sent for.
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
                instances: Instances::new(own_instance(&options, &host_id), options.canary_interval),
                canary: Canary::new(options.canary_interval),
                lead: Lead::new(host_id.clone(), options.canary_interval),
                users: Users::new(&host_id),
                answers: Arc::new(Semaphore::new(presence::MAX_ANSWERS)),
                publish_queue: Semaphore::new(PUBLISH_QUEUE.max(cost(options.max_message))),
                broker,
                wire,
                options,
                topics,
                local: OnceLock::new(),
                status: watch::Sender::new(Status::Idle),
                asks: Pending::new(MAX_PENDING),
                queries: Pending::new(MAX_PENDING),
                receipts: Pending::new(MAX_PENDING),
                replies: Replies::new(&host_id, MAX_PENDING),
                answering: Arc::new(Semaphore::new(MAX_PENDING)),
                foreign: Arc::default(),
                stop: CancellationToken::new(),
                host_id,
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
            self.shared
                .spawn(|shared| async move { shared.keep_announcing().await });
            self.shared.spawn(|shared| async move { shared.keep_watching().await });
        }
    }

    async fn connect(&self) -> Result<(), ManagerError> {
        let connected = self.shared.broker.connect().await;
        connected.map_err(|error| self.shared.manager_error(error))
    }

    async fn send(&self, command: Command) -> Result<(), ManagerError> {
        if let Some(local) = self.shared.local.get()
            && self.shared.do_locally(local.as_ref(), &command)? == Scope::Here
        {
            return Ok(());
        }
        self.shared.publish(&self.shared.message(command, None, None)).await
    }

    async fn emit_with_ack(&self, emit: Emit, timeout: Duration) -> Result<AckStream, ManagerError> {
        let shared = &self.shared;
        let local = shared.local.get().ok_or(ManagerError::WriteOnly)?;
        let (mut stream, ask) = AckStream::open(&shared.asks, shared.foreign.clone(), shared.hosts.others(), timeout)?;
        if emit.target.rooms.as_ref().is_some_and(Vec::is_empty) {
            return Ok(stream.end());
        }
        if shared.options.role == Role::Gateway {
            stream.ask_here(&ask, |answers| local.deliver_with_ack(&emit, timeout, answers));
        }
        if is_here(local.as_ref(), &emit.namespace, &emit.target) {
            stream.nobody_else(&ask);
            return Ok(stream);
        }
        let token = emit.target.rooms.as_ref().and_then(|rooms| rooms.first());
        let callback = Callback {
            token: serde_json::Value::from(token.map_or("", String::as_str))
                .to_string()
                .into(),
            namespace: emit.namespace.clone(),
            id: stream.id().to_string().into(),
        };
        let message = shared.message(Command::Emit(emit), Some(callback), None);
        let (published, foreign) = tokio::join!(shared.publish(&message), shared.foreign_listeners(&message));
        published?;
        stream.expect_foreign(foreign);
        Ok(stream)
    }

    async fn server_side_emit(&self, namespace: &str, event: &str, args: Args) -> Result<(), ManagerError> {
        let shared = &self.shared;
        shared.local.get().ok_or(ManagerError::WriteOnly)?;
        let message = HostMessage::server_side_event(&shared.host_id, namespace, event, &args);
        let message = message.map_err(EncodeError::from)?;
        shared.publish_to(&shared.topics.gateways, &message).await
    }

    async fn sockets(&self, namespace: &str, target: &Target) -> Result<Vec<SocketInfo>, ManagerError> {
        let shared = &self.shared;
        let local = shared.local.get().ok_or(ManagerError::WriteOnly)?;
        if is_here(local.as_ref(), namespace, target) {
            return Ok(local.sockets(namespace, target));
        }
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
        shared.publish_to(&shared.topics.gateways, &question).await?;
        let after = shared.options.query_timeout;
        let (theirs, hosts) = query.complete(after).await;
        if !hosts.is_empty() {
            return Err(ManagerError::Unanswered { hosts, after });
        }
        sockets.extend(theirs);
        Ok(sockets)
    }

    fn hosts(&self) -> Vec<String> {
        let mut hosts: Vec<String> = self.shared.hosts.others().into_iter().collect();
        if self.shared.options.role == Role::Gateway {
            hosts.push(self.shared.host_id.clone());
        }
        hosts
    }

    async fn bind_user(&self, namespace: &str, sid: &str, user: &str, policy: UserPolicy) -> Result<(), BindError> {
        self.shared.bind_user(namespace, sid, user, policy).await
    }

    fn unbind_user(&self, namespace: &str, sid: &str) {
        self.shared.unbind_user(namespace, sid);
    }

    fn users(&self, namespace: &str) -> Vec<String> {
        self.shared.users.online(namespace)
    }

    fn user_count(&self, namespace: &str) -> usize {
        self.shared.users.count(namespace)
    }

    fn is_online(&self, namespace: &str, user: &str) -> bool {
        self.shared.users.is_online(namespace, user)
    }

    fn leads(&self) -> watch::Receiver<bool> {
        self.shared.lead.leads()
    }

    fn local(&self) -> Option<&Arc<dyn LocalSockets>> {
        self.shared.local.get()
    }

    fn status(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    async fn close(&self) {
        // First, so that no heartbeat follows the farewell.
        let running = !self.shared.stop.is_cancelled();
        self.shared.stop.cancel();
        // And nobody takes the lead over before it is given up.
        self.shared.lead.close();
        if running && self.shared.local.get().is_some() {
            let host = self.shared.host_id.clone();
            let goodbye = HostMessage::Gone { host };
            if let Err(error) = self.shared.publish_to(&self.shared.topics.all, &goodbye).await {
                tracing::debug!(%error, "the other hosts were not told of the leave; they will notice");
            }
        }
    }
}

/// Whether only sockets of this host are meant, each by its own room.
fn is_here(local: &dyn LocalSockets, namespace: &str, target: &Target) -> bool {
    let rooms = target.rooms.as_ref();
    rooms.is_some_and(|rooms| rooms.iter().all(|room| local.has(namespace, room)))
}

/// Whom a command still concerns once this host has done it.
#[derive(PartialEq, Eq)]
enum Scope {
    /// Nobody else.
    Here,
    /// All other hosts.
    Others,
}

impl<B: Broker, W: Wire> Shared<B, W> {
    /// Does a command for the sockets of this host.
    fn do_locally(&self, local: &dyn LocalSockets, command: &Command) -> Result<Scope, ManagerError> {
        let scope_of = |namespace: &str, sid: &str| match local.has(namespace, sid) {
            true => Scope::Here,
            false => Scope::Others,
        };
        match command {
            Command::Emit(emit) => {
                local.deliver(emit);
                Ok(match is_here(local, &emit.namespace, &emit.target) {
                    true => Scope::Here,
                    false => Scope::Others,
                })
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
            Command::Disconnect {
                namespace,
                sid,
                connection,
            } => match user_of(sid) {
                Some(user) => {
                    for sid in self.users.sids(namespace, user) {
                        local.disconnect(namespace, &sid, *connection);
                    }
                    Ok(Scope::Others)
                }
                None => {
                    let scope = scope_of(namespace, sid);
                    local.disconnect(namespace, sid, *connection);
                    Ok(scope)
                }
            },
        }
    }

    fn message(&self, command: Command, callback: Option<Callback>, receipt: Option<u64>) -> Message {
        Message::Command {
            host_id: Some(self.host_id.clone()),
            command,
            callback,
            receipt,
        }
    }
}
