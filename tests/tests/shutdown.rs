//! A gateway that is asked to end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{PATIENCE, Pair};
use redis::aio::PubSub;
use rustix::process::Signal;
use tokio::time::timeout;

/// The next message that Hallporter hosts tell each other about `gone`.
async fn farewell(messages: &mut PubSub) -> Result<String> {
    use futures_util::StreamExt;
    let mut messages = messages.on_message();
    loop {
        let message = messages.next().await.context("Redis ended")?;
        let text: String = message.get_payload()?;
        if text.contains("gone") {
            return Ok(text);
        }
    }
}

#[tokio::test]
async fn a_gateway_says_farewell_and_lets_its_clients_go() -> Result<()> {
    let mut pair = Pair::start(&[]).await?;
    let mut messages = redis::Client::open(pair.redis.url())?.get_async_pubsub().await?;
    messages.subscribe("socketio.hallporter").await?;
    // In the middle of an upgrade a client would notice by its next heartbeat only.
    pair.clients[1].upgraded().await?;
    let [_, leaving] = &mut pair.gateways;
    leaving.process().signal(Signal::TERM)?;
    let text = timeout(PATIENCE, farewell(&mut messages)).await??;
    let ended = timeout(Duration::from_secs(6), leaving.process().ended()).await??;
    ensure!(ended == 0, "it ends with {ended}");
    let host = leaving.log().line("listening").await?;
    let id = text
        .split('"')
        .find(|part| part.starts_with("hallporter-"))
        .context(text.clone())?;
    ensure!(host.contains(id), "{id} says farewell, not {host}");
    pair.clients[1].disconnected().await?;
    // The other one goes on.
    pair.redis
        .publish("socketio", e2e::emit("on", serde_json::json!([1]), None).as_bytes())
        .await?;
    pair.clients[0].event("on").await?;
    Ok(())
}
