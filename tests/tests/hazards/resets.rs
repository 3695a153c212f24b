//! Connections that are reset, in every phase of their life.

use anyhow::{Result, ensure};
use e2e::PATIENCE;
use e2e::raw::{Frame, Opcode, Polling, Request, WebSocket, connect, reset};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::scene::{NO_HEARTBEAT, Scene};

/// How often each phase is tried; the reset comes at a different moment each time.
const TIMES: usize = 10;

async fn half(address: &str, request: &str, times: usize) -> Result<TcpStream> {
    let mut stream = connect(address).await?;
    let length = request.len() * (times + 1) / TIMES;
    stream.write_all(&request.as_bytes()[..length]).await?;
    Ok(stream)
}

async fn probed(address: &str) -> Result<WebSocket> {
    let mut polling = Polling::open(address).await?;
    polling.enter(json!({})).await?;
    let mut socket = WebSocket::connect(address, &polling.upgrade_query()?).await?;
    socket.send("2probe").await?;
    assert_eq!(socket.text().await?, "3probe");
    Ok(socket)
}

const BINARY_EVENT: &str = r#"452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;

/// A connection in this phase; none where there is no such phase.
async fn in_phase(phase: usize, address: &str, times: usize) -> Result<Option<TcpStream>> {
    let opening = WebSocket::opening("EIO=4&transport=websocket");
    let stream = match phase {
        0 => half(address, &opening, times).await?,
        1 => {
            half(
                address,
                "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: x\r\n\r\n",
                times,
            )
            .await?
        }
        2 => WebSocket::open(address).await?.into_stream(),
        3 => {
            let mut socket = WebSocket::open(address).await?;
            socket.send("40").await?;
            socket.into_stream()
        }
        4 => {
            let mut socket = WebSocket::open(address).await?;
            socket.send(r#"40{"token":"slow"}"#).await?;
            socket.into_stream()
        }
        5 => WebSocket::joined(address).await?.into_stream(),
        6 => {
            let mut socket = WebSocket::joined(address).await?;
            let frame = Frame::new(Opcode::Text, "42[\"message\",\"x\"]").masked();
            socket.write(&frame[..=times]).await?;
            socket.into_stream()
        }
        7 => {
            let mut socket = WebSocket::joined(address).await?;
            let attachments = [&[1_u8; 100][..]];
            socket.send_packet(BINARY_EVENT, &attachments[..times % 2]).await?;
            socket.into_stream()
        }
        8 => {
            let mut socket = WebSocket::joined(address).await?;
            socket.emit("burst", json!({"n": 200, "size": 1000})).await?;
            socket.into_stream()
        }
        9 => {
            let mut socket = WebSocket::joined(address).await?;
            socket.emit("ask", json!({"event": "question", "timeout": 200})).await?;
            socket.into_stream()
        }
        10 => {
            let polling = Polling::open(address).await?;
            let request = format!(
                "POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n40{{\"a\":",
                polling.target()?
            );
            half(address, &request, times).await?
        }
        11 => probed(address).await?.into_stream(),
        12 => {
            let mut socket = probed(address).await?;
            socket.send("5").await?;
            socket.into_stream()
        }
        13 => {
            let mut socket = WebSocket::open(address).await?;
            for namespace in ["/", "/custom", "/other", "/tenant-reset"] {
                socket.enter(namespace, json!({})).await?;
            }
            socket.into_stream()
        }
        _ => return Ok(None),
    };
    Ok(Some(stream))
}

#[tokio::test]
async fn a_reset_leaves_nothing_behind_in_whatever_phase_it_comes() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    let mut phase = 0;
    while let Some(stream) = in_phase(phase, scene.address(), 0).await? {
        reset(stream)?;
        for times in 1..TIMES {
            if let Some(stream) = in_phase(phase, scene.address(), times).await? {
                reset(stream)?;
            }
        }
        phase += 1;
    }
    assert_eq!(phase, 14);
    scene.ends_well().await
}

#[tokio::test]
async fn a_reset_poll_ends_its_session() -> Result<()> {
    let scene = Scene::start(&[NO_HEARTBEAT]).await?;
    for _ in 0..TIMES {
        let mut polling = Polling::open(scene.address()).await?;
        polling.enter(json!({})).await?;
        let mut stream = connect(scene.address()).await?;
        let request = format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", polling.target()?);
        stream.write_all(request.as_bytes()).await?;
        // The reset may come before the poll is read, or after the reply to this event.
        polling.send(r#"42["message",1]"#).await?;
        reset(stream)?;
        let deadline = Instant::now() + PATIENCE;
        while polling.post("6").await?.status == 200 {
            ensure!(Instant::now() < deadline, "a session survives its polls");
            drop(polling.start_poll().await?);
        }
    }
    scene.ends_well().await
}

/// The end of a client is seen although its handler is busy.
#[tokio::test]
async fn a_client_that_goes_while_it_is_connecting_is_not_connected() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    for _ in 0..TIMES {
        let mut socket = WebSocket::open(scene.address()).await?;
        socket.send(r#"40{"token":"slow"}"#).await?;
        socket.send_frame(&Frame::close(1000)).await?;
        socket.closed().await?;
    }
    // It still answers requests of other kinds.
    assert_eq!(Request::get("/healthz").send(scene.address()).await?.status, 200);
    scene.ends_well().await
}
