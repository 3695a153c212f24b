//! The way to the broker: bounded, counted and timed.

use bytes::Bytes;
use metrics::{counter, histogram};
use tokio::time::Instant;

use super::host_message::HostMessage;
use super::{FOREVER, PUBLISH_QUEUE, Shared, cost, listen};
use crate::broker::{Broker, BrokerError};
use crate::wire::{Message, Wire};
use crate::{ManagerError, metric};

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
        let [all, ours] = self.broker.listeners([&topic, &self.topics.all]).await?;
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
    pub(super) async fn reach_and_publish(&self, topic: &str, body: Bytes) -> Result<(), ManagerError> {
        let asked = Instant::now();
        let published = match self.reach(asked + self.options.publish_wait.min(FOREVER)).await {
            Ok(()) => self.broker.publish(topic, body).await,
            Err(refused) => Err(refused),
        };
        histogram!(metric::BROKER_PUBLISH_SECONDS).record(asked.elapsed());
        published.map_err(|error| self.manager_error(error))
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

    pub(super) fn manager_error(&self, error: BrokerError) -> ManagerError {
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
