//! Clients that begin something and do not end it.

use anyhow::{Result, ensure};
use e2e::disconnect_reason;
use e2e::raw::{Frame, Opcode, Polling, WebSocket, connect};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::scene::{MIB, Scene};

/// Waits until the gateway ends the connection.
async fn ended(mut stream: TcpStream) -> Result<()> {
    let mut bytes = Vec::new();
    // A reset is an end, too.
    let _ = timeout(e2e::PATIENCE, stream.read_to_end(&mut bytes)).await?;
    Ok(())
}

#[tokio::test]
async fn half_a_request_is_not_waited_for() -> Result<()> {
    let scene = Scene::start(&[("HALLPORTER_LIMITS__REQUEST_HEAD", "1s")]).await?;
    let opening = WebSocket::opening("EIO=4&transport=websocket");
    let mut streams = Vec::new();
    for number in 0..200 {
        let mut stream = connect(scene.address()).await?;
        stream.write_all(&opening.as_bytes()[..number % 100]).await?;
        streams.push(stream);
    }
    for stream in streams {
        ended(stream).await?;
    }
    scene.ends_well().await
}

/// A post that trickles is no sign of life: the heartbeats go on.
#[tokio::test]
async fn a_post_that_does_not_end_ends_with_its_session() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let mut polling = Polling::open(scene.address()).await?;
    polling.enter(json!({"tag": "trickles"})).await?;
    let mut stream = connect(scene.address()).await?;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 900000\r\n\r\n42[",
        polling.target()?
    );
    stream.write_all(head.as_bytes()).await?;
    assert_eq!(disconnect_reason(scene.address(), "trickles").await?, "ping timeout");
    ended(stream).await?;
    scene.ends_well().await
}

#[tokio::test]
async fn half_a_frame_is_no_sign_of_life() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let frame = Frame::new(Opcode::Text, "42[\"message\"]").masked();
    let mut sockets = Vec::new();
    for length in [1, 2, 10] {
        let mut socket = WebSocket::open(scene.address()).await?;
        socket.enter("/", json!({"tag": format!("half-{length}")})).await?;
        socket.write(&frame[..length]).await?;
        sockets.push(socket);
    }
    for length in [1, 2, 10] {
        let reason = disconnect_reason(scene.address(), &format!("half-{length}")).await?;
        assert_eq!(reason, "ping timeout", "{length} bytes");
    }
    scene.ends_well().await
}

#[tokio::test]
async fn attachments_that_do_not_come_are_not_waited_for() -> Result<()> {
    let scene = Scene::start(&[("HALLPORTER_LIMITS__ASSEMBLY_TIME", "500ms")]).await?;
    let mut socket = WebSocket::open(scene.address()).await?;
    socket.enter("/", json!({"tag": "half-packet"})).await?;
    socket
        .send(r#"452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#)
        .await?;
    socket.send_binary(&[1]).await?;
    // It answers every heartbeat.
    assert!(socket.message().await.is_err());
    assert_eq!(disconnect_reason(scene.address(), "half-packet").await?, "parse error");
    scene.ends_well().await
}

/// Many packets that wait for their attachments hold no more than the limit.
#[tokio::test]
async fn attachments_are_bounded_together() -> Result<()> {
    let scene = Scene::start(&[("HALLPORTER_LIMITS__ASSEMBLY_BYTES", "2MiB")]).await?;
    let mut socket = WebSocket::open(scene.address()).await?;
    socket.enter("/", json!({"tag": "much"})).await?;
    socket.send(r#"459-["message",{"_placeholder":true,"num":0}]"#).await?;
    let attachment = vec![7; 900_000];
    for _ in 0..8 {
        if socket.send_binary(&attachment).await.is_err() {
            break;
        }
    }
    assert_eq!(disconnect_reason(scene.address(), "much").await?, "parse error");
    let growth = scene.growth()?;
    ensure!(growth < 16 * MIB, "the gateway has grown by {growth} bytes");
    drop(socket);
    scene.ends_well().await
}
