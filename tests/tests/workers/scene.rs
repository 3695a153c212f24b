//! A gateway whose events go to workers, and a client.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::{Client, Connect, Driver, Gateway, NatsServer, RedisServer};
use tempfile::TempDir;

/// For what waits until a worker that has gone is given up: 15 s where the broker does not notice by itself.
pub(crate) const LONG: Duration = Duration::from_secs(40);

/// One gateway and one client of it.
pub(crate) struct Scene {
    pub(crate) folder: TempDir,
    pub(crate) gateway: Gateway,
    pub(crate) client: Client,
    _node: Driver,
}

impl Scene {
    /// On this broker, with these routes.
    pub(crate) async fn start(broker: &str, routes: &str) -> Result<Self> {
        let folder = TempDir::new()?;
        let file = folder.path().join("hallporter.toml");
        std::fs::write(&file, format!("demo = false\n[manager]\nurl = {broker:?}\n{routes}"))?;
        let args = ["serve", "--config", file.to_str().context("the path is UTF-8")?];
        let gateway = Gateway::hallporter("gateway", &args, &[]).await?;
        gateway.answers("/readyz", 200).await?;
        let node = Driver::node()?;
        let mut client = node.connect("client", Connect::to(gateway.url())).await?;
        client.patience(LONG);
        Ok(Self {
            folder,
            gateway,
            client,
            _node: node,
        })
    }

    /// A file of the test's own.
    pub(crate) fn file(&self, name: &str) -> Result<String> {
        let path = self.folder.path().join(name);
        Ok(path.to_str().context("the path is UTF-8")?.to_owned())
    }
}

/// A Redis that keeps what is in its queues.
pub(crate) async fn redis() -> Result<RedisServer> {
    RedisServer::configured("appendonly yes").await
}

/// A NATS with queues.
pub(crate) async fn nats() -> Result<NatsServer> {
    NatsServer::configured("jetstream: enabled").await
}

/// A script of the examples.
pub(crate) fn example(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    root.join(path).display().to_string()
}
