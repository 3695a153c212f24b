//! Clients that do not read what they are sent.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::raw::{Polling, WebSocket, connect_narrow};
use e2e::{disconnect_reason, fence_name};
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use crate::scene::{MIB, NO_HEARTBEAT, Scene, stats};

/// A WebSocket in a room whose other end can be written little.
async fn narrow(address: &str, auth: Value, room: &str) -> Result<WebSocket> {
    let mut socket = WebSocket::open_on(connect_narrow(address).await?).await?;
    socket.enter("/", auth).await?;
    assert_eq!(socket.ask("join", json!(room)).await?, "ok");
    Ok(socket)
}

#[tokio::test]
async fn a_frozen_reader_is_disconnected_and_the_others_receive_all() -> Result<()> {
    const MESSAGES: u64 = 400;
    let scene = Scene::start(&[NO_HEARTBEAT]).await?;
    let address = scene.address();
    let mut frozen = Vec::new();
    for number in 0..3 {
        frozen.push(narrow(address, json!({"tag": format!("frozen-{number}")}), "room").await?);
    }
    let mut reader = WebSocket::joined(address).await?;
    assert_eq!(reader.ask("join", json!("room")).await?, "ok");
    let mut sender = WebSocket::joined(address).await?;
    let text = "x".repeat(16 * 1024);
    let sending = tokio::spawn(async move {
        for number in 0..MESSAGES {
            let request = json!({"event": "news", "data": [number, text], "room": "room"});
            assert_eq!(sender.ask("broadcast", request).await?, "ok");
        }
        anyhow::Ok(sender)
    });
    for number in 0..MESSAGES {
        assert_eq!(reader.packet().await?.1[1][0], number);
    }
    let sender = sending.await??;
    scene.closed_for("client_buffer_full", 3.0).await?;
    for number in 0..3 {
        let reason = disconnect_reason(address, &format!("frozen-{number}")).await?;
        assert_eq!(reason, "transport error");
    }
    let growth = scene.growth()?;
    ensure!(growth < 24 * MIB, "the gateway has grown by {growth} bytes");
    drop((frozen, reader, sender));
    scene.ends_well().await
}

#[tokio::test]
async fn a_reader_that_takes_nothing_for_too_long_is_disconnected() -> Result<()> {
    let scene = Scene::start(&[NO_HEARTBEAT, ("HALLPORTER_LIMITS__WRITE_STALL", "500ms")]).await?;
    let mut frozen = narrow(scene.address(), json!({}), "room").await?;
    let start = Instant::now();
    // Less than may wait for it.
    frozen.emit("burst", json!({"n": 60, "size": 16_000})).await?;
    scene.closed_for("write_stall", 1.0).await?;
    ensure!(
        start.elapsed() > Duration::from_millis(450),
        "it is disconnected too soon"
    );
    scene.ends_well().await
}

#[tokio::test]
async fn a_slow_reader_is_waited_for() -> Result<()> {
    let scene = Scene::start(&[NO_HEARTBEAT, ("HALLPORTER_LIMITS__WRITE_STALL", "500ms")]).await?;
    let mut slow = narrow(scene.address(), json!({}), "room").await?;
    slow.emit("burst", json!({"n": 60, "size": 16_000})).await?;
    // A second in all.
    let mut pace = interval(Duration::from_millis(20));
    for number in 0..60 {
        assert_eq!(slow.packet().await?.1[1], number);
        pace.tick().await;
    }
    assert_eq!(slow.ask("echo", json!(1)).await?, 1);
    drop(slow);
    scene.ends_well().await
}

/// Progress is what the client takes, also while the kernel still holds much of it.
#[tokio::test]
async fn a_very_slow_reader_is_waited_for() -> Result<()> {
    let scene = Scene::start(&[NO_HEARTBEAT, ("HALLPORTER_LIMITS__WRITE_STALL", "500ms")]).await?;
    let mut slow = narrow(scene.address(), json!({}), "room").await?;
    slow.emit("burst", json!({"n": 60, "size": 16_000})).await?;
    let mut pace = interval(Duration::from_millis(120));
    for number in 0..25 {
        assert_eq!(slow.packet().await?.1[1], number);
        pace.tick().await;
    }
    for number in 25..60 {
        assert_eq!(slow.packet().await?.1[1], number);
    }
    drop(slow);
    scene.ends_well().await
}

#[tokio::test]
async fn what_is_volatile_is_dropped_for_a_frozen_reader() -> Result<()> {
    const EMITS: u64 = 3000;
    let scene = Scene::start(&[NO_HEARTBEAT]).await?;
    let mut frozen = narrow(scene.address(), json!({}), "room").await?;
    frozen
        .emit("burst", json!({"n": EMITS, "size": 16_000, "volatile": true}))
        .await?;
    scene
        .gateway
        .metric_reaches("hallporter_deliveries_dropped_total", "", 1.0)
        .await?;
    let growth = scene.growth()?;
    ensure!(growth < 24 * MIB, "the gateway has grown by {growth} bytes");
    // What was not dropped comes in order, and after it what is not volatile.
    let fence = fence_name();
    frozen.emit("message", json!(fence)).await?;
    let (mut received, mut last) = (0, None);
    loop {
        let (_, payload) = frozen.packet().await?;
        if payload == json!(["message-back", fence]) {
            break;
        }
        let number = payload[1].as_u64();
        ensure!(number > last, "{number:?} comes after {last:?}");
        (received, last) = (received + 1, number);
    }
    ensure!(received < EMITS, "nothing was dropped");
    drop(frozen);
    scene.ends_well().await
}

#[tokio::test]
async fn who_never_polls_is_disconnected() -> Result<()> {
    let scene = Scene::start(&[NO_HEARTBEAT]).await?;
    let mut frozen = Polling::open(scene.address()).await?;
    frozen.enter(json!({"tag": "never-polls"})).await?;
    frozen.send(r#"42["burst",{"n":2000,"size":16000}]"#).await?;
    scene.closed_for("client_buffer_full", 1.0).await?;
    assert_eq!(
        disconnect_reason(scene.address(), "never-polls").await?,
        "transport error"
    );
    let growth = scene.growth()?;
    ensure!(growth < 16 * MIB, "the gateway has grown by {growth} bytes");
    assert_eq!(frozen.poll().await?.error_code()?, 1);
    scene.ends_well().await
}

/// A client that does not read can be disconnected all the same.
#[tokio::test]
async fn a_frozen_reader_can_be_kicked() -> Result<()> {
    let scene = Scene::start(&[NO_HEARTBEAT, ("HALLPORTER_LIMITS__WRITE_STALL", "1s")]).await?;
    let mut frozen = narrow(scene.address(), json!({"tag": "kicked"}), "room").await?;
    frozen.emit("burst", json!({"n": 60, "size": 16_000})).await?;
    frozen.emit("kick", json!(null)).await?;
    assert_eq!(
        disconnect_reason(scene.address(), "kicked").await?,
        "server namespace disconnect"
    );
    scene.ends_well().await
}

/// The end of a gateway does not wait for clients that do not read.
#[tokio::test]
async fn a_frozen_reader_does_not_keep_the_gateway() -> Result<()> {
    let mut scene = Scene::start(&[NO_HEARTBEAT]).await?;
    let mut frozen = narrow(scene.address(), json!({}), "room").await?;
    frozen.emit("burst", json!({"n": 60, "size": 16_000})).await?;
    assert!(stats(scene.address()).await?["connects"].as_u64() >= Some(3));
    scene.gateway.process().signal(rustix::process::Signal::TERM)?;
    assert_eq!(scene.gateway.process().ended().await?, 0);
    Ok(())
}
