//! From a URL to a manager.

use std::sync::Arc;

use crate::broker::{MemoryBroker, MemoryHub};
use crate::url::{BrokerUrl, Scheme, UrlError};
use crate::wire::PythonWire;
use crate::{ClientManager, ManagerOptions, PubSubManager};

/// A manager in this process alone.
pub type MemoryManager = PubSubManager<MemoryBroker, PythonWire>;

/// A manager over Redis or Valkey, in python-socketio's format.
#[cfg(feature = "redis")]
pub type RedisManager = PubSubManager<crate::broker::RedisBroker, PythonWire>;

/// A manager over NATS, in python-socketio's format.
#[cfg(feature = "nats")]
pub type NatsManager = PubSubManager<crate::broker::NatsBroker, PythonWire>;

/// A manager over RabbitMQ, in python-socketio's format.
#[cfg(feature = "amqp")]
pub type AmqpManager = PubSubManager<crate::broker::AmqpBroker, PythonWire>;

/// A write-only manager over a gateway's HTTP API.
#[cfg(feature = "http")]
pub type HttpManager = PubSubManager<crate::broker::HttpBroker, PythonWire>;

/// The manager for a broker. Nothing is connected yet.
///
/// # Errors
/// When the URL names a broker this build has no code for, or one that its client library does not understand.
pub fn manager(url: &BrokerUrl, options: ManagerOptions) -> Result<Arc<dyn ClientManager>, UrlError> {
    let wire = PythonWire::new(&options.channel);
    match url.scheme() {
        Scheme::Memory => {
            let broker = MemoryBroker::new(Arc::new(MemoryHub::default()));
            Ok(Arc::new(MemoryManager::new(broker, wire, options)))
        }
        #[cfg(feature = "redis")]
        Scheme::Redis => {
            let broker = crate::broker::RedisBroker::new(url.clone(), &options.channel);
            let broker = broker.map_err(|error| UrlError::Unusable(url.to_string(), error.to_string()))?;
            Ok(Arc::new(RedisManager::new(broker, wire, options)))
        }
        #[cfg(feature = "nats")]
        Scheme::Nats => {
            let broker = crate::broker::NatsBroker::new(url.clone(), &options.channel);
            let broker = broker.map_err(|error| UrlError::Unusable(url.to_string(), error.to_string()))?;
            Ok(Arc::new(NatsManager::new(broker, wire, options)))
        }
        #[cfg(feature = "amqp")]
        Scheme::Amqp => {
            let broker = crate::broker::AmqpBroker::new(url.clone(), &options.channel);
            let broker = broker.map_err(|error| UrlError::Unusable(url.to_string(), error.to_string()))?;
            Ok(Arc::new(AmqpManager::new(broker, wire, options)))
        }
        #[cfg(feature = "http")]
        Scheme::Http => {
            let broker = crate::broker::HttpBroker::new(url.clone());
            let broker = broker.map_err(|error| UrlError::Invalid(error.to_string()))?;
            Ok(Arc::new(HttpManager::new(broker, wire, options)))
        }
        #[cfg(not(feature = "redis"))]
        Scheme::Redis => Err(UrlError::Feature(url.to_string(), "redis")),
        #[cfg(not(feature = "nats"))]
        Scheme::Nats => Err(UrlError::Feature(url.to_string(), "nats")),
        #[cfg(not(feature = "amqp"))]
        Scheme::Amqp => Err(UrlError::Feature(url.to_string(), "amqp")),
        #[cfg(not(feature = "http"))]
        Scheme::Http => Err(UrlError::Feature(url.to_string(), "http")),
    }
}
