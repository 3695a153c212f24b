//! Scripts with python-socketio's write-only managers, unchanged, reach clients of both gateways as they reach those
//! of a python-socketio server in the same cluster.

use anyhow::Result;
use e2e::{RedisServer, worker_reaches_everyone};

async fn works(kind: &str, channel: &str) -> Result<()> {
    let redis = RedisServer::start().await?;
    worker_reaches_everyone(kind, &redis.url(), channel, async || Ok(())).await
}

#[tokio::test]
async fn a_redis_manager_reaches_both_gateways() -> Result<()> {
    works("sync", "socketio").await
}

#[tokio::test]
async fn an_async_redis_manager_reaches_both_gateways() -> Result<()> {
    works("async", "socketio").await
}

#[tokio::test]
async fn flask_socketio_s_channel_works_as_well() -> Result<()> {
    works("sync", "flask-socketio").await?;
    works("async", "flask-socketio").await
}
