//! Gateways in the test's own process, and clients that say every byte.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::raw::WebSocket;
use e2e::{PATIENCE, RedisServer};
use hallporter::adapters::url::BrokerUrl;
use hallporter::adapters::{ClientManager, Status};
use hallporter::config::Config;
use hallporter::{Bound, Gateway, Namespace, Talk};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

/// Settings of a gateway on a free port.
pub(super) fn config() -> Config {
    Config {
        listen: ([127, 0, 0, 1], 0).into(),
        ..Config::default()
    }
}

/// A gateway that serves until it is closed, or the test is over.
pub(super) struct Host {
    pub(super) address: String,
    pub(super) talk: Talk,
    pub(super) manager: Arc<dyn ClientManager>,
    close: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Host {
    pub(super) async fn start(gateway: Gateway) -> Result<Self> {
        Self::serve(gateway.bind().await?).await
    }

    pub(super) async fn serve(gateway: Bound) -> Result<Self> {
        let (address, talk, manager) = (gateway.address().to_string(), gateway.talk(), gateway.manager().clone());
        let (close, closed) = oneshot::channel();
        let serving = tokio::spawn(async move {
            // The end of the test is as good as being told.
            let _ = gateway.serve(async { drop(closed.await) }).await;
        });
        let mut status = manager.status();
        let listening = status.wait_for(|status| *status == Status::Listening);
        timeout(PATIENCE, listening).await.context("it listens in time")??;
        Ok(Self {
            address,
            talk,
            manager,
            close,
            serving,
        })
    }

    /// Has it let everybody go, and waits until it has.
    pub(super) async fn close(self) -> Result<()> {
        let _ = self.close.send(());
        timeout(PATIENCE, self.serving).await.context("it closes in time")??;
        Ok(())
    }
}

/// A gateway with this namespace alone.
pub(super) async fn serve(namespace: Namespace) -> Result<Host> {
    Host::start(Gateway::new(config()).namespace(namespace)).await
}

/// A client of the namespace `/`.
pub(super) async fn client(host: &Host) -> Result<WebSocket> {
    Ok(client_with(host, json!({})).await?.0)
}

/// A client of the namespace `/` that shows this when it connects, and its sid.
pub(super) async fn client_with(host: &Host, auth: Value) -> Result<(WebSocket, String)> {
    let mut socket = WebSocket::open(&host.address).await?;
    socket.send(&format!("40{auth}")).await?;
    let sid = accepted(&mut socket).await?;
    Ok((socket, sid))
}

/// Reads the packet that connects a client to the namespace `/`, and gives its sid.
pub(super) async fn accepted(socket: &mut WebSocket) -> Result<String> {
    let packet = socket.text().await?;
    let accepted = packet.strip_prefix("40").with_context(|| packet.clone())?;
    let accepted: Value = serde_json::from_str(accepted)?;
    Ok(accepted["sid"].as_str().context("a socket has a sid")?.to_owned())
}

/// What a client reads that shows this and may not connect to the namespace `/`.
pub(super) async fn refusal(host: &Host, auth: Value) -> Result<Value> {
    let mut socket = WebSocket::open(&host.address).await?;
    socket.send(&format!("40{auth}")).await?;
    let packet = socket.text().await?;
    let refusal = packet.strip_prefix("44").with_context(|| packet.clone())?;
    Ok(serde_json::from_str(refusal)?)
}

/// Emits an event, given with its arguments, and returns the arguments of the ack, which has to be what comes next.
pub(super) async fn ask(socket: &mut WebSocket, event: Value) -> Result<Value> {
    socket.send(&format!("427{event}")).await?;
    let (head, answer) = socket.packet().await?;
    ensure!(head == "437" || head == "467", "the ack should come: {head}{answer}");
    Ok(answer)
}

/// The error that an event is acked with.
pub(super) async fn error_of(socket: &mut WebSocket, event: Value) -> Result<Value> {
    let mut answer = ask(socket, event).await?;
    ensure!(
        answer.as_array().is_some_and(|args| args.len() == 1) && answer[0]["error"].is_object(),
        "{answer} is no error"
    );
    Ok(answer[0]["error"].take())
}

/// The next of what is reported.
pub(super) async fn next<T>(reports: &mut UnboundedReceiver<T>) -> Result<T> {
    let next = timeout(PATIENCE, reports.recv()).await;
    next.context("nothing is reported")?.context("nobody reports any more")
}

/// Settings of a gateway of the cluster on this broker, whose gateways look after each other more often than is usual.
pub(super) fn cluster_config(redis: &RedisServer) -> Result<Config> {
    let mut config = config();
    config.manager.url = BrokerUrl::parse(&redis.url())?;
    config.manager.canary_interval = Duration::from_millis(200);
    Ok(config)
}

/// Waits until these gateways know each other.
pub(super) async fn meet<'a>(hosts: impl Iterator<Item = &'a Host> + Clone) -> Result<()> {
    let count = hosts.clone().count();
    let mut pace = interval(Duration::from_millis(5));
    let met = async {
        for host in hosts {
            while host.manager.hosts().len() < count {
                pace.tick().await;
            }
        }
    };
    timeout(PATIENCE, met).await.context("the gateways do not meet")
}

/// As a panic is, but nothing is printed.
pub(super) fn panic_quietly() {
    std::panic::resume_unwind(Box::new("asked to"));
}
