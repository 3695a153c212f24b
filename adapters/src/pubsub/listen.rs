//! Listening to the broker, for as long as the host lives.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use metrics::{counter, gauge};
use tokio::time::{Instant, MissedTickBehavior};

use super::host_message::{Digest, HostMessage};
use super::listener::Listener;
use super::parts::parts;
use super::{Role, Shared};
use crate::broker::Broker;
use crate::wire::Wire;
use crate::{SocketInfo, Status, metric};

/// The waits between attempts to reach a broker: twice as long each time, for ever, and never longer than 5 s: jitter may double them.
pub fn backoff() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_millis(2500))
        .with_jitter()
        .without_max_times()
        .build()
}

/// Listens until the host is closed.
pub(super) async fn listen<B: Broker, W: Wire>(shared: Arc<Shared<B, W>>) {
    let stop = shared.stop.clone();
    stop.run_until_cancelled(keep_listening(shared.clone())).await;
    gauge!(metric::BROKER_UP).set(0.0);
    shared.lead.close();
    shared.status.send_replace(Status::Idle);
}

async fn keep_listening<B: Broker, W: Wire>(shared: Arc<Shared<B, W>>) {
    let Some(local) = shared.local.get() else {
        return;
    };
    let mut topics = vec![shared.topics.all.clone(), shared.topics.own.clone()];
    if shared.options.role == Role::Gateway {
        topics.push(shared.topics.gateways.clone());
        topics.extend(shared.wire.topics());
    }
    let listener = Listener::new(shared.clone(), local.clone());
    let mut waits = backoff();
    loop {
        let reason = match shared.broker.listen(&topics).await {
            Ok(messages) => {
                shared.canary.subscribed().send_replace(true);
                let since = Instant::now();
                let reason = listener.read(messages).await;
                shared.canary.subscribed().send_replace(false);
                // A connection that breaks as soon as it is made must not be made in a hurry again.
                if since.elapsed() > shared.hosts.patience() {
                    waits = backoff();
                }
                reason
            }
            Err(error) => error.to_string(),
        };
        shared.is_away(reason);
        tokio::time::sleep(waits.next().unwrap_or_default()).await;
    }
}

/// Shows the host to the others, and to itself, until it is closed.
pub(super) async fn heartbeat<B: Broker, W: Wire>(shared: Arc<Shared<B, W>>) {
    let stop = shared.stop.clone();
    let beating = async { tokio::join!(keep_showing(&shared), shared.canary.keep_measuring()) };
    stop.run_until_cancelled(beating).await;
}

async fn keep_showing<B: Broker, W: Wire>(shared: &Shared<B, W>) {
    let mut subscribed = shared.canary.subscribed().subscribe();
    let mut ticks = tokio::time::interval(shared.canary.interval());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // At once when there is a (new) subscription: the others shall know, and so shall this host.
            changed = subscribed.changed() => if changed.is_err() { return },
        }
        if *subscribed.borrow_and_update() {
            shared.show().await;
        }
    }
}

impl<B: Broker, W: Wire> Shared<B, W> {
    /// Does something beside the listening, until the host is closed.
    pub(super) fn spawn<F>(self: &Arc<Self>, action: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        let action = action(self.clone());
        tokio::spawn(async move { stop.run_until_cancelled(action).await });
    }

    /// Messages come in: this host has heard itself. Logged when the broker was away.
    pub(super) fn is_there(self: &Arc<Self>) {
        let was_away = match &*self.status.borrow() {
            Status::Listening => return,
            status => matches!(status, Status::Away(_)),
        };
        // Metrics first: who is told of the change shall find it there.
        gauge!(metric::BROKER_UP).set(1.0);
        if was_away {
            counter!(metric::BROKER_RECONNECTS).increment(1);
            tracing::info!(url = self.broker.url(), "the broker is back");
        }
        self.status.send_replace(Status::Listening);
        if self.update_lead() {
            self.spawn(|shared| async move { shared.show().await });
        }
    }

    /// Logged when it is news; what follows are attempts.
    fn is_away(&self, reason: String) {
        gauge!(metric::BROKER_UP).set(0.0);
        let before = self.status.send_replace(Status::Away(reason.clone()));
        self.update_lead();
        if !matches!(before, Status::Away(_)) {
            tracing::warn!(
                url = self.broker.url(),
                reason,
                "the broker is away; trying until it is back"
            );
        }
    }

    /// Shows this host to all, and so to itself.
    pub(super) async fn show(&self) {
        for message in self.heartbeat() {
            // The last one is the canary.
            let shown = self.publish_to(&self.topics.all, &message).await;
            self.canary.sent(&shown);
        }
    }

    /// Shows this host to one that has just come, so that it need not wait for the next heartbeat.
    pub(super) async fn show_to(&self, host: &str) {
        for message in self.heartbeat() {
            self.tell(host, &message).await;
        }
    }

    /// What a heartbeat says: who this is, and for a gateway what goes on here.
    fn heartbeat(&self) -> impl Iterator<Item = HostMessage> + use<B, W> {
        let own = self.instances.own();
        let instance = HostMessage::Instance {
            host: own.host_id.clone(),
            id: own.id.clone(),
            kind: own.kind.clone(),
            age: u64::try_from(self.instances.age().as_millis()).unwrap_or(u64::MAX),
        };
        let alive = (self.options.role == Role::Gateway).then(|| {
            let (users, stamp) = self.users.digest();
            let rank = self.lead.rank();
            HostMessage::Alive {
                host: own.host_id.clone(),
                digest: Digest { rank, users, stamp },
            }
        });
        std::iter::once(instance).chain(alive)
    }

    /// Returns whether the broker has taken the message.
    pub(super) async fn tell(&self, host: &str, message: &HostMessage) -> bool {
        let told = self.publish_to(&self.topics.of(host), message).await;
        if let Err(error) = &told {
            tracing::debug!(%error, host_id = host, "an answer did not reach its host, which will time out");
        }
        told.is_ok()
    }

    pub(super) async fn tell_sockets(&self, host: &str, id: u64, sockets: Vec<SocketInfo>) {
        let parts = parts(sockets, self.options.max_message);
        let last = parts.len() - 1;
        for (index, sockets) in parts.into_iter().enumerate() {
            let part = HostMessage::SocketsAre {
                host: self.host_id.clone(),
                id,
                sockets,
                more: index < last,
            };
            if !self.tell(host, &part).await {
                break;
            }
        }
    }
}
