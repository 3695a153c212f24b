//! Socket.IO 5, BINARY_EVENT and BINARY_ACK.

use anyhow::Result;
use e2e::raw::WebSocket;
use e2e::shared;
use serde_json::{Value, json};

async fn joined() -> Result<WebSocket> {
    WebSocket::joined(shared().await?).await
}

fn placeholder(number: u64) -> Value {
    json!({"_placeholder": true, "num": number})
}

#[tokio::test]
async fn attachments_come_back() -> Result<()> {
    let mut socket = joined().await?;
    let packet = json!(["message", placeholder(0), {"deep": [placeholder(1)]}, "text", placeholder(2)]);
    socket
        .send_packet(&format!("453-{packet}"), &[&[1, 2, 3], &[], &[255]])
        .await?;
    let expected = json!(["message-back", {"$bytes": "AQID"}, {"deep": [{"$bytes": ""}]}, "text", {"$bytes": "/w=="}]);
    assert_eq!(socket.packet().await?, ("45".into(), expected));
    Ok(())
}

#[tokio::test]
async fn attachments_come_back_in_an_ack() -> Result<()> {
    let mut socket = joined().await?;
    let packet = json!(["echo", placeholder(0), placeholder(1)]);
    socket.send_packet(&format!("452-789{packet}"), &[&[1], &[2]]).await?;
    assert_eq!(
        socket.packet().await?,
        ("46789".into(), json!([{"$bytes": "AQ=="}, {"$bytes": "Ag=="}]))
    );
    Ok(())
}

#[tokio::test]
async fn attachments_travel_in_other_namespaces() -> Result<()> {
    let mut socket = WebSocket::open(shared().await?).await?;
    socket.enter("/custom", json!({})).await?;
    let packet = json!(["message", placeholder(0)]);
    socket.send_packet(&format!("451-/custom,{packet}"), &[&[1]]).await?;
    assert_eq!(
        socket.packet().await?,
        ("45/custom,".into(), json!(["message-back", {"$bytes": "AQ=="}]))
    );
    Ok(())
}

/// The number names the attachment, not the place.
#[tokio::test]
async fn the_numbers_of_placeholders_are_honoured() -> Result<()> {
    let mut socket = joined().await?;
    let packet = json!(["message", placeholder(1), placeholder(0)]);
    socket.send_packet(&format!("452-{packet}"), &[&[1], &[2]]).await?;
    let expected = json!(["message-back", {"$bytes": "Ag=="}, {"$bytes": "AQ=="}]);
    assert_eq!(socket.packet().await?.1, expected);
    Ok(())
}

#[tokio::test]
async fn ten_attachments_are_not_too_many() -> Result<()> {
    let mut socket = joined().await?;
    let placeholders: Vec<Value> = (0..10).map(placeholder).collect();
    let packet = json!(["message", placeholders]);
    socket
        .send_packet(&format!("4510-{packet}"), &[&[1_u8][..]; 10])
        .await?;
    let expected = vec![json!({"$bytes": "AQ=="}); 10];
    assert_eq!(socket.packet().await?.1, json!(["message-back", expected]));
    Ok(())
}

#[tokio::test]
async fn heartbeats_may_come_between_attachments() -> Result<()> {
    let mut socket = joined().await?;
    let packet = json!(["message", placeholder(0), placeholder(1)]);
    socket.send(&format!("452-{packet}")).await?;
    socket.send_binary(&[1]).await?;
    // The heartbeat is Engine.IO's and no part of the packet.
    let ping = socket.frame().await?;
    assert_eq!(ping.payload, b"2");
    socket.send("3").await?;
    socket.send_binary(&[2]).await?;
    let expected = json!(["message-back", {"$bytes": "AQ=="}, {"$bytes": "Ag=="}]);
    assert_eq!(socket.packet().await?.1, expected);
    Ok(())
}

#[tokio::test]
async fn a_broadcast_carries_attachments() -> Result<()> {
    let (mut sender, mut receiver) = (joined().await?, joined().await?);
    assert_eq!(receiver.ask("join", json!("binary")).await?, "ok");
    let request = json!(["broadcast", {"event": "picture", "data": [placeholder(0)], "room": "binary"}]);
    sender.send_packet(&format!("451-7{request}"), &[&[1, 2, 3]]).await?;
    assert_eq!(sender.packet().await?, ("437".into(), json!(["ok"])));
    assert_eq!(
        receiver.packet().await?,
        ("45".into(), json!(["picture", [{"$bytes": "AQID"}]]))
    );
    Ok(())
}
