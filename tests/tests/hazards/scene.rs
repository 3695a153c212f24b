//! A gateway that is watched while something happens to it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::raw::{Request, WebSocket};
use e2e::{Footprint, Gateway, PATIENCE};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, timeout};

pub(super) const MIB: u64 = 1 << 20;

/// How long a client that has nothing to do with it may wait for an answer, in a slow build on a busy machine.
const UNNOTICED: Duration = Duration::from_secs(2);

/// Heartbeats that do not come in while a test has other things in mind.
pub(super) const NO_HEARTBEAT: (&str, &str) = ("HALLPORTER_ENGINE__PING_INTERVAL", "60s");

pub(super) struct Scene {
    pub(super) gateway: Gateway,
    before: Footprint,
    /// Ends the witness, whose answer is how often it was served.
    stop: oneshot::Sender<()>,
    witness: JoinHandle<Result<u32>>,
}

impl Scene {
    /// Starts a reference application with a witness: a client that wants an answer now and then.
    pub(super) async fn start(environment: &[(&str, &str)]) -> Result<Self> {
        let gateway = Gateway::reference("gateway", environment).await?;
        // What is made at first use is made.
        drop(WebSocket::joined(gateway.address()).await?);
        stats(gateway.address()).await?;
        let before = gateway.footprint()?;
        let (stop, stopped) = oneshot::channel();
        let witness = WebSocket::joined(gateway.address()).await?;
        let witness = tokio::spawn(witness_until(stopped, witness));
        Ok(Self {
            gateway,
            before,
            stop,
            witness,
        })
    }

    pub(super) fn address(&self) -> &str {
        self.gateway.address()
    }

    /// The bytes it has in memory beyond those it had at the start.
    pub(super) fn growth(&self) -> Result<u64> {
        Ok(self.gateway.footprint()?.rss.saturating_sub(self.before.rss) * 1024)
    }

    /// Waits until this many sessions were closed for this reason.
    pub(super) async fn closed_for(&self, reason: &str, sessions: f64) -> Result<()> {
        let label = format!("reason=\"{reason}\"");
        self.gateway
            .metric_reaches("hallporter_sessions_closed_total", &label, sessions)
            .await?;
        let closed = self.gateway.metric("hallporter_sessions_closed_total", &label).await?;
        ensure!(closed == sessions, "{closed} were closed for {reason}");
        Ok(())
    }

    /// Checks that the witness noticed nothing, and that all is as it was once everybody has gone.
    pub(super) async fn ends_well(self) -> Result<()> {
        let _ = self.stop.send(());
        let served = self.witness.await?.context("the witness noticed")?;
        ensure!(served > 0, "the witness was never served");
        let address = self.gateway.address();
        let deadline = Instant::now() + PATIENCE;
        let mut pace = interval(Duration::from_millis(50));
        loop {
            pace.tick().await;
            let stats = stats(address).await?;
            let files = self.gateway.footprint()?.files;
            let sessions = self.gateway.metric("hallporter_sessions", "").await?;
            let sockets = self.gateway.metric("hallporter_sockets", "").await?;
            let quiet = stats["connects"] == stats["disconnects"] && stats["namespaces"] == json!({});
            // One more is the connection of the question itself.
            if quiet && stats["tasks"] == 0 && sessions + sockets == 0.0 && files <= self.before.files + 1 {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{stats}, {sessions} sessions, {sockets} sockets, {files} open files instead of {}",
                self.before.files
            );
        }
    }
}

/// What the application counts.
pub(super) async fn stats(address: &str) -> Result<Value> {
    let response = Request::get("/_stats").send(address).await?;
    Ok(serde_json::from_str(response.text()?)?)
}

async fn witness_until(mut stopped: oneshot::Receiver<()>, mut witness: WebSocket) -> Result<u32> {
    let mut served = 0;
    let mut pace = interval(Duration::from_millis(10));
    while stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
        let answer = timeout(UNNOTICED, witness.ask("echo", json!(served))).await;
        let answer = answer.context("it had to wait")??;
        ensure!(answer == served, "{answer} came");
        served += 1;
        pace.tick().await;
    }
    Ok(served)
}
