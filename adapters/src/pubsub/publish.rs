//! The way to the broker: bounded, counted and timed.

use bytes::Bytes;
use metrics::{counter, histogram};
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::host_message::HostMessage;
use super::{FOREVER, PUBLISH_QUEUE, Shared, cost, listen};
use crate::broker::{Broker, BrokerError};
use crate::wire::{Message, Wire};
use crate::{ManagerError, Status, metric};

impl<B: Broker, W: Wire> Shared<B, W> {
    pub(super) async fn publish(&self, message: &Message) -> Result<(), ManagerError> {
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
    pub(super) async fn foreign_listeners(&self, message: &Message) -> Option<usize> {
        let topic = self.wire.topic(message);
        let [all, ours] = self.broker.listeners([&topic, &self.topics.gateways]).await?;
        Some(all.saturating_sub(ours))
    }

    /// Publishes what only Hallporter hosts understand.
    pub(super) async fn publish_to(&self, topic: &str, message: &HostMessage) -> Result<(), ManagerError> {
        self.publish_bytes(topic, message.encode(), "host").await
    }

    pub(super) async fn publish_bytes(
        &self,
        topic: &str,
        body: Bytes,
        method: &'static str,
    ) -> Result<(), ManagerError> {
        let published = match self.admit(body.len()) {
            Ok(_room) => {
                let published = self.reach_and(self.broker.publish(topic, body)).await;
                published.map_err(|error| self.manager_error(error))
            }
            Err(refused) => Err(refused),
        };
        count(method, &published);
        published
    }

    /// Puts a message into a queue. Returns false when the queue is full.
    pub(super) async fn put_bytes(&self, queue: &str, body: Bytes) -> Result<bool, ManagerError> {
        let put = match self.admit(body.len()) {
            Ok(_room) => match self.reach_and(self.broker.put(queue, body)).await {
                Err(BrokerError::Full) => {
                    counter!(metric::BROKER_PUBLISH_FAILED, "reason" => "worker_queue_full").increment(1);
                    return Ok(false);
                }
                put => put.map_err(|error| self.manager_error(error)),
            },
            Err(refused) => Err(refused),
        };
        count("put", &put);
        put.map(|()| true)
    }

    /// Room for a message that has to wait for the broker.
    fn admit(&self, size: usize) -> Result<SemaphorePermit<'_>, ManagerError> {
        let limit = self.options.max_message;
        let url = || self.broker.url().to_owned();
        if size > limit {
            return Err(ManagerError::TooLarge {
                url: url(),
                size,
                limit,
            });
        }
        let room = u32::try_from(cost(size)).unwrap_or(u32::MAX);
        self.publish_queue
            .try_acquire_many(room)
            .map_err(|_| ManagerError::QueueFull {
                url: url(),
                limit: PUBLISH_QUEUE,
            })
    }

    /// Waits for the broker, then gives it something once: after a failure in the middle nobody knows whether the broker has it.
    async fn reach_and(&self, give: impl Future<Output = Result<(), BrokerError>>) -> Result<(), BrokerError> {
        let asked = Instant::now();
        let given = match self.reach(asked + self.options.publish_wait.min(FOREVER)).await {
            Ok(()) => give.await,
            Err(refused) => Err(refused),
        };
        histogram!(metric::BROKER_PUBLISH_SECONDS).record(asked.elapsed());
        given
    }

    /// Tries until the broker is there, says no, or the time is over; only a no is an error.
    pub(super) async fn reach(&self, deadline: Instant) -> Result<(), BrokerError> {
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

    /// Who does not listen is not answered, and knows of nobody.
    pub(super) fn must_listen(&self) -> Result<(), ManagerError> {
        self.local.get().ok_or(ManagerError::WriteOnly)?;
        let reason = match &*self.status.borrow() {
            // Once it is being closed, before the status tells.
            _ if self.stop.is_cancelled() => "this host does not listen any more".into(),
            Status::Listening => return Ok(()),
            Status::Away(reason) => reason.clone(),
            Status::Idle => "this host does not listen".into(),
        };
        Err(self.manager_error(BrokerError::Unavailable(reason)))
    }

    pub(super) fn manager_error(&self, error: BrokerError) -> ManagerError {
        error.at(self.broker.url())
    }
}

fn count(method: &'static str, given: &Result<(), ManagerError>) {
    match given {
        Ok(()) => counter!(metric::BROKER_PUBLISHED, "method" => method).increment(1),
        Err(error) => counter!(metric::BROKER_PUBLISH_FAILED, "reason" => failure(error)).increment(1),
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
