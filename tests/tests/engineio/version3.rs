//! Engine.IO 3, as clients of socket.io-client 2 speak it: they ping, and payloads say the length of each packet.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::raw::{Request, Response, WebSocket};
use e2e::{node_deviates, shared};
use serde_json::{Value, json};
use tokio::time::Instant;

/// A session on polling.
struct Session {
    target: String,
    handshake: Value,
    /// What has been polled and not yet asked for.
    waiting: String,
}

/// The packets of a payload of text: their length in characters, as JavaScript counts them, a colon, and the packet.
fn packets(payload: &str) -> Result<Vec<String>> {
    let (mut rest, mut packets) = (payload, Vec::new());
    while let Some((length, after)) = rest.split_once(':') {
        let mut units: usize = length.parse().with_context(|| format!("{payload:?} is no payload"))?;
        let mut chars = after.chars();
        let mut packet = String::new();
        while units > 0 {
            let char = chars.next().context("a packet is shorter than it says")?;
            units = units
                .checked_sub(char.len_utf16())
                .context("a packet ends in a character")?;
            packet.push(char);
        }
        packets.push(packet);
        rest = chars.as_str();
    }
    ensure!(rest.is_empty(), "{payload:?} is no payload");
    Ok(packets)
}

fn payload(packets: &[&str]) -> String {
    let payload = packets
        .iter()
        .map(|packet| format!("{}:{packet}", packet.encode_utf16().count()));
    payload.collect()
}

impl Session {
    /// Opens one; the query may say more.
    async fn open(more: &str) -> Result<Self> {
        let target = format!("/socket.io/?EIO=3&transport=polling{more}");
        let response = Request::get(&target).send(shared().await?).await?;
        assert_eq!(response.status, 200);
        let mut packets = packets(response.text()?)?;
        let handshake = packets.remove(0);
        let handshake: Value = serde_json::from_str(handshake.strip_prefix('0').context("a packet `open`")?)?;
        let sid = handshake["sid"].as_str().context("a session has an id")?;
        Ok(Self {
            target: format!("{target}&sid={sid}"),
            waiting: packets.concat(),
            handshake,
        })
    }

