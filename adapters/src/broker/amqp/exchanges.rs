//! The exchanges of a cluster, and which topic goes where.

use lapin::options::ExchangeDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

use super::super::BrokerError;
use super::broker_error;

/// The one that is shared with python-socketio, and our own beside it.
#[derive(Clone)]
pub(super) struct Exchanges {
    channel: ShortString,
    ours: ShortString,
}

impl Exchanges {
    /// Those of the cluster on this channel.
    pub(super) fn new(channel: &str) -> Result<Self, BrokerError> {
        Ok(Self {
            channel: name(channel)?,
            ours: name(format!("{channel}.hallporter"))?,
        })
    }

    /// Declares the shared exchange as python-socketio does: with any other flag one of the two would be refused.
    pub(super) async fn declare(&self, channel: &Channel) -> Result<(), BrokerError> {
        for (exchange, kind) in [
            (&self.channel, ExchangeKind::Fanout),
            (&self.ours, ExchangeKind::Direct),
        ] {
            let options = ExchangeDeclareOptions::default();
            let declared = channel.exchange_declare(exchange.clone(), kind.clone(), options, FieldTable::default());
            declared.await.map_err(|error| match broker_error(&error) {
                BrokerError::Refused(reason) => BrokerError::Refused(format!(
                    "the exchange {exchange:?} cannot be declared as {kind:?}, not durable, not auto-delete: {reason}",
                    exchange = exchange.as_str(),
                )),
                other => other,
            })?;
        }
        Ok(())
    }

    /// The exchange and the routing key of a topic.
    pub(super) fn route(&self, topic: &str) -> Result<(ShortString, ShortString), BrokerError> {
        match topic == self.channel.as_str() {
            true => Ok((self.channel.clone(), ShortString::default())),
            false => Ok((self.ours.clone(), name(topic)?)),
        }
    }

    /// The reverse of `route`; others publish on the channel with routing keys of their own.
    pub(super) fn topic<'a>(&self, exchange: &'a ShortString, key: &'a ShortString) -> &'a str {
        match *exchange == self.channel {
            true => exchange.as_str(),
            false => key.as_str(),
        }
    }
}

/// Names of exchanges and queues, and routing keys, are bounded.
pub(super) fn name(text: impl Into<String>) -> Result<ShortString, BrokerError> {
    ShortString::try_new(text).map_err(|error| BrokerError::Refused(error.to_string()))
}
