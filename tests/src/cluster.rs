//! What most tests need: two gateways on one Redis.

use anyhow::Result;

use crate::{Gateway, RedisServer};

/// Two reference applications, `a` and `b`, joined by a Redis of their own.
#[derive(Debug)]
pub struct Cluster {
    /// The broker.
    pub redis: RedisServer,
    /// One gateway.
    pub a: Gateway,
    /// The other.
    pub b: Gateway,
}

impl Cluster {
    /// Starts one on the default channel.
    ///
    /// # Errors
    /// Something is not installed, not built, or does not start.
    pub async fn start() -> Result<Self> {
        Self::on_channel("socketio").await
    }

    /// Starts one on a channel of this name.
    ///
    /// # Errors
    /// Something is not installed, not built, or does not start.
    pub async fn on_channel(channel: &str) -> Result<Self> {
        let redis = RedisServer::start().await?;
        let [a, b] = gateways(&redis.url(), channel).await?;
        Ok(Self { redis, a, b })
    }
}

/// Two reference applications on the broker at this URL.
///
/// # Errors
/// Something is not built, or does not start.
pub async fn gateways(broker: &str, channel: &str) -> Result<[Gateway; 2]> {
    let environment = [
        // The reference application gives clients little time to answer a heartbeat, and all of them share one
        // process here that may be busy for longer.
        ("HALLPORTER_ENGINE__PING_INTERVAL", "25s"),
        ("HALLPORTER_ENGINE__PING_TIMEOUT", "20s"),
        ("HALLPORTER_MANAGER__URL", broker),
        ("HALLPORTER_MANAGER__CHANNEL", channel),
    ];
    let (a, b) = tokio::try_join!(
        Gateway::reference("gateway-a", &environment),
        Gateway::reference("gateway-b", &environment)
    )?;
    Ok([a, b])
}
