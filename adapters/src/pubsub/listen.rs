//! Listening to the broker, for as long as the host lives.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::{Stream, StreamExt};
use metrics::{counter, gauge};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::Shared;
use super::answers::{Answers, callback_id};
use super::host_message::{Digest, HostMessage, decode_args};
use super::hosts::Beat;
use super::parts::parts;
use crate::broker::{Broker, Delivery};
use crate::log_limit::LogLimit;
use crate::wire::{Callback, Message, Wire};
use crate::{Ack, Command, Emit, LocalSockets, SocketInfo, Status, metric};

/// The waits between attempts to reach a broker: twice as long each time, for ever, and never longer than 5 s: jitter may double them.
pub(super) fn backoff() -> impl Iterator<Item = Duration> {
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
    let mut topics = shared.wire.topics();
    topics.extend([shared.topics.all.clone(), shared.topics.own.clone()]);
    let listener = Listener {
        shared: shared.clone(),
        local: local.clone(),
        rejected: LogLimit::default(),
    };
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

struct Listener<B, W> {
    shared: Arc<Shared<B, W>>,
    local: Arc<dyn LocalSockets>,
    rejected: LogLimit,
}

impl<B: Broker, W: Wire> Listener<B, W> {
    /// Carries out messages until there are no more; returns why.
    async fn read(&self, mut messages: impl Stream<Item = Delivery> + Unpin) -> String {
        let canary = &self.shared.canary;
        let patience = canary.patience();
        let mut deaf_at = Instant::now() + patience;
        loop {
            let message = tokio::select! {
                // A host that is behind has its own canaries still before it.
                biased;
                message = messages.next() => message,
                () = tokio::time::sleep_until(deaf_at) => return canary.complaint(),
            };
            let Some(message) = message else {
                return "the connection ended".into();
            };
            // Nothing that comes from outside may end the listening, not even a mistake of ours.
            match catch_unwind(AssertUnwindSafe(|| self.carry_out(message))) {
                Ok(Heard::Own) => {
                    deaf_at = Instant::now() + patience;
                    canary.heard();
                    self.shared.is_there();
                }
                Ok(Heard::Other) => {}
                Err(_) => self.reject("panic", &"the message made its handler panic"),
            }
        }
    }

    fn carry_out(&self, Delivery { topic, body }: Delivery) -> Heard {
        if body.len() > self.shared.options.max_message {
            self.reject(
                "too_large",
                &format_args!("{} bytes, more than manager.max_message", body.len()),
            );
            return Heard::Other;
        }
        if topic == self.shared.topics.all || topic == self.shared.topics.own {
            return match HostMessage::decode(&body) {
                Ok(message) => self.of_host(message),
                Err(error) => {
                    self.reject("host_message", &error);
                    Heard::Other
                }
            };
        }
        match self.shared.wire.decode(body) {
            Ok(message) => self.of_wire(message),
            Err(error) => self.reject(error.reason(), &error),
        }
        Heard::Other
    }

    fn of_wire(&self, message: Message) {
        let own = &self.shared.host_id;
        match message {
            Message::Callback {
                host_id,
                callback,
                args,
            } => {
                if host_id == *own {
                    self.shared.foreign.holds_clients();
                    self.answered(callback.id.parse().ok(), Ack { sid: None, args });
                }
            }
            Message::Command { host_id, .. } if host_id.as_ref() == Some(own) => {}
            Message::Command {
                host_id,
                command,
                callback,
            } => {
                let ours = host_id.as_deref().is_some_and(super::is_ours);
                if !ours {
                    self.shared.foreign.heard();
                }
                counter!(metric::BROKER_RECEIVED, "method" => command.method()).increment(1);
                match (command, host_id, callback) {
                    (Command::Emit(emit), Some(asker), Some(callback)) => {
                        if !ours {
                            self.shared.foreign.holds_clients();
                        }
                        self.deliver_with_ack(&emit, asker, callback, ours);
                    }
                    (command, _, _) => {
                        if let Err(error) = self.shared.do_locally(self.local.as_ref(), &command) {
                            self.reject("room_is_sid", &error);
                        }
                    }
                }
            }
        }
    }

    fn of_host(&self, message: HostMessage) -> Heard {
        let shared = &self.shared;
        match message {
            HostMessage::Alive { host, .. } if host == shared.host_id => return Heard::Own,
            HostMessage::Alive { host, digest } => self.alive(host, digest),
            HostMessage::Gone { host } => {
                shared.hosts.gone(&host);
                shared.users.gone(self.local.as_ref(), &host);
                shared.update_lead();
                shared.asks.all().iter().for_each(|ask| ask.gone(&host));
                shared.queries.all().iter().for_each(|query| query.gone(&host));
            }
            HostMessage::Sockets { host, .. } if host == shared.host_id => {}
            HostMessage::Sockets {
                host,
                id,
                namespace,
                target,
            } => {
                let sockets = self.local.sockets(&namespace, &target);
                // Publishing may have to wait for the very queue that is being read; so not from here.
                shared.spawn(|shared| async move { shared.tell_sockets(&host, id, sockets).await });
            }
            HostMessage::SocketsAre {
                host,
                id,
                sockets,
                more,
            } => {
                shared.queries.with(id, |query| query.answer(&host, sockets, more));
            }
            HostMessage::Expect { host, id, count } => {
                shared.asks.with(id, |ask| ask.expect(&host, count));
            }
            HostMessage::Lost { id, count } => {
                shared.asks.with(id, |ask| ask.lost(count));
            }
            HostMessage::Ack {
                id,
                sid,
                args,
                attachments,
            } => match decode_args(&args, &attachments) {
                Some(args) => self.answered(Some(id), Ack { sid, args }),
                None => self.reject("host_message", &"an ack whose arguments cannot be read"),
            },
            HostMessage::Users(message) => shared.of_users(self.local.as_ref(), message),
            HostMessage::ServerSideEvent { host, .. } if host == shared.host_id => {}
            HostMessage::ServerSideEvent {
                namespace,
                event,
                args,
                attachments,
                ..
            } => match decode_args(&args, &attachments) {
                Some(args) => self.local.server_side_event(&namespace, &event, args),
                None => self.reject("host_message", &"an event whose arguments cannot be read"),
            },
        }
        Heard::Other
    }

    /// Another host showed itself.
    fn alive(&self, host: String, digest: Digest) {
        let shared = &self.shared;
        let beat = shared.hosts.alive(host.clone(), digest.rank);
        if beat == Beat::Ignored {
            return;
        }
        let question = shared
            .users
            .heard(&host, digest.users, digest.stamp, shared.canary.patience());
        shared.ask_for_users(&host, question);
        // So that a newcomer need not wait for the next heartbeat, nor the others for a rank.
        if shared.update_lead() || beat == Beat::New {
            shared.spawn(|shared| async move { shared.show().await });
        }
    }

    /// Emits for another host, and passes on what the clients answer.
    fn deliver_with_ack(&self, emit: &Emit, asker: String, callback: Callback, ours: bool) {
        let Ok(permit) = self.shared.answering.clone().try_acquire_owned() else {
            counter!(metric::ACKS_DROPPED, "reason" => "too_many_pending").increment(1);
            self.local.deliver(emit);
            return;
        };
        let (sender, acks) = mpsc::channel(64);
        let count = self
            .local
            .deliver_with_ack(emit, self.shared.options.ack_timeout, sender);
        let answers = Answers {
            shared: self.shared.clone(),
            asker,
            callback,
            _permit: permit,
        };
        match callback_id(&answers.callback).filter(|_| ours) {
            Some(id) => self.shared.spawn(|_| answers.answer_host(id, count, acks)),
            None if count > 0 => self.shared.spawn(|_| answers.answer_foreign_host(acks)),
            None => {}
        }
    }

    fn answered(&self, id: Option<u64>, ack: Ack) {
        let taken = id.and_then(|id| self.shared.asks.with(id, |ask| ask.answer(ack)));
        let reason = match taken {
            Some(true) => return,
            Some(false) => "queue_full",
            None => "nobody_waits",
        };
        counter!(metric::ACKS_DROPPED, "reason" => reason).increment(1);
    }

    fn reject(&self, reason: &'static str, why: &dyn std::fmt::Display) {
        counter!(metric::BROKER_REJECTED, "reason" => reason).increment(1);
        if let Some(unlogged) = self.rejected.allow(reason) {
            tracing::warn!(reason, unlogged, "a message from the broker was passed over: {why}");
        }
    }
}

/// Whose message it was.
enum Heard {
    /// This host's canary: the way through the broker is open.
    Own,
    Other,
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
    fn is_there(self: &Arc<Self>) {
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

    pub(super) async fn show(&self) {
        let (users, stamp) = self.users.digest();
        let rank = self.lead.rank();
        let alive = HostMessage::Alive {
            host: self.host_id.clone(),
            digest: Digest { rank, users, stamp },
        };
        let shown = self.publish_to(&self.topics.all, &alive).await;
        self.canary.sent(&shown);
    }

    /// Returns whether the broker has taken the message.
    pub(super) async fn tell(&self, host: &str, message: &HostMessage) -> bool {
        let told = self.publish_to(&self.topics.of(host), message).await;
        if let Err(error) = &told {
            tracing::debug!(%error, host_id = host, "an answer did not reach its host, which will time out");
        }
        told.is_ok()
    }

    async fn tell_sockets(&self, host: &str, id: u64, sockets: Vec<SocketInfo>) {
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
