//! A gateway with routes, and clients that say every byte.

use anyhow::{Context, Result, ensure};
use e2e::raw::WebSocket;
use e2e::{Gateway, Settings};
use serde_json::{Value, json};

/// A gateway, and its configuration file.
pub(super) struct Scene {
    pub(super) gateway: Gateway,
    _settings: Settings,
}

/// A gateway with `/` open to everybody and these further lines of configuration.
pub(super) async fn serve(more: &str) -> Result<Scene> {
    serve_all(&format!("[[namespace]]\nname = \"/\"\npublic = true\n{more}")).await
}

/// A gateway with this configuration.
pub(super) async fn serve_all(configuration: &str) -> Result<Scene> {
    let settings = Settings::new(configuration)?;
    let gateway = Gateway::hallporter("gateway", &["serve", "--config", settings.path()?], &[]).await?;
    Ok(Scene::of(gateway, settings))
}

/// A route of all events to there, with these further keys.
pub(super) fn route(to: &str, more: &str) -> String {
    format!("[[route]]\nevent = \"*\"\nto = \"{to}\"\n{more}\n")
}

impl Scene {
    /// This gateway, which has read these settings.
    pub(super) fn of(gateway: Gateway, settings: Settings) -> Self {
        Self {
            gateway,
            _settings: settings,
        }
    }

    /// A client of `/`, and its sid.
    pub(super) async fn client(&self) -> Result<(WebSocket, String)> {
        let mut socket = WebSocket::open(self.gateway.address()).await?;
        let sid = enter(&mut socket, "/", json!({})).await?;
        Ok((socket, sid))
    }

    /// What a client reads that may not connect to `/`.
    pub(super) async fn refusal(&self, auth: Value) -> Result<Value> {
        let mut socket = WebSocket::open(self.gateway.address()).await?;
        socket.send(&format!("40{auth}")).await?;
        let packet = socket.text().await?;
        let refusal = packet.strip_prefix("44").with_context(|| packet.clone())?;
        Ok(serde_json::from_str(refusal)?)
    }

    /// The sum of a metric of the route with this number.
    pub(super) async fn metric(&self, name: &str, labels: &str) -> Result<f64> {
        self.gateway.metric(name, labels).await
    }
}

/// Connects to a namespace, and gives the sid.
pub(super) async fn enter(socket: &mut WebSocket, namespace: &str, auth: Value) -> Result<String> {
    let head = if namespace == "/" {
        "40".to_owned()
    } else {
        format!("40{namespace},")
    };
    socket.send(&format!("{head}{auth}")).await?;
    let packet = socket.text().await?;
    let accepted = packet.strip_prefix(&head).with_context(|| packet.clone())?;
    let accepted: Value = serde_json::from_str(accepted)?;
    Ok(accepted["sid"].as_str().context("a socket has a sid")?.to_owned())
}

/// Emits an event, given with its arguments, and returns the arguments of the ack, which has to be what comes next.
pub(super) async fn ask(socket: &mut WebSocket, event: Value) -> Result<Value> {
    socket.send(&format!("427{event}")).await?;
    let (head, answer) = socket.packet().await?;
    ensure!(head == "437" || head == "467", "the ack should come: {head}{answer}");
    Ok(answer)
}

/// The code of the error that an event is acked with.
pub(super) async fn code_of(socket: &mut WebSocket, event: Value) -> Result<String> {
    let answer = ask(socket, event).await?;
    let code = answer[0]["error"]["code"].as_str();
    Ok(code.with_context(|| format!("{answer} is no error"))?.to_owned())
}
