//! A live python-socketio server as a host of the cluster.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use crate::{Driver, PATIENCE};

/// An `AsyncServer` with the manager for its broker; clients join its rooms by the event `join`, all else it echoes.
#[derive(Debug)]
pub struct PythonServer {
    driver: Driver,
    name: &'static str,
    url: String,
    inbox: UnboundedReceiver<Value>,
}

impl PythonServer {
    /// Starts one on this broker and channel, with the namespaces `/` and `/custom`.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(driver: &Driver, broker: &str, channel: &str) -> Result<Self> {
        let name = "python-server";
        let inbox = driver.inbox(name);
        let request = json!({"server": name, "broker": broker, "channel": channel, "namespaces": ["/", "/custom"]});
        let url = driver.request("server", request).await?;
        let url = url.as_str().context("a started server has a URL")?.to_owned();
        Ok(Self {
            driver: driver.clone(),
            name,
            url,
            inbox,
        })
    }

    /// What clients connect to.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Calls a method of the server as it stands in python-socketio.
    ///
    /// # Errors
    /// It raises.
    pub async fn call(&self, method: &str, args: Value, kwargs: Value) -> Result<Value> {
        self.driver.call(self.name, method, args, kwargs).await
    }

    /// What the callback of an emit is called with next.
    ///
    /// # Errors
    /// It is not called in time.
    pub async fn ack(&mut self) -> Result<Value> {
        let report = timeout(PATIENCE, self.inbox.recv())
            .await
            .context("no callback is called")?;
        let report = report.context("the driver has ended")?;
        ensure!(report["kind"] == "ack", "a callback should be called: {report}");
        Ok(report["args"].clone())
    }

    /// Whether a callback was called, or an event came, that nobody has asked for.
    pub fn is_quiet(&mut self) -> bool {
        self.inbox.try_recv().is_err()
    }
}
