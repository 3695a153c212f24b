//! Socket.IO 5 on a raw session, against the reference application.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Polling, WebSocket, packet};

/// What stands in a packet before what concerns a namespace.
fn prefix(kind: &str, namespace: &str) -> String {
    match namespace {
        "/" => format!("4{kind}"),
        namespace => format!("4{kind}{namespace},"),
    }
}

/// The sid in a CONNECT packet.
fn sid(packet: &str, namespace: &str) -> Result<String> {
    let accepted = packet.strip_prefix(&prefix("0", namespace));
    let accepted = accepted.with_context(|| format!("CONNECT should come: {packet}"))?;
    let accepted: Value = serde_json::from_str(accepted)?;
    Ok(accepted["sid"].as_str().context("a socket has a sid")?.to_owned())
}

impl WebSocket {
    /// Opens a session and connects it to the namespace `/`.
    ///
    /// # Errors
    /// It is refused.
    pub async fn joined(address: &str) -> Result<Self> {
        let mut socket = Self::open(address).await?;
        socket.enter("/", json!({})).await?;
        Ok(socket)
    }

    /// Connects to a namespace, whose greeting is read, and returns the sid.
    ///
    /// # Errors
    /// It is refused.
    pub async fn enter(&mut self, namespace: &str, auth: Value) -> Result<String> {
        self.send(&format!("{}{auth}", prefix("0", namespace))).await?;
        let sid = sid(&self.text().await?, namespace)?;
        let greeting = format!("{}{}", prefix("2", namespace), json!(["auth", auth]));
        ensure!(self.text().await? == greeting, "the greeting is missing");
        Ok(sid)
    }

    /// Sends a packet and its attachments.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn send_packet(&mut self, packet: &str, attachments: &[&[u8]]) -> Result<()> {
        self.send(packet).await?;
        for attachment in attachments {
            self.send_binary(attachment).await?;
        }
        Ok(())
    }

    /// The next packet: what stands before its payload, without the count of attachments, and the payload with the
    /// attachments in place, as `{"$bytes": base64}`.
    ///
    /// # Errors
    /// None comes, or its attachments do not.
    pub async fn packet(&mut self) -> Result<(String, Value)> {
        let packet = self.text().await?;
        let count = packet::attachments(&packet)?;
        let mut attachments = Vec::new();
        for _ in 0..count {
            attachments.push(self.binary().await?);
        }
        let payload = packet::resolve(&packet, &attachments).with_context(|| format!("in {packet}"))?;
        let head = packet.split('[').next().unwrap_or_default();
        let head = if count == 0 {
            head.to_owned()
        } else {
            head.replacen(&format!("{count}-"), "", 1)
        };
        Ok((head, payload))
    }

    /// Emits to the namespace `/`.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn emit(&mut self, event: &str, data: Value) -> Result<()> {
        self.send(&format!("42{}", json!([event, data]))).await
    }

    /// Emits to the namespace `/` and returns the one argument of the ack, which has to be what comes next.
    ///
    /// # Errors
    /// Something else comes.
    pub async fn ask(&mut self, event: &str, data: Value) -> Result<Value> {
        self.ask_with("42", "43", event, data).await
    }

    /// The same in another namespace.
    ///
    /// # Errors
    /// Something else comes.
    pub async fn ask_in(&mut self, namespace: &str, event: &str, data: Value) -> Result<Value> {
        let (sent, acked) = (prefix("2", namespace), prefix("3", namespace));
        self.ask_with(&sent, &acked, event, data).await
    }

    async fn ask_with(&mut self, sent: &str, acked: &str, event: &str, data: Value) -> Result<Value> {
        self.send(&format!("{sent}7{}", json!([event, data]))).await?;
        let packet = self.text().await?;
        let answer = packet.strip_prefix(&format!("{acked}7"));
        let answer = answer.with_context(|| format!("the ack of {event} should come: {packet}"))?;
        let answer: Vec<Value> = serde_json::from_str(answer)?;
        answer.into_iter().next().context("the ack has an argument")
    }
}

impl Polling {
    /// Connects to the namespace `/`, whose greeting is read, and returns the sid.
    ///
    /// # Errors
    /// It is refused.
    pub async fn enter(&mut self, auth: Value) -> Result<String> {
        self.send(format!("40{auth}")).await?;
        let sid = sid(&self.packet().await?, "/")?;
        let greeting = format!("42{}", json!(["auth", auth]));
        ensure!(self.packet().await? == greeting, "the greeting is missing");
        Ok(sid)
    }
}
