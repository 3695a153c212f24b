//! What a failing broker costs; see `e2e::faults`.

use anyhow::Result;
use e2e::{NatsServer, faults};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_withstand_every_fault() -> Result<()> {
    faults::withstand(NatsServer::start().await?).await
}
