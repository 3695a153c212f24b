//! RFC 6455: the WebSocket protocol as a server has to keep it.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::raw::{Exchange, Frame, Opcode, WebSocket, connect};
use e2e::{node_deviates, shared};
use serde_json::json;
use tokio::io::AsyncWriteExt;

const PROTOCOL_ERROR: Option<u16> = Some(1002);
const INVALID_DATA: Option<u16> = Some(1007);

async fn joined() -> Result<WebSocket> {
    WebSocket::joined(shared().await?).await
}

fn text(payload: impl Into<Vec<u8>>) -> Frame {
    Frame::new(Opcode::Text, payload)
}

/// Checks that these bytes close the connection with this code.
async fn closes(bytes: &[u8], code: Option<u16>, what: &str) -> Result<()> {
    let mut socket = joined().await?;
    socket.write(bytes).await?;
    assert_eq!(socket.closed().await?, code, "{what}");
    Ok(())
}

/// The next frame but Engine.IO's heartbeat.
async fn frame(socket: &mut WebSocket) -> Result<Frame> {
    loop {
        let frame = socket.frame().await?;
        if frame.payload != b"2" {
            return Ok(frame);
        }
        socket.send("3").await?;
    }
}

/// Section 5.1: "The server MUST close the connection upon receiving a frame that is not masked."
#[tokio::test]
async fn frames_have_to_be_masked() -> Result<()> {
    closes(&text("42[\"message\"]").unmasked(), PROTOCOL_ERROR, "not masked").await
}

/// Section 5.4: control frames may come in the middle of a fragmented message.
#[tokio::test]
async fn messages_may_be_fragmented() -> Result<()> {
    let mut socket = joined().await?;
    let message = "42[\"message\",\"grüß €\"]".as_bytes();
    socket.send_frame(&text("").unfinished()).await?;
    for byte in message {
        socket
            .send_frame(&Frame::new(Opcode::Continuation, [*byte]).unfinished())
            .await?;
    }
    socket.send_frame(&Frame::new(Opcode::Ping, "between")).await?;
    assert_eq!(frame(&mut socket).await?, Frame::new(Opcode::Pong, "between"));
    socket.send_frame(&Frame::new(Opcode::Continuation, "")).await?;
    assert_eq!(socket.text().await?, "42[\"message-back\",\"grüß €\"]");
    Ok(())
}

