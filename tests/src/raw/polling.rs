//! An Engine.IO session on HTTP long-polling.

use std::collections::VecDeque;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::timeout;

use crate::PATIENCE;

use super::{Exchange, Request, Response};

/// What separates the packets of a payload.
const SEPARATOR: char = '\x1e';

/// A session of Engine.IO 4.
#[derive(Debug)]
pub struct Polling {
    address: String,
    handshake: Value,
    packets: VecDeque<String>,
}

impl Polling {
    /// Opens one.
    ///
    /// # Errors
    /// It is refused.
    pub async fn open(address: &str) -> Result<Self> {
        let response = Request::get("/socket.io/?EIO=4&transport=polling")
            .send(address)
            .await?;
        let body = response.text()?;
        ensure!(
            response.status == 200,
            "{} instead of a handshake: {body}",
            response.status
        );
        let open = body.strip_prefix('0').context("the first packet is `open`")?;
        Ok(Self {
            address: address.to_owned(),
            handshake: serde_json::from_str(open)?,
            packets: VecDeque::new(),
        })
    }

    /// The payload of the handshake.
    #[must_use]
    pub fn handshake(&self) -> &Value {
        &self.handshake
    }

    /// The id of the session.
    ///
    /// # Errors
    /// The handshake has none.
    pub fn eio_sid(&self) -> Result<&str> {
        self.handshake["sid"].as_str().context("a session has an id")
    }

    /// What its requests ask for.
    ///
    /// # Errors
    /// The handshake has no id.
    pub fn target(&self) -> Result<String> {
        Ok(format!("/socket.io/?EIO=4&transport=polling&sid={}", self.eio_sid()?))
    }

    /// What a WebSocket that takes the session over asks for.
    ///
    /// # Errors
    /// The handshake has no id.
    pub fn upgrade_query(&self) -> Result<String> {
        Ok(format!("EIO=4&transport=websocket&sid={}", self.eio_sid()?))
    }

    /// Posts a payload, whatever becomes of it.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn post(&self, payload: impl Into<Vec<u8>>) -> Result<Response> {
        Request::post(self.target()?, payload).send(&self.address).await
    }

    /// Posts a payload, which has to be taken.
    ///
    /// # Errors
    /// It is not.
    pub async fn send(&self, payload: impl Into<Vec<u8>>) -> Result<()> {
        let response = self.post(payload).await?;
        let body = response.text()?;
        ensure!(response.status == 200 && body == "ok", "{} {body}", response.status);
        Ok(())
    }

    /// Starts to poll.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn start_poll(&self) -> Result<Exchange> {
        Request::get(self.target()?).start(&self.address).await
    }

    /// Polls once; heartbeats are left as they are.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn poll(&self) -> Result<Response> {
        self.start_poll().await?.response().await
    }

    /// The next packet.
    ///
    /// # Errors
    /// There is none in time, or the session has ended.
    pub async fn packet(&mut self) -> Result<String> {
        timeout(PATIENCE, self.next_packet()).await.context("no packet came")?
    }

    async fn next_packet(&mut self) -> Result<String> {
        loop {
            if let Some(packet) = self.packets.pop_front() {
                if packet != "2" {
                    return Ok(packet);
                }
                self.send("3").await?;
            } else {
                let response = self.poll().await?;
                let body = response.text()?;
                ensure!(response.status == 200, "{} {body}", response.status);
                self.packets.extend(body.split(SEPARATOR).map(str::to_owned));
            }
        }
    }

    /// The packets that were polled and not yet asked for.
    pub fn waiting(&mut self) -> impl Iterator<Item = String> {
        self.packets.drain(..)
    }
}
