//! A real client, as the tests see it.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use crate::{Driver, PATIENCE};

/// An event a client received: its name and the array of its arguments.
pub type Report = (String, Value);

/// How a client connects.
#[derive(Clone, Debug)]
pub struct Connect(Value);

impl Connect {
    /// To the namespace `/` at this URL.
    #[must_use]
    pub fn to(url: impl Into<String>) -> Self {
        Self(json!({"url": url.into()}))
    }

    /// To a reference application, which greets each client with the event `auth`; it is awaited.
    #[must_use]
    pub fn to_reference(url: impl Into<String>) -> Self {
        Self::to(url).with("greeted", true)
    }

    /// To another namespace.
    #[must_use]
    pub fn namespace(self, namespace: &str) -> Self {
        self.with("namespace", namespace)
    }

    /// By these transports only.
    #[must_use]
    pub fn transports(self, transports: &[&str]) -> Self {
        self.with("transports", transports)
    }

    /// With this CONNECT payload.
    #[must_use]
    pub fn auth(self, auth: Value) -> Self {
        self.with("auth", auth)
    }

    /// Over the Engine.IO session of another client of the same driver; Node only.
    #[must_use]
    pub fn share(self, client: &Client) -> Self {
        self.with("share", client.name())
    }

    /// As socket.io-client of this major version, 2, 3 or 4; Node only.
    #[must_use]
    pub fn version(self, version: u8) -> Self {
        self.with("version", version)
    }

    /// With packets written by the parser of this name; Node only.
    #[must_use]
    pub fn parser(self, parser: &str) -> Self {
        self.with("parser", parser)
    }

    /// As a synchronous `socketio.Client`; python only.
    #[must_use]
    pub fn synchronous(self) -> Self {
        self.with("kind", "sync")
    }

    /// Answering each of these events, where an ack is asked for, with these arguments.
    #[must_use]
    pub fn replies(self, replies: Value) -> Self {
        self.with("replies", replies)
    }

    /// Counting the events of this name, with arguments (emitter, number), instead of reporting them; Node only.
    #[must_use]
    pub fn count(self, event: &str) -> Self {
        self.with("count", event)
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0[key] = value.into();
        self
    }

    pub(crate) fn request(mut self, name: &str) -> Value {
        self.0["client"] = name.into();
        self.0
    }
}

/// A connected client; what it receives waits here until it is asked for.
#[derive(Debug)]
pub struct Client {
    driver: Driver,
    name: String,
    sid: String,
    patience: Duration,
    inbox: UnboundedReceiver<Value>,
}

impl Client {
    pub(crate) async fn connect(driver: Driver, name: &str, connect: Connect) -> Result<Self> {
        let inbox = driver.inbox(name);
        let request = connect.request(name);
        let greeted = request["greeted"] == true;
        driver.request("connect", request).await?;
        let name = name.to_owned();
        let mut client = Self {
            driver,
            name,
            sid: String::new(),
            patience: PATIENCE,
            inbox,
        };
        client.connected().await?;
        if greeted {
            client.event("auth").await?;
        }
        Ok(client)
    }

    /// Waits until it is connected (again) and takes note of its sid.
    ///
    /// # Errors
    /// It is refused or not connected in time.
    pub async fn connected(&mut self) -> Result<()> {
        let report = self.next(&["connect", "connect_error"]).await?;
        ensure!(report["kind"] == "connect", "{} is not let in: {report}", self.name);
        self.sid = report["sid"]
            .as_str()
            .context("a connected client has a sid")?
            .to_owned();
        Ok(())
    }

    /// The name the test gave it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its sid.
    #[must_use]
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// Has everything awaited of it take as long as this.
    pub fn patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The transport it uses now.
    ///
    /// # Errors
    /// The driver cannot tell.
    pub async fn transport(&self) -> Result<Value> {
        self.driver.request("transport", json!({"client": self.name})).await
    }

