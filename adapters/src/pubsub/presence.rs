//! Users over the cluster: what hosts tell and ask each other of them.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;

use super::host_message::HostMessage;
use super::parts::parts;
use super::users::{Numbered, Part, UserState, Users};
use super::{Role, Shared};
use crate::broker::Broker;
use crate::wire::Wire;
use crate::{BindError, LocalSockets, ManagerError, Membership, Status, UserPolicy, user_room};

/// Answers with all users of this host that may be under way at once; who is not answered asks again.
pub(super) const MAX_ANSWERS: usize = 16;

/// What hosts say of users.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum UserMessage {
    /// The first socket of users came to this host, or their last has gone, or a claim is new. To all hosts.
    Changes {
        host: String,
        number: u64,
        users: Vec<UserState>,
    },
    /// Something was missed: who is there? To one host.
    Who { host: String, id: u64 },
    /// All who are there, and more to come or not. To the host that asked.
    All {
        host: String,
        id: u64,
        number: u64,
        part: u32,
        users: Vec<UserState>,
        more: bool,
    },
    /// May this host have the user, and nobody else? To all gateways.
    Bid {
        host: String,
        namespace: String,
        user: String,
        stamp: u64,
    },
    /// It may, or not. To the host that asked.
    Decision {
        host: String,
        namespace: String,
        user: String,
        stamp: u64,
        is_taken: bool,
    },
}

impl<B: Broker, W: Wire> Shared<B, W> {
    /// See [`ClientManager::bind_user`](crate::ClientManager::bind_user).
    pub(super) async fn bind_user(
        &self,
        namespace: &str,
        sid: &str,
        user: &str,
        policy: UserPolicy,
    ) -> Result<(), BindError> {
        let local = self.local.get().ok_or(ManagerError::WriteOnly)?.as_ref();
        if self.options.role == Role::Worker {
            // The socket is not here.
            return Ok(());
        }
        if self.users.user_of(namespace, sid).as_deref() == Some(user) {
            return Ok(());
        }
        let bid = match policy {
            UserPolicy::RefuseNew => Some(self.bid(namespace, user).await?),
            UserPolicy::Many | UserPolicy::ReplaceOld => None,
        };
        let before = self.users.bind(local, (namespace, user), sid, policy)?;
        drop(bid);
        if let Some(before) = before {
            local.leave_room(&user_membership(namespace, sid, &before));
        }
        // The name of the room is nobody's sid.
        let _ = local.enter_room(&user_membership(namespace, sid, user));
        if !local.has(namespace, sid) {
            // It has gone meanwhile, maybe before it was bound: then nobody else takes it out.
            self.unbind_user(namespace, sid);
        }
        Ok(())
    }

    /// See [`ClientManager::unbind_user`](crate::ClientManager::unbind_user).
    pub(super) fn unbind_user(&self, namespace: &str, sid: &str) {
        let Some(local) = self.local.get() else { return };
        if let Some(user) = self.users.unbind(local.as_ref(), namespace, sid) {
            local.leave_room(&user_membership(namespace, sid, &user));
        }
    }