#[tokio::test]
async fn binary_messages_may_be_fragmented() -> Result<()> {
    let mut socket = joined().await?;
    socket.send(r#"451-["message",{"_placeholder":true,"num":0}]"#).await?;
    socket
        .send_frame(&Frame::new(Opcode::Binary, [1, 2]).unfinished())
        .await?;
    socket.send_frame(&Frame::new(Opcode::Continuation, [3])).await?;
    socket.text().await?;
    assert_eq!(socket.binary().await?, [1, 2, 3]);
    Ok(())
}

/// However the bytes arrive: each alone, or all frames at once.
#[tokio::test]
async fn frames_need_not_come_in_one_piece() -> Result<()> {
    let mut socket = joined().await?;
    for length in [1, 125, 126, 127, 300] {
        let message = json!(["message", "x".repeat(length)]).to_string();
        for byte in text(format!("42{message}")).masked() {
            socket.write(&[byte]).await?;
        }
        assert_eq!(
            socket.text().await?,
            format!("42{}", message.replace("message", "message-back"))
        );
    }
    Ok(())
}

#[tokio::test]
async fn many_frames_may_come_in_one_piece() -> Result<()> {
    let mut socket = joined().await?;
    let frames = (0..200).map(|number| text(format!("42[\"message\",{number}]")).masked());
    socket.write(&frames.collect::<Vec<_>>().concat()).await?;
    for number in 0..200 {
        assert_eq!(socket.text().await?, format!("42[\"message-back\",{number}]"));
    }
    Ok(())
}

/// Section 5.2: each of the three ways to write a length.
#[tokio::test]
async fn lengths_of_all_sizes_are_read_and_written() -> Result<()> {
    let mut socket = joined().await?;
    // Around 125, 126 and 65536 bytes, in both directions.
    for length in [100, 105, 110, 111, 112, 65_510, 65_516, 65_521, 65_522, 65_536, 70_000] {
        let data = "x".repeat(length);
        socket.emit("message", json!(data)).await?;
        assert_eq!(
            socket.text().await?,
            format!("42[\"message-back\",\"{data}\"]"),
            "{length}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn fragments_have_to_be_in_order() -> Result<()> {
    let start = text("42[\"mess").unfinished().masked();
    closes(
        &Frame::new(Opcode::Continuation, "x").masked(),
        PROTOCOL_ERROR,
        "no start",
    )
    .await?;
    for opcode in [Opcode::Text, Opcode::Binary] {
        let again = Frame::new(opcode, "x").masked();
        closes(&[start.clone(), again].concat(), PROTOCOL_ERROR, "two starts").await?;
    }
    Ok(())
}

/// Section 5.5: at most 125 bytes, and not fragmented.
#[tokio::test]
async fn control_frames_are_short_and_whole() -> Result<()> {
    for opcode in [Opcode::Ping, Opcode::Pong, Opcode::Close] {
        let long = Frame::new(opcode, [3; 126]);
        closes(&long.masked(), PROTOCOL_ERROR, "long").await?;
        closes(
            &Frame::new(opcode, []).unfinished().masked(),
            PROTOCOL_ERROR,
            "a fragment",
        )
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn reserved_bits_and_opcodes_are_refused() -> Result<()> {
    for bits in [0x40, 0x20, 0x10] {
        closes(
            &text("42[\"message\"]").reserved(bits).masked(),
            PROTOCOL_ERROR,
            "a reserved bit",
        )
        .await?;
    }
    for opcode in [0x3, 0x7, 0xb, 0xf] {
        let mut bytes = Frame::new(Opcode::Reserved, "").masked();
        bytes[0] = 0x80 | opcode;
        closes(&bytes, PROTOCOL_ERROR, "a reserved opcode").await?;
    }
    Ok(())
}

/// Section 5.5.3: a pong carries what the ping carried.
#[tokio::test]
async fn pings_are_answered() -> Result<()> {
    let mut socket = joined().await?;
    for payload in [vec![], b"hello".to_vec(), vec![255; 125]] {
        socket.send_frame(&Frame::new(Opcode::Ping, payload.clone())).await?;
        assert_eq!(frame(&mut socket).await?, Frame::new(Opcode::Pong, payload));
    }
    Ok(())
}

#[tokio::test]
async fn pongs_nobody_asked_for_are_passed_over() -> Result<()> {
    let mut socket = joined().await?;
    socket.send_frame(&Frame::new(Opcode::Pong, "unasked")).await?;
    assert_eq!(socket.ask("echo", json!(1)).await?, 1);
    Ok(())
}

/// Section 5.5.1: a close frame is answered by one, typically with the same code.
#[tokio::test]
async fn close_frames_are_answered() -> Result<()> {
    for code in [1000, 1001, 1003, 1007, 3000, 4999] {
        let mut socket = joined().await?;
        socket.send_frame(&Frame::close(code)).await?;
        let answer = socket.closed().await?;
        assert!(answer == Some(code) || answer == Some(1000), "{code}: {answer:?}");
    }
    let mut frame = Frame::close(1000);
    frame.payload.extend_from_slice("gründlich".as_bytes());
    closes(&frame.masked(), Some(1000), "with a reason").await?;
    let mut socket = joined().await?;
    socket.send_frame(&Frame::new(Opcode::Close, [])).await?;
    let answer = self::frame(&mut socket).await?;
    assert_eq!(answer.opcode, Opcode::Close);
    assert!(matches!(answer.close_code(), None | Some(1000 | 1005)), "{answer:?}");
    Ok(())
}

/// Section 7.4: codes that may not stand in a frame.
#[tokio::test]
async fn impossible_close_frames_are_protocol_errors() -> Result<()> {
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535] {
        closes(&Frame::close(code).masked(), PROTOCOL_ERROR, &code.to_string()).await?;
    }
    closes(&Frame::new(Opcode::Close, [3]).masked(), PROTOCOL_ERROR, "half a code").await?;
    let reason = Frame::new(Opcode::Close, [3, 232, 0xff]);
    closes(&reason.masked(), INVALID_DATA, "a reason that is not UTF-8").await
}

/// Section 8.1.
#[tokio::test]
async fn text_has_to_be_utf8() -> Result<()> {
    let invalid: [&[u8]; 5] = [
        b"42[\"\xff\"]",
        b"42[\"\xc0\xaf\"]",
        b"42[\"\xed\xa0\x80\"]",
        b"42[\"\xf4\x90\x80\x80\"]",
        b"42[\"\xe2\x82",
    ];
    for bytes in invalid {
        closes(&text(bytes).masked(), INVALID_DATA, "one frame").await?;
        let (start, end) = bytes.split_at(5);
        let end = Frame::new(Opcode::Continuation, end).masked();
        closes(
            &[text(start).unfinished().masked(), end].concat(),
            INVALID_DATA,
            "fragments",
        )
        .await?;
    }
    Ok(())
}

/// Section 5.2: "the most significant bit MUST be 0".
#[tokio::test]
async fn lengths_have_63_bits() -> Result<()> {
    let mut bytes = vec![0x81, 0xff];
    bytes.extend_from_slice(&[0xff; 8]);
    bytes.extend_from_slice(&[0; 4]);
    let mut socket = joined().await?;
    socket.write(&bytes).await?;
    assert!(matches!(socket.closed().await?, Some(1002 | 1009)));
    Ok(())
}

#[tokio::test]
async fn nothing_is_taken_after_a_close_frame() -> Result<()> {
    let mut socket = joined().await?;
    let event = text("42[\"message\",\"late\"]").masked();
    socket.write(&[Frame::close(1000).masked(), event].concat()).await?;
    let answer = frame(&mut socket).await?;
    assert_eq!(answer, Frame::close(1000));
    assert_eq!(socket.closed().await?, None);
    Ok(())
}

/// Sends an opening handshake with one line changed and returns the status of the answer.
async fn opening(line: &str, changed: &str) -> Result<u16> {
    let opening = WebSocket::opening("EIO=4&transport=websocket");
    let changed = opening.replace(line, changed);
    assert_ne!(opening, changed);
    let mut stream = connect(shared().await?).await?;
    stream.write_all(changed.as_bytes()).await?;
    Ok(Exchange::of(stream).head_only().await?.0.status)
}

/// Section 4.2.1.
#[tokio::test]
async fn the_opening_handshake_has_to_be_complete() -> Result<()> {
    for (line, changed) in [
        ("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        ("dGhlIHNhbXBsZSBub25jZQ==", "short"),
        ("sec-websocket-version: 13\r\n", ""),
        ("version: 13", "version: 8"),
        ("upgrade: websocket", "upgrade: h2c"),
    ] {
        let status = tokio::time::timeout(Duration::from_secs(5), opening(line, changed)).await;
        let status = status.with_context(|| format!("{line:?} as {changed:?}"))??;
        assert!(
            matches!(status, 400 | 426) || node_deviates("leaves other upgrades to others"),
            "{line:?} as {changed:?}: {status}"
        );
    }
    Ok(())
}

/// Names are compared without regard to case, and Firefox sends more than one connection option.
#[tokio::test]
async fn the_opening_handshake_may_be_written_otherwise() -> Result<()> {
    for (line, changed) in [
        ("upgrade: websocket", "UPGRADE: WebSocket"),
        ("connection: Upgrade", "Connection: keep-alive, upgrade"),
        (
            "host: localhost",
            "host: localhost\r\nsec-websocket-extensions: permessage-deflate; client_max_window_bits",
        ),
    ] {
        assert_eq!(opening(line, changed).await?, 101, "{changed}");
    }
    Ok(())
}
