//! A connection that publishes, and waits for RabbitMQ to say that it has the message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Confirmation, Connection, Event};
use tokio::sync::watch;

use super::super::BrokerError;
use super::super::slot::{TIMEOUT, Whole};
use super::broker_error;
use super::link::Link;

/// Has publisher confirms on.
pub(super) struct Publisher {
    link: Link,
    /// Why RabbitMQ takes nothing for the time being.
    blocked: watch::Receiver<Option<String>>,
    /// The connection does not answer, or has ended; whoever comes next makes another.
    broken: AtomicBool,
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
        })
    }

    /// Returns when RabbitMQ has the message.
    pub(super) async fn publish(
        &self,
        exchange: ShortString,
        key: ShortString,
        body: Bytes,
    ) -> Result<(), BrokerError> {
        let published = tokio::time::timeout(TIMEOUT, self.publish_once(exchange, key, &body)).await;
        match published {
            Ok(Ok(Confirmation::Ack(_) | Confirmation::NotRequested)) => Ok(()),
            Ok(Ok(Confirmation::Nack(_))) => Err(BrokerError::Refused("RabbitMQ could not take the message".into())),
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

    async fn publish_once(&self, exchange: ShortString, key: ShortString, body: &[u8]) -> lapin::Result<Confirmation> {
        // What is handed to lapin meanwhile goes out when the alarm is over, long after the caller was told of a failure.
        // That nobody is left to say so means that the connection has ended, which publishing finds out.
        let _ = self.blocked.clone().wait_for(Option::is_none).await;
        let options = BasicPublishOptions::default();
        let sent = self
            .link
            .channel
            .basic_publish(exchange, key, options, body, properties());
        sent.await?.await
    }
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
