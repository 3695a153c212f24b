//! Engine.IO 4 on WebSocket: one packet a message, and what ends the session.

use anyhow::Result;
use e2e::raw::{Frame, Opcode, WebSocket};
use e2e::{disconnect_reason, node_deviates, shared};
use serde_json::json;

/// A session in the namespace `/`, with this tag.
async fn joined(tag: &str) -> Result<WebSocket> {
    let mut socket = WebSocket::open(shared().await?).await?;
    socket.enter("/", json!({"tag": tag})).await?;
    Ok(socket)
}

#[tokio::test]
async fn text_and_binary_packets_come_back() -> Result<()> {
    let mut socket = joined("").await?;
    let text = r#"["message","grüß € 😀",{"_placeholder":true,"num":0}]"#;
    socket.send(&format!("451-{text}")).await?;
    socket.send_binary(&[0, 1, 254, 255]).await?;
    assert_eq!(
        socket.text().await?,
        format!("451-{}", text.replace("message", "message-back"))
    );
    assert_eq!(socket.binary().await?, [0, 1, 254, 255]);
    Ok(())
}

#[tokio::test]
async fn what_is_no_packet_ends_the_session() -> Result<()> {
    for (index, text) in ["abc", "9", ""].iter().enumerate() {
        let tag = format!("no-packet-{index}");
        let mut socket = joined(&tag).await?;
        socket.send(text).await?;
        socket.closed().await?;
        assert_eq!(
            disconnect_reason(shared().await?, &tag).await?,
            "parse error",
            "{text:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_close_packet_ends_the_session() -> Result<()> {
    let mut socket = joined("close-packet").await?;
    socket.send("1").await?;
    socket.closed().await?;
    if !node_deviates("passes over the packet and gives up at the next heartbeat") {
        assert_eq!(
            disconnect_reason(shared().await?, "close-packet").await?,
            "transport close"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_closed_websocket_ends_the_session() -> Result<()> {
    let mut socket = joined("closed-websocket").await?;
    socket.send_frame(&Frame::close(1000)).await?;
    assert_eq!(socket.closed().await?, Some(1000));
    assert_eq!(
        disconnect_reason(shared().await?, "closed-websocket").await?,
        "transport close"
    );
    Ok(())
}

#[tokio::test]
async fn a_lost_connection_ends_the_session() -> Result<()> {
    drop(joined("lost").await?);
    assert_eq!(disconnect_reason(shared().await?, "lost").await?, "transport close");
    Ok(())
}

/// An event of so many bytes, Engine.IO's and Socket.IO's types included.
fn event(length: usize) -> String {
    format!("42[\"message\",\"{}\"]", "x".repeat(length - 16))
}

#[tokio::test]
async fn a_packet_may_be_as_long_as_announced() -> Result<()> {
    let mut socket = joined("").await?;
    socket.send(&event(1_000_000)).await?;
    assert_eq!(socket.text().await?.len(), 1_000_005);
    socket.send(r#"451-["message",{"_placeholder":true,"num":0}]"#).await?;
    socket.send_binary(&vec![7; 1_000_000]).await?;
    socket.text().await?;
    assert_eq!(socket.binary().await?, vec![7; 1_000_000]);
    Ok(())
}

/// RFC 6455, section 7.4.1: 1009 is "too big to process".
#[tokio::test]
async fn a_longer_packet_is_refused_before_it_comes() -> Result<()> {
    let header = |opcode: u8, length: u64| {
        let mut header = vec![0x80 | opcode, 0x80 | 127];
        header.extend_from_slice(&length.to_be_bytes());
        header.extend_from_slice(&[1, 2, 3, 4]);
        header
    };
    for (opcode, length) in [(1, 1_000_001), (2, 1_000_001), (1, 1 << 40), (2, (1 << 63) - 1)] {
        let mut socket = joined("").await?;
        socket.write(&header(opcode, length)).await?;
        let code = socket.closed().await?;
        assert!(
            code == Some(1009) || node_deviates("has 1009 for other lengths"),
            "{length}: {code:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn fragments_count_together() -> Result<()> {
    let mut socket = joined("").await?;
    socket
        .send_frame(&Frame::new(Opcode::Text, event(600_000)).unfinished())
        .await?;
    socket
        .send_frame(&Frame::new(Opcode::Continuation, vec![b'x'; 300_000]).unfinished())
        .await?;
    // Its header says that it is too much.
    let mut last = Frame::new(Opcode::Continuation, vec![b'x'; 200_000]).masked();
    last.truncate(14);
    socket.write(&last).await?;
    assert_eq!(socket.closed().await?, Some(1009));
    Ok(())
}

#[tokio::test]
async fn packets_that_come_with_the_handshake_are_read() -> Result<()> {
    use tokio::io::AsyncWriteExt;
    let mut stream = e2e::raw::connect(shared().await?).await?;
    let mut bytes = WebSocket::opening("EIO=4&transport=websocket").into_bytes();
    bytes.extend(Frame::new(Opcode::Text, "40").masked());
    stream.write_all(&bytes).await?;
    let mut socket = WebSocket::opened(stream).await?;
    socket.handshake().await?;
    assert!(socket.text().await?.starts_with("40{\"sid\":"));
    Ok(())
}
