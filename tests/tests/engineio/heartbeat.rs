//! Engine.IO 4, "Heartbeat": the server pings, the client answers.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::raw::{Opcode, Polling, WebSocket};
use e2e::{PATIENCE, disconnect_reason, shared};
use serde_json::json;
use tokio::time::Instant;

/// The interval of the reference application, less what clocks may differ by.
const INTERVAL: Duration = Duration::from_millis(950);
/// When a client that does not answer is given up, less the same.
const TIMEOUT: Duration = Duration::from_millis(2450);

#[tokio::test]
async fn pings_come_at_the_interval_on_websocket() -> Result<()> {
    let mut socket = WebSocket::open(shared().await?).await?;
    socket.enter("/", json!({})).await?;
    for round in 0..2 {
        let start = Instant::now();
        let frame = socket.frame().await?;
        assert_eq!((frame.opcode, frame.payload.as_slice()), (Opcode::Text, &b"2"[..]));
        assert!(
            start.elapsed() > INTERVAL - Duration::from_millis(100),
            "ping {round} comes too soon"
        );
        socket.send("3").await?;
    }
    Ok(())
}

#[tokio::test]
async fn pings_come_at_the_interval_on_polling() -> Result<()> {
    let mut start = Instant::now();
    let mut polling = Polling::open(shared().await?).await?;
    polling.enter(json!({})).await?;
    for round in 0..2 {
        assert_eq!(polling.poll().await?.text()?, "2");
        assert!(start.elapsed() > INTERVAL, "ping {round} comes too soon");
        start = Instant::now();
        polling.send("3").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_websocket_that_does_not_answer_is_closed() -> Result<()> {
    let start = Instant::now();
    let mut socket = WebSocket::open(shared().await?).await?;
    socket.enter("/", json!({"tag": "silent-websocket"})).await?;
    socket.closed().await?;
    assert!(start.elapsed() > TIMEOUT, "it is closed too soon");
    assert_eq!(
        disconnect_reason(shared().await?, "silent-websocket").await?,
        "ping timeout"
    );
    Ok(())
}

#[tokio::test]
async fn a_polling_client_that_does_not_answer_is_closed() -> Result<()> {
    let start = Instant::now();
    let mut polling = Polling::open(shared().await?).await?;
    polling.enter(json!({"tag": "silent-polling"})).await?;
    assert_eq!(polling.poll().await?.text()?, "2");
    while polling.poll().await?.status == 200 {
        ensure!(start.elapsed() < PATIENCE, "it is not closed");
    }
    assert!(start.elapsed() > TIMEOUT, "it is closed too soon");
    assert_eq!(
        disconnect_reason(shared().await?, "silent-polling").await?,
        "ping timeout"
    );
    Ok(())
}

/// Since version 4 the server pings: a client must not.
#[tokio::test]
async fn a_client_that_pings_is_closed() -> Result<()> {
    let mut socket = WebSocket::open(shared().await?).await?;
    socket.enter("/", json!({"tag": "pings"})).await?;
    socket.send("2").await?;
    socket.closed().await?;
    let reason = disconnect_reason(shared().await?, "pings").await?;
    assert!(reason == "transport error" || reason == "parse error", "{reason}");
    Ok(())
}