    /// Waits until it has changed to another transport and returns that; Node only.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn upgraded(&self) -> Result<Value> {
        self.driver.request("upgraded", json!({"client": self.name})).await
    }

    /// Emits without asking for an ack.
    ///
    /// # Errors
    /// The driver cannot.
    pub async fn emit(&self, event: &str, args: Value) -> Result<()> {
        self.driver
            .request("emit", json!({"client": self.name, "event": event, "args": args}))
            .await?;
        Ok(())
    }

    /// Emits and returns the arguments of the ack.
    ///
    /// # Errors
    /// There is no ack in time.
    pub async fn ask(&self, event: &str, args: Value) -> Result<Value> {
        // The client gives up before its driver is given up.
        let timeout = self.patience.mul_f32(0.8).as_millis();
        let request = json!({"client": self.name, "event": event, "args": args, "ack": true, "timeout": timeout});
        self.driver.request_within(self.patience, "emit", request).await
    }

    /// Joins a room by the event `join`.
    ///
    /// # Errors
    /// It is not acked with "ok".
    pub async fn join(&self, room: &str) -> Result<()> {
        let answer = self.ask("join", json!([room])).await?;
        ensure!(answer == json!(["ok"]), "{} may not join {room}: {answer}", self.name);
        Ok(())
    }

    /// Waits for the event `last` and returns what came before it, in order.
    ///
    /// # Errors
    /// It does not come in time, or the client is disconnected before.
    pub async fn until(&mut self, last: &str) -> Result<Vec<Report>> {
        let mut before = Vec::new();
        loop {
            let report = self.next(&["event", "disconnect"]).await;
            let report = report.with_context(|| format!("{last:?} did not come; {before:?} did"))?;
            ensure!(report["kind"] == "event", "{} is disconnected: {report}", self.name);
            let event = report["event"].as_str().context("an event has a name")?.to_owned();
            if event == last {
                return Ok(before);
            }
            before.push((event, report["args"].clone()));
        }
    }

    /// Waits for the next event, which has to be `event`, and returns its arguments.
    ///
    /// # Errors
    /// Another comes, or none in time.
    pub async fn event(&mut self, event: &str) -> Result<Value> {
        let report = self
            .next(&["event", "disconnect"])
            .await
            .with_context(|| format!("no {event:?} came"))?;
        ensure!(
            report["event"] == event,
            "{}: {event:?} should come: {report}",
            self.name
        );
        Ok(report["args"].clone())
    }

    /// Waits for the next event of this name, passes over others, and returns its arguments.
    ///
    /// # Errors
    /// It does not come in time, or the client is disconnected before.
    pub async fn find(&mut self, event: &str) -> Result<Value> {
        loop {
            let report = self.next(&["event", "disconnect"]).await;
            let report = report.with_context(|| format!("no {event:?} came"))?;
            ensure!(report["kind"] == "event", "{} is disconnected: {report}", self.name);
            if report["event"] == event {
                return Ok(report["args"].clone());
            }
        }
    }

    /// Waits until it is disconnected and returns the reason.
    ///
    /// # Errors
    /// It is not in time.
    pub async fn disconnected(&mut self) -> Result<String> {
        let report = self.next(&["disconnect"]).await?;
        Ok(report["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// Leaves by itself.
    ///
    /// # Errors
    /// The driver cannot.
    pub async fn disconnect(&self) -> Result<()> {
        self.driver.request("disconnect", json!({"client": self.name})).await?;
        Ok(())
    }

    /// How many of the counted events it received, and how many of them came out of order or twice.
    ///
    /// # Errors
    /// The driver does not count.
    pub async fn summary(&self) -> Result<(u64, u64)> {
        let summary = self.driver.request("summary", json!({"client": self.name})).await?;
        match (summary["received"].as_u64(), summary["disorder"].as_u64()) {
            (Some(received), Some(disorder)) => Ok((received, disorder)),
            _ => bail!("{summary} is no summary"),
        }
    }

    /// The next report of one of these kinds.
    async fn next(&mut self, kinds: &[&str]) -> Result<Value> {
        let waited = async {
            loop {
                let report = self.inbox.recv().await.context("the driver has ended")?;
                if kinds.iter().any(|kind| report["kind"] == *kind) {
                    return Ok(report);
                }
            }
        };
        timeout(self.patience, waited)
            .await
            .with_context(|| format!("{} waits for {kinds:?}", self.name))?
    }
}
