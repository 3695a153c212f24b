//! What a test does to a Redis past all managers.

use anyhow::Result;
use redis::aio::MultiplexedConnection;

use crate::RedisServer;

impl RedisServer {
    /// A connection to publish by.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn connection(&self) -> Result<MultiplexedConnection> {
        Ok(redis::Client::open(self.url())?
            .get_multiplexed_async_connection()
            .await?)
    }

    /// Publishes bytes as they are and returns how many hosts listen.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn publish(&self, channel: &str, payload: &[u8]) -> Result<u64> {
        let mut connection = self.connection().await?;
        Ok(redis::cmd("PUBLISH")
            .arg(channel)
            .arg(payload)
            .query_async(&mut connection)
            .await?)
    }
}
