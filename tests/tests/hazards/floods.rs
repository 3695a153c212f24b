//! Clients that make the gateway answer, and do not read the answers.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::raw::{Frame, Opcode, Polling, WebSocket, connect_narrow};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::scene::{MIB, NO_HEARTBEAT, Scene};

/// How long a flood may last that the gateway has stopped to read.
const FLOOD: Duration = Duration::from_secs(2);

/// Has a client that reads nothing send a frame 200,000 times, as far as it may, and checks the gateway's memory.
async fn flood(frame: Frame) -> Result<()> {
    let scene = Scene::start(&[NO_HEARTBEAT]).await?;
    let mut socket = WebSocket::open_on(connect_narrow(scene.address()).await?).await?;
    socket.enter("/", json!({})).await?;
    let frames = frame.masked().repeat(1000);
    let flooding = async {
        for _ in 0..200 {
            socket.write(&frames).await?;
        }
        anyhow::Ok(())
    };
    // All is taken, or the gateway does not read any more, or it has closed.
    let _ = timeout(FLOOD, flooding).await;
    let growth = scene.growth()?;
    ensure!(growth < 10 * MIB, "the gateway has grown by {growth} bytes");
    drop(socket);
    scene.ends_well().await
}

#[tokio::test]
async fn pings_nobody_reads_the_answers_of_are_bounded() -> Result<()> {
    flood(Frame::new(Opcode::Ping, [7; 125])).await
}

#[tokio::test]
async fn acks_nobody_reads_are_bounded() -> Result<()> {
    flood(Frame::new(
        Opcode::Text,
        format!("421[\"echo\",\"{}\"]", "x".repeat(500)),
    ))
    .await
}

#[tokio::test]
async fn refusals_nobody_reads_are_bounded() -> Result<()> {
    flood(Frame::new(Opcode::Text, format!("40/nowhere-{},", "x".repeat(500)))).await
}

/// The answer to a poll is written to who does not read it.
#[tokio::test]
async fn an_answer_to_a_poll_is_not_written_for_ever() -> Result<()> {
    let scene = Scene::start(&[("HALLPORTER_LIMITS__WRITE_STALL", "500ms")]).await?;
    let mut polling = Polling::open(scene.address()).await?;
    polling.enter(json!({})).await?;
    polling.send(r#"42["burst",{"n":60,"size":16000}]"#).await?;
    let mut stream = connect_narrow(scene.address()).await?;
    let poll = format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", polling.target()?);
    stream.write_all(poll.as_bytes()).await?;
    // It is still there when all is given back.
    scene.ends_well().await?;
    drop(stream);
    Ok(())
}

/// Whoever is gone answers nothing any more.
#[tokio::test]
async fn answers_of_who_has_gone_are_not_waited_for() -> Result<()> {
    let scene = Scene::start(&[]).await?;
    for _ in 0..10 {
        let mut socket = WebSocket::joined(scene.address()).await?;
        socket
            .emit("ask", json!({"event": "question", "timeout": 600_000}))
            .await?;
        assert!(socket.text().await?.ends_with(r#"["question"]"#));
    }
    scene.ends_well().await
}