    /// Opens one and reads that it is connected to the namespace `/`, which it has not to ask for, and the greeting.
    async fn joined(more: &str) -> Result<Self> {
        let mut session = Self::open(more).await?;
        let mut received = std::mem::take(&mut session.waiting);
        while !received.ends_with(r#"42["auth",{}]"#) {
            received.extend(packets(session.poll().await?.text()?)?);
        }
        assert_eq!(received, r#"4042["auth",{}]"#);
        Ok(session)
    }

    async fn poll(&self) -> Result<Response> {
        Request::get(&self.target).send(shared().await?).await
    }

    async fn post(&self, payload: impl Into<Vec<u8>>) -> Result<Response> {
        Request::post(&self.target, payload).send(shared().await?).await
    }

    async fn send(&self, packets: &[&str]) -> Result<()> {
        let response = self.post(payload(packets)).await?;
        assert_eq!((response.status, response.text()?), (200, "ok"));
        Ok(())
    }
}

#[tokio::test]
async fn a_polling_session_is_opened() -> Result<()> {
    let session = Session::open("").await?;
    let handshake = &session.handshake;
    assert_eq!(handshake["upgrades"], json!(["websocket"]));
    assert_eq!(
        (&handshake["pingInterval"], &handshake["pingTimeout"]),
        (&json!(1000), &json!(1500))
    );
    Ok(())
}

#[tokio::test]
async fn a_websocket_only_session_is_opened() -> Result<()> {
    let mut socket = WebSocket::connect(shared().await?, "EIO=3&transport=websocket").await?;
    assert_eq!(socket.handshake().await?["upgrades"], json!([]));
    Ok(())
}

#[tokio::test]
async fn pings_are_answered_on_polling() -> Result<()> {
    let session = Session::joined("").await?;
    for _ in 0..3 {
        session.send(&["2"]).await?;
        assert_eq!(session.poll().await?.text()?, "1:3");
    }
    Ok(())
}

#[tokio::test]
async fn pings_are_answered_on_websocket() -> Result<()> {
    let mut socket = WebSocket::connect(shared().await?, "EIO=3&transport=websocket").await?;
    socket.handshake().await?;
    assert_eq!(socket.text().await?, "40");
    assert_eq!(socket.text().await?, r#"42["auth",{}]"#);
    for _ in 0..3 {
        socket.send("2").await?;
        assert_eq!(socket.text().await?, "3");
    }
    Ok(())
}

/// The server sends no pings, and waits for one as long as both durations together.
#[tokio::test]
async fn who_does_not_ping_is_closed() -> Result<()> {
    let start = Instant::now();
    let mut socket = WebSocket::connect(shared().await?, "EIO=3&transport=websocket").await?;
    socket.handshake().await?;
    assert_eq!(socket.text().await?, "40");
    assert_eq!(socket.text().await?, r#"42["auth",{}]"#);
    assert!(socket.text().await.is_err(), "nothing else comes");
    assert!(start.elapsed() > Duration::from_millis(2450), "it is closed too soon");
    assert!(start.elapsed() < Duration::from_secs(6), "it is closed too late");
    Ok(())
}

#[tokio::test]
async fn a_payload_carries_several_packets() -> Result<()> {
    let session = Session::joined("").await?;
    session
        .send(&[r#"42["message","€"]"#, r#"42["message","a:b"]"#, r#"42["message",3]"#])
        .await?;
    let mut received = Vec::new();
    while received.len() < 3 {
        received.extend(packets(session.poll().await?.text()?)?);
    }
    let expected = [
        r#"42["message-back","€"]"#,
        r#"42["message-back","a:b"]"#,
        r#"42["message-back",3]"#,
    ];
    assert_eq!(received, expected);
    Ok(())
}

/// The document says characters; the clients count as JavaScript does, where an emoji is two.
#[tokio::test]
async fn lengths_are_counted_in_utf16() -> Result<()> {
    let session = Session::joined("").await?;
    session.send(&[r#"42["message","😀"]"#, r#"42["message",2]"#]).await?;
    let mut received = Vec::new();
    while received.len() < 2 {
        received.extend(packets(session.poll().await?.text()?)?);
    }
    assert_eq!(received, [r#"42["message-back","😀"]"#, r#"42["message-back",2]"#]);
    Ok(())
}

/// A packet in a binary payload: 0 for text or 1 for binary data, the digits of the length in bytes, 255, the packet.
fn binary_packet(kind: u8, packet: &[u8]) -> Vec<u8> {
    let length = packet.len().to_string();
    let digits = length.bytes().map(|digit| digit - b'0');
    std::iter::once(kind)
        .chain(digits)
        .chain([255])
        .chain(packet.iter().copied())
        .collect()
}

const PLACEHOLDER: &str = r#"{"_placeholder":true,"num":0}"#;

#[tokio::test]
async fn binary_data_travels_in_binary_payloads() -> Result<()> {
    let session = Session::joined("").await?;
    let event = format!(r#"451-["message","€",{PLACEHOLDER}]"#);
    let body = [binary_packet(0, event.as_bytes()), binary_packet(1, &[4, 1, 2, 255])].concat();
    let request = Request::post(&session.target, body).header("content-type", "application/octet-stream");
    assert_eq!(request.send(shared().await?).await?.status, 200);
    let answer = session.poll().await?;
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    let event = event.replace("message", "message-back");
    let expected = [binary_packet(0, event.as_bytes()), binary_packet(1, &[4, 1, 2, 255])].concat();
    assert_eq!(answer.body, expected);
    Ok(())
}

#[tokio::test]
async fn binary_data_travels_as_base64_for_who_asks() -> Result<()> {
    let session = Session::joined("&b64=1").await?;
    let event = format!(r#"451-["message",{PLACEHOLDER}]"#);
    session.send(&[&event, "b4AQIDBA=="]).await?;
    let answer = session.poll().await?;
    let event = event.replace("message", "message-back");
    assert_eq!(packets(answer.text()?)?, [event, "b4AQIDBA==".to_owned()]);
    Ok(())
}

#[tokio::test]
async fn binary_frames_begin_with_the_type() -> Result<()> {
    let mut socket = WebSocket::connect(shared().await?, "EIO=3&transport=websocket").await?;
    socket.handshake().await?;
    assert_eq!(socket.text().await?, "40");
    assert_eq!(socket.text().await?, r#"42["auth",{}]"#);
    socket.send(&format!(r#"451-["message",{PLACEHOLDER}]"#)).await?;
    socket.send_binary(&[4, 1, 2, 255]).await?;
    assert_eq!(socket.text().await?, format!(r#"451-["message-back",{PLACEHOLDER}]"#));
    assert_eq!(socket.binary().await?, [4, 1, 2, 255]);
    Ok(())
}

#[tokio::test]
async fn malformed_payloads_end_the_session() -> Result<()> {
    let node = node_deviates("breaks the connection instead of an answer, or passes over what it cannot read");
    for payload in [
        "abc",
        "3:4",
        "-1:4",
        "99999999999999999999:4",
        "1:x",
        ":4",
        "1",
        "5:4hell\x1e4",
    ] {
        let session = Session::joined("").await?;
        let response = session.post(payload).await;
        if node {
            continue;
        }
        assert_eq!(response?.status, 400, "{payload:?}");
        assert_eq!(session.poll().await?.error_code()?, 1, "{payload:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_close_packet_ends_the_session() -> Result<()> {
    let session = Session::joined("").await?;
    session.send(&["1"]).await?;
    assert_eq!(session.poll().await?.error_code()?, 1);
    Ok(())
}

#[tokio::test]
async fn a_session_moves_to_websocket() -> Result<()> {
    let session = Session::joined("").await?;
    let query = session
        .target
        .trim_start_matches("/socket.io/?")
        .replace("polling", "websocket");
    let mut socket = WebSocket::connect(shared().await?, &query).await?;
    socket.send("2probe").await?;
    assert_eq!(socket.text().await?, "3probe");
    assert_eq!(session.poll().await?.text()?, "1:6");
    socket.send("5").await?;
    socket.send(r#"42["message","hello"]"#).await?;
    assert_eq!(socket.text().await?, r#"42["message-back","hello"]"#);
    assert_eq!(session.poll().await?.error_code()?, 3);
    Ok(())
}
