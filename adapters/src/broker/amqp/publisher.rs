//! A connection that publishes, and waits for RabbitMQ to say that it has the message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection, Event};
use tokio::sync::watch;

use super::super::known::Known;
use super::super::slot::{TIMEOUT, Whole, within};
use super::super::{BrokerError, QueueLimits};
use super::exchanges::name;
use super::link::Link;
use super::{broker_error, queue};

/// Has publisher confirms on.
pub(super) struct Publisher {
    link: Link,
    /// Why RabbitMQ takes nothing for the time being.
    blocked: watch::Receiver<Option<String>>,
    /// The connection does not answer, or has ended; whoever comes next makes another.
    broken: AtomicBool,
    queues: Known,
}

impl Publisher {
    /// Asks for confirms from now on.
    pub(super) async fn new(link: Link) -> Result<Self, BrokerError> {
        let confirms = link.channel.confirm_select(ConfirmSelectOptions::default()).await;
        confirms.map_err(|error| broker_error(&error))?;
        Ok(Self {
            blocked: watch_alarms(&link.connection),
            link,
            broken: AtomicBool::new(false),
            queues: Known::default(),
        })
    }

    /// The channel it publishes on.
    pub(super) fn channel(&self) -> &Channel {
        &self.link.channel
    }

    /// Makes a queue where there is none.
    pub(super) async fn make(&self, queue: &str, limits: QueueLimits) -> Result<(), BrokerError> {
        let declare = queue::declare(&self.link.connection, queue, limits);
        within(self.queues.see(queue, declare)).await
    }

    /// Returns when RabbitMQ has the message in a queue, which has been made.
    pub(super) async fn put(&self, queue: &str, body: Bytes) -> Result<(), BrokerError> {
        let message = Message {
            exchange: ShortString::default(),
            key: name(queue)?,
            // One that finds no queue comes back.
            options: BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            },
            properties: BasicProperties::default()
                .with_content_type("application/json".into())
                .with_delivery_mode(2),
            body,
        };
        match self.send(message).await? {
            Confirmation::Ack(None) | Confirmation::NotRequested => Ok(()),
            Confirmation::Nack(_) => Err(BrokerError::Full),
            Confirmation::Ack(Some(_)) => {
                self.queues.forget(queue).await;
                Err(BrokerError::Unavailable(format!("the queue {queue:?} is gone")))
            }
        }
    }

    /// Returns when RabbitMQ has the message.
    pub(super) async fn publish(
        &self,
        exchange: ShortString,
        key: ShortString,
        body: Bytes,
    ) -> Result<(), BrokerError> {
        let message = Message {
            exchange,
            key,
            options: BasicPublishOptions::default(),
            properties: properties(),
            body,
        };
        match self.send(message).await? {
            Confirmation::Ack(_) | Confirmation::NotRequested => Ok(()),
            Confirmation::Nack(_) => Err(BrokerError::Refused("RabbitMQ could not take the message".into())),
        }
    }

    async fn send(&self, message: Message) -> Result<Confirmation, BrokerError> {
        match tokio::time::timeout(TIMEOUT, self.send_once(message)).await {
            Ok(Ok(confirmation)) => Ok(confirmation),
            Ok(Err(error)) => {
                self.broken.store(true, Ordering::Relaxed);
                Err(broker_error(&error))
            }
            Err(_) => Err(match &*self.blocked.borrow() {
                Some(reason) => BrokerError::Unavailable(format!(
                    "RabbitMQ has blocked publishers (memory or disk alarm): {reason}; waited {TIMEOUT:?}"
                )),
                None => {
                    self.broken.store(true, Ordering::Relaxed);
                    BrokerError::TimedOut(TIMEOUT)
                }
            }),
        }
    }

    async fn send_once(&self, message: Message) -> lapin::Result<Confirmation> {
        // What is handed to lapin meanwhile goes out when the alarm is over, long after the caller was told of a failure.
        // That nobody is left to say so means that the connection has ended, which publishing finds out.
        let _ = self.blocked.clone().wait_for(Option::is_none).await;
        let Message {
            exchange,
            key,
            options,
            properties,
            body,
        } = message;
        let sent = self
            .link
            .channel
            .basic_publish(exchange, key, options, &body, properties);
        sent.await?.await
    }
}

/// What is published, and how.
struct Message {
    exchange: ShortString,
    key: ShortString,
    options: BasicPublishOptions,
    properties: BasicProperties,
    body: Bytes,
}

impl Whole for Arc<Publisher> {
    fn is_whole(&self) -> bool {
        let Link {
            connection, channel, ..
        } = &self.link;
        !self.broken.load(Ordering::Relaxed) && connection.status().connected() && channel.status().connected()
    }
}

/// Follows RabbitMQ's alarms, for as long as someone looks.
fn watch_alarms(connection: &Connection) -> watch::Receiver<Option<String>> {
    let (blocked, receiver) = watch::channel(None);
    let mut events = Box::pin(connection.events_listener());
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = blocked.closed() => None,
            };
            match event {
                Some(Event::ConnectionBlocked(reason)) => blocked.send_replace(Some(reason)),
                // Whoever waits shall find out that the connection has ended.
                Some(Event::ConnectionUnblocked | Event::Error(_)) => blocked.send_replace(None),
                Some(_) => continue,
                None => return,
            };
        }
    });
    receiver
}

/// What kombu sends along, which every python-socketio server understands.
fn properties() -> BasicProperties {
    BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(2)
        .with_priority(0)
}