    /// Asks all hosts for a user that shall be here alone, and waits for what they say.
    async fn bid<'a>(&'a self, namespace: &'a str, user: &'a str) -> Result<Bidding<'a>, BindError> {
        self.must_listen()?;
        let others = self.hosts.others();
        let is_alone = others.is_empty();
        let bid = self.users.bid(namespace, user, others)?;
        let bidding = Bidding {
            users: &self.users,
            namespace,
            user,
        };
        if !is_alone {
            let question = UserMessage::Bid {
                host: self.host_id.clone(),
                namespace: namespace.into(),
                user: user.into(),
                stamp: bid.stamp,
            };
            self.publish_to(&self.topics.gateways, &HostMessage::Users(question))
                .await?;
            bid.decided(self.hosts.patience()).await;
        }
        Ok(bidding)
    }

    /// Carries out what another host says of users.
    pub(super) fn of_users(self: &Arc<Self>, local: &dyn LocalSockets, message: UserMessage) {
        let own = &self.host_id;
        match message {
            UserMessage::Changes { host, .. } | UserMessage::Bid { host, .. } if host == *own => {}
            UserMessage::Changes { host, number, users } => {
                let question = self.users.changes(local, &host, Numbered { number, users });
                self.ask_for_users(&host, question);
            }
            UserMessage::Who { host, id } => self.tell_users(host, id),
            UserMessage::All {
                host,
                id,
                number,
                part,
                users,
                more,
            } => {
                let part = Part {
                    id,
                    number,
                    part,
                    users,
                    more,
                };
                let question = self.users.answered(local, &host, part);
                self.ask_for_users(&host, question);
            }
            UserMessage::Bid {
                host,
                namespace,
                user,
                stamp,
            } => {
                let is_taken = self.users.is_taken_for(&host, &namespace, &user, stamp);
                let decision = UserMessage::Decision {
                    host: own.clone(),
                    namespace,
                    user,
                    stamp,
                    is_taken,
                };
                self.tell_later(host, decision);
            }
            UserMessage::Decision {
                host,
                namespace,
                user,
                stamp,
                is_taken,
            } => self.users.bid_answered(&host, &namespace, &user, stamp, is_taken),
        }
    }

    /// Asks a host for all its users, when there is a question.
    pub(super) fn ask_for_users(self: &Arc<Self>, host: &str, question: Option<u64>) {
        let Some(id) = question else { return };
        let own = self.host_id.clone();
        self.tell_later(host.to_owned(), UserMessage::Who { host: own, id });
    }

    /// Publishing may have to wait for the very queue that is being read; so not from there.
    fn tell_later(self: &Arc<Self>, host: String, message: UserMessage) {
        self.spawn(|shared| async move {
            shared.tell(&host, &HostMessage::Users(message)).await;
        });
    }

    fn tell_users(self: &Arc<Self>, host: String, id: u64) {
        let Ok(permit) = self.answers.clone().try_acquire_owned() else {
            return;
        };
        self.spawn(|shared| async move {
            let _permit = permit;
            let (number, users) = shared.users.all_own();
            let parts = parts(users, shared.options.max_message);
            let last = parts.len() - 1;
            for (index, users) in parts.into_iter().enumerate() {
                let part = UserMessage::All {
                    host: shared.host_id.clone(),
                    id,
                    number,
                    part: u32::try_from(index).unwrap_or(u32::MAX),
                    users,
                    more: index < last,
                };
                if !shared.tell(&host, &HostMessage::Users(part)).await {
                    break;
                }
            }
        });
    }

    /// Tells the other hosts of changes, one message after the other; what changes meanwhile goes into the next one together.
    pub(super) async fn keep_announcing(&self) {
        loop {
            self.users.until_untold().await;
            for Numbered { number, users } in self.users.take_untold(self.options.max_message) {
                let host = self.host_id.clone();
                let changes = HostMessage::Users(UserMessage::Changes { host, number, users });
                if let Err(error) = self.publish_to(&self.topics.all, &changes).await {
                    tracing::debug!(%error, "the other hosts were not told of users; they will ask");
                }
                self.users.told(number);
            }
        }
    }

    /// Notices hosts that fell silent, for their users and for the lead.
    pub(super) async fn keep_watching(&self) {
        let mut ticks = tokio::time::interval(self.watch_interval());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(local) = self.local.get() {
                self.users.only(local.as_ref(), &self.hosts.others());
            }
            // While this host is away the others are silent, and dead or not.
            if *self.status.borrow() == Status::Listening {
                self.replies.only(&self.instances.hosts());
            }
            if self.update_lead() {
                self.show().await;
            }
        }
    }

    fn watch_interval(&self) -> Duration {
        self.canary.interval() / 4
    }

    /// Whether this host leads may have changed. Returns whether the others should hear of it soon.
    pub(super) fn update_lead(&self) -> bool {
        if self.options.role == Role::Worker {
            return false;
        }
        let hears_itself = *self.status.borrow() == Status::Listening && self.canary.is_heard();
        let is_alone = self.broker.is_alone(&self.topics.gateways);
        self.lead.update(&self.hosts, hears_itself, is_alone)
    }
}

/// A bid, given up when dropped.
struct Bidding<'a> {
    users: &'a Users,
    namespace: &'a str,
    user: &'a str,
}

impl Drop for Bidding<'_> {
    fn drop(&mut self) {
        self.users.end_bid(self.namespace, self.user);
    }
}

fn user_membership(namespace: &str, sid: &str, user: &str) -> Membership {
    Membership {
        namespace: namespace.into(),
        sid: sid.into(),
        room: user_room(user),
    }
}
