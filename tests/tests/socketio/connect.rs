//! Socket.IO 5, "Connection to a namespace" and "Disconnection from a namespace".

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::raw::{Frame, Opcode, WebSocket};
use e2e::{disconnect_reason, node_deviates, shared};
use serde_json::{Value, json};
use tokio::time::Instant;

async fn open() -> Result<WebSocket> {
    WebSocket::open(shared().await?).await
}

/// The payload of a CONNECT packet that begins so, which is a sid and nothing else.
fn sid(packet: &str, start: &str) -> Result<String> {
    let payload = packet
        .strip_prefix(start)
        .with_context(|| format!("{packet} is no CONNECT"))?;
    let payload: Value = serde_json::from_str(payload)?;
    let sid = payload["sid"].as_str().context("there is a sid")?;
    assert_eq!(payload, json!({"sid": sid}));
    Ok(sid.to_owned())
}

#[tokio::test]
async fn a_client_is_connected_when_it_asks() -> Result<()> {
    let mut socket = open().await?;
    socket.send("40").await?;
    assert_eq!(sid(&socket.text().await?, "40")?.len(), 20);
    assert_eq!(socket.text().await?, r#"42["auth",{}]"#);
    Ok(())
}

#[tokio::test]
async fn a_payload_is_handed_to_the_application() -> Result<()> {
    let mut socket = open().await?;
    let auth = json!({"token": "123", "nested": {"list": [1, null, "x"]}});
    socket.send(&format!("40{auth}")).await?;
    sid(&socket.text().await?, "40")?;
    assert_eq!(socket.packet().await?, ("42".into(), json!(["auth", auth])));
    Ok(())
}

#[tokio::test]
async fn another_namespace_is_written_with_and_without_a_comma() -> Result<()> {
    for packet in ["40/custom,", "40/custom", "40/custom,{}"] {
        let mut socket = open().await?;
        socket.send(packet).await?;
        sid(&socket.text().await?, "40/custom,")?;
        assert_eq!(socket.text().await?, r#"42/custom,["auth",{}]"#);
    }
    Ok(())
}

#[tokio::test]
async fn a_refusal_carries_message_and_data() -> Result<()> {
    let refusal = r#"{"message":"not authorized","data":{"code":"E_AUTH"}}"#;
    for (namespace, start) in [("", "44"), ("/custom,", "44/custom,"), ("/tenant-x,", "44/tenant-x,")] {
        let mut socket = open().await?;
        socket.send(&format!(r#"40{namespace}{{"token":"deny"}}"#)).await?;
        let packet = socket.text().await?;
        let payload = packet.strip_prefix(start).with_context(|| packet.clone())?;
        assert_eq!(
            serde_json::from_str::<Value>(payload)?,
            serde_json::from_str::<Value>(refusal)?
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_was_refused_may_try_again() -> Result<()> {
    let mut socket = open().await?;
    socket.send(r#"40{"token":"deny"}"#).await?;
    assert!(socket.text().await?.starts_with("44{"));
    socket.enter("/", json!({})).await?;
    assert_eq!(socket.ask("echo", json!(1)).await?, 1);
    Ok(())
}

#[tokio::test]
async fn an_unknown_namespace_is_refused() -> Result<()> {
    let mut socket = open().await?;
    for namespace in [
        "/random",
        "/tenant-",
        "/tenant-a b",
        "/tenant-ü",
        "/custom/",
        "/Custom",
        "/tenant-a/b",
    ] {
        socket.send(&format!("40{namespace},")).await?;
        let refusal = format!(r#"44{namespace},{{"message":"Invalid namespace"}}"#);
        assert_eq!(socket.text().await?, refusal);
    }
    Ok(())
}

#[tokio::test]
async fn what_comes_before_connect_closes_the_connection() -> Result<()> {
    for packet in [
        r#"42["message"]"#,
        r#"42/custom,["message"]"#,
        "41",
        "43[]",
        "44{}",
        "4abc",
    ] {
        let mut socket = open().await?;
        socket.send(packet).await?;
        socket.closed().await.with_context(|| packet.to_owned())?;
    }
    Ok(())
}

#[tokio::test]
async fn who_does_not_connect_in_time_is_closed() -> Result<()> {
    let start = Instant::now();
    let silent = open().await?;
    let mut refused = open().await?;
    refused.send(r#"40{"token":"deny"}"#).await?;
    assert!(refused.text().await?.starts_with("44"));
    let mut connected = WebSocket::joined(shared().await?).await?;
    silent.closed().await?;
    assert!(start.elapsed() > Duration::from_millis(950), "it is closed too soon");
    refused.closed().await?;
    // Heartbeats would have closed both after 2.5 seconds.
    assert!(start.elapsed() < Duration::from_millis(2400), "it is closed too late");
    assert_eq!(connected.ask("echo", json!(1)).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_second_connect_to_the_same_namespace_closes_the_connection() -> Result<()> {
    let mut socket = open().await?;
    socket.enter("/", json!({"tag": "connects-twice"})).await?;
    socket.send("40").await?;
    socket.closed().await?;
    disconnect_reason(shared().await?, "connects-twice").await?;
    Ok(())
}

#[tokio::test]
async fn a_slow_decision_holds_up_nobody() -> Result<()> {
    let mut socket = open().await?;
    socket.send(r#"40/custom,{"token":"slow"}"#).await?;
    socket.enter("/", json!({})).await?;
    assert_eq!(socket.ask("echo", json!(1)).await?, 1);
    sid(&socket.text().await?, "40/custom,")?;
    Ok(())
}

#[tokio::test]
async fn a_client_may_leave_and_come_back_as_another() -> Result<()> {
    let mut socket = open().await?;
    let first = socket.enter("/", json!({"tag": "leaves"})).await?;
    socket.send("41").await?;
    assert_eq!(
        disconnect_reason(shared().await?, "leaves").await?,
        "client namespace disconnect"
    );
    let second = socket.enter("/", json!({})).await?;
    assert_ne!(first, second);
    assert_eq!(socket.ask("echo", json!(1)).await?, 1);
    Ok(())
}

/// As clients do that disconnect and connect in one go.
#[tokio::test]
async fn a_client_may_come_back_at_once() -> Result<()> {
    if node_deviates("leaves a tick later than it is told to, and then takes the client for one that connects twice") {
        return Ok(());
    }
    let mut socket = WebSocket::joined(shared().await?).await?;
    for _ in 0..20 {
        let packets = ["41", "40", "421[\"echo\"]"].map(|packet| Frame::new(Opcode::Text, packet).masked());
        socket.write(&packets[..2].concat()).await?;
        sid(&socket.text().await?, "40")?;
        assert_eq!(socket.text().await?, "42[\"auth\",{}]");
        socket.write(&packets[2]).await?;
        assert_eq!(socket.text().await?, "431[]");
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_is_disconnected_is_told_and_keeps_its_connection() -> Result<()> {
    let mut socket = open().await?;
    socket.enter("/", json!({"tag": "kicked"})).await?;
    socket.enter("/custom", json!({})).await?;
    socket.emit("kick", json!(null)).await?;
    assert_eq!(socket.text().await?, "41");
    assert_eq!(
        disconnect_reason(shared().await?, "kicked").await?,
        "server namespace disconnect"
    );
    assert_eq!(socket.ask_in("/custom", "echo", json!(1)).await?, 1);
    socket.enter("/", json!({})).await?;
    assert_eq!(socket.ask("echo", json!(2)).await?, 2);
    Ok(())
}
