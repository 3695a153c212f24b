//! Carrying out what comes from the broker.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use metrics::counter;
use tokio::sync::mpsc;

use super::answers::{Answers, callback_id};
use super::host_message::{Digest, HostMessage};
use super::living::Beat;
use super::{Role, Shared};
use crate::broker::{Broker, Delivery};
use crate::envelope::decode_args;
use crate::log_limit::LogLimit;
use crate::wire::{Callback, Message, Wire};
use crate::{Ack, Command, Emit, Instance, LocalSockets, Receipt, SocketInfo, metric};

pub(super) struct Listener<B, W> {
    shared: Arc<Shared<B, W>>,
    local: Arc<dyn LocalSockets>,
    rejected: LogLimit,
}

impl<B: Broker, W: Wire> Listener<B, W> {
    pub(super) fn new(shared: Arc<Shared<B, W>>, local: Arc<dyn LocalSockets>) -> Self {
        Self {
            shared,
            local,
            rejected: LogLimit::default(),
        }
    }

    /// Carries out messages until there are no more; returns why.
    pub(super) async fn read(&self, mut messages: impl Stream<Item = Delivery> + Unpin) -> String {
        let canary = &self.shared.canary;
        let patience = canary.patience();
        let mut deaf_at = tokio::time::Instant::now() + patience;
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
                    deaf_at = tokio::time::Instant::now() + patience;
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
        let topics = &self.shared.topics;
        if topics.contain(&topic) {
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
                receipt,
            } => {
                let ours = host_id.as_deref().is_some_and(super::is_ours);
                if !ours {
                    self.shared.foreign.heard();
                }
                counter!(metric::BROKER_RECEIVED, "method" => command.method()).increment(1);
                match (command, host_id, callback, receipt) {
                    (Command::Emit(emit), Some(asker), Some(callback), _) => {
                        if !ours {
                            self.shared.foreign.holds_clients();
                        }
                        self.deliver_with_ack(&emit, asker, callback, ours);
                    }
                    (Command::Emit(emit), Some(asker), None, Some(id)) if ours => {
                        self.shared.deliver_with_receipt(self.local.as_ref(), &emit, asker, id);
                    }
                    (command, ..) => {
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
            HostMessage::Instance { host, id, kind, age } => return self.instance(host, id, kind, age),
            HostMessage::Gone { host } => self.gone(&host),
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
                let named = sockets.into_iter().map(|socket| SocketInfo {
                    host_id: host.clone(),
                    ..socket
                });
                shared
                    .queries
                    .with(id, |query| query.answer(&host, more, |all| all.extend(named)));
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
                Ok(args) => self.answered(Some(id), Ack { sid, args }),
                Err(_) => self.reject("host_message", &"an ack whose arguments cannot be read"),
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
                Ok(args) => self.local.server_side_event(&namespace, &event, args),
                Err(_) => self.reject("host_message", &"an event whose arguments cannot be read"),
            },
            HostMessage::Receipt { host, id, sockets } => {
                let add = |receipt: &mut Receipt| {
                    receipt.sockets = receipt.sockets.saturating_add(sockets);
                    receipt.gateways += 1;
                };
                shared.receipts.with(id, |query| query.answer(&host, false, add));
            }
            HostMessage::Reply(reply) => shared.replies.answered(reply),
            HostMessage::Event(event) => self.local.event(*event),
            HostMessage::Call(call) => self.local.called(*call),
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
        // So that the others need not wait for the rank.
        if shared.update_lead() {
            shared.spawn(|shared| async move { shared.show().await });
        }
    }

    /// An instance showed itself: a gateway does so just before it says what goes on there.
    fn instance(&self, host: String, id: String, kind: String, age: u64) -> Heard {
        let shared = &self.shared;
        if host == shared.host_id {
            return match shared.options.role {
                Role::Gateway => Heard::Other,
                Role::Worker => Heard::Own,
            };
        }
        let newcomer = host.clone();
        let instance = Instance {
            kind,
            id,
            host_id: host,
        };
        if shared.instances.alive(instance, Duration::from_millis(age)) == Beat::New {
            shared.spawn(|shared| async move { shared.show_to(&newcomer).await });
        }
        Heard::Other
    }

    /// Another host left.
    fn gone(&self, host: &str) {
        let shared = &self.shared;
        shared.hosts.gone(host);
        shared.instances.gone(host);
        shared.users.gone(self.local.as_ref(), host);
        shared.update_lead();
        shared.replies.gone(host);
        shared.asks.all().iter().for_each(|ask| ask.gone(host));
        shared.queries.all().iter().for_each(|query| query.gone(host));
        shared.receipts.all().iter().for_each(|query| query.gone(host));
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
