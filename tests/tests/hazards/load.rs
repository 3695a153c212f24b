//! More than a client or a gateway should be asked for.

use anyhow::{Result, ensure};
use e2e::raw::{Frame, Opcode, Polling, WebSocket};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::scene::{MIB, NO_HEARTBEAT, Scene, stats};

#[tokio::test]
async fn a_burst_of_five_thousand_arrives() -> Result<()> {
    let scene = Scene::start(&[NO_HEARTBEAT]).await?;
    let mut socket = WebSocket::joined(scene.address()).await?;
    socket.emit("burst", json!({"n": 5000, "size": 128})).await?;
    for number in 0..5000 {
        assert_eq!(socket.packet().await?.1[1], number);
    }
    drop(socket);
    scene.ends_well().await
}

/// Sends `count` numbered events after one whose handler is busy for `busy` ms, and checks that each is handled once, in order.
async fn handled_in_order(scene: &Scene, busy: u64, count: u64) -> Result<()> {
    let address = scene.address();
    let mut socket = WebSocket::joined(address).await?;
    let ask = json!(["ask", {"event": "question", "timeout": busy}]);
    socket.send(&format!("427{ask}")).await?;
    assert!(socket.text().await?.ends_with(r#"["question"]"#));
    let text = "x".repeat(200);
    let mut writer = socket.writer()?;
    let writing = tokio::spawn(async move {
        for number in 0..count {
            let event = format!("42{}", json!(["message", number, text]));
            writer.write_all(&Frame::new(Opcode::Text, event).masked()).await?;
        }
        anyhow::Ok(())
    });
    assert_eq!(socket.packet().await?.1, json!([{"ok": false, "error": "timeout"}]));
    let growth = scene.growth()?;
    for number in 0..count {
        let (_, payload) = socket.packet().await?;
        assert_eq!((&payload[0], &payload[1]), (&json!("message-back"), &json!(number)));
    }
    writing.await??;
    let growth = growth.max(scene.growth()?);
    ensure!(growth < 16 * MIB, "the gateway has grown by {growth} bytes");
    Ok(())
}

/// What cannot be handled yet is left with the client.
#[tokio::test]
async fn twenty_thousand_events_wait_for_a_busy_handler() -> Result<()> {
    let scene = Scene::start(&[NO_HEARTBEAT]).await?;
    handled_in_order(&scene, 1000, 20_000).await?;
    scene.ends_well().await
}

/// A client is not taken for dead because the gateway does not read what it sends.
#[tokio::test]
async fn a_handler_may_be_busy_for_longer_than_a_heartbeat() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    handled_in_order(&scene, 4000, 5000).await?;
    scene.ends_well().await
}

#[tokio::test]
async fn sessions_that_connect_nowhere_are_closed() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let mut sockets = Vec::new();
    for number in 0..1000 {
        match number % 2 {
            0 => drop(Polling::open(scene.address()).await?),
            _ => sockets.push(WebSocket::open(scene.address()).await?),
        }
    }
    let growth = scene.growth()?;
    ensure!(growth < 24 * MIB, "the gateway has grown by {growth} bytes");
    scene.closed_for("connect_timeout", 1000.0).await?;
    for socket in sockets {
        socket.closed().await?;
    }
    scene.ends_well().await
}

#[tokio::test]
async fn clients_that_come_and_go_leave_nothing() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let mut socket = WebSocket::joined(scene.address()).await?;
    for number in 0..300 {
        let namespace = format!("/tenant-{number}");
        socket.enter(&namespace, json!({})).await?;
        assert_eq!(socket.ask_in(&namespace, "join", json!(["a", "b"])).await?, "ok");
        socket.send(&format!("41{namespace},")).await?;
        drop(WebSocket::joined(scene.address()).await?);
    }
    drop(socket);
    scene.ends_well().await
}

#[tokio::test]
async fn one_client_cannot_have_namespaces_without_end() -> Result<()> {
    let scene = Scene::start(&[NO_HEARTBEAT]).await?;
    let mut socket = WebSocket::open(scene.address()).await?;
    let asked = async {
        for number in 0..2000 {
            socket.send(&format!("40/tenant-{number},")).await?;
            if socket.text().await?.starts_with("44") {
                continue;
            }
            socket.text().await?;
        }
        anyhow::Ok(())
    };
    // It is refused, or its connection ends.
    let _ = asked.await;
    let namespaces = stats(scene.address()).await?["namespaces"]
        .as_object()
        .map_or(0, serde_json::Map::len);
    ensure!(namespaces < 1000, "there are {namespaces} namespaces");
    drop(socket);
    scene.ends_well().await
}
