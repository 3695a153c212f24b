//! Engine.IO 4, "HTTP long-polling": what may be sent and received, and what ends the session.

use anyhow::{Context, Result, bail, ensure};
use e2e::raw::{Exchange, Polling, Request, connect, reset};
use e2e::{PATIENCE, disconnect_reason, node_deviates, shared};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

const UNKNOWN_SID: u64 = 1;

/// A session in the namespace `/`, with this tag.
async fn joined(tag: &str) -> Result<Polling> {
    let mut polling = Polling::open(shared().await?).await?;
    polling.enter(json!({"tag": tag})).await?;
    Ok(polling)
}

/// Checks that a session has ended, or is about to.
async fn ended(polling: &Polling) -> Result<()> {
    let response = polling.post("6").await?;
    assert_eq!(response.error_code()?, UNKNOWN_SID);
    assert_eq!(polling.poll().await?.error_code()?, UNKNOWN_SID);
    Ok(())
}

#[tokio::test]
async fn packets_are_posted_and_polled() -> Result<()> {
    let mut polling = joined("").await?;
    let response = polling.post(r#"42["message","hello"]"#).await?;
    assert_eq!((response.status, response.text()?), (200, "ok"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(polling.packet().await?, r#"42["message-back","hello"]"#);
    Ok(())
}

#[tokio::test]
async fn answers_to_polls_are_not_stored() -> Result<()> {
    let polling = joined("").await?;
    polling.send(r#"42["message","hello"]"#).await?;
    let response = polling.poll().await?;
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("content-type"), Some("text/plain; charset=UTF-8"));
    Ok(())
}

#[tokio::test]
async fn a_payload_carries_several_packets() -> Result<()> {
    let polling = joined("").await?;
    let message = |number: u8| format!(r#"42["message",{number}]"#);
    polling.send([message(1), message(2), message(3)].join("\x1e")).await?;
    let mut polling = polling;
    for number in 1..=3 {
        assert_eq!(polling.packet().await?, format!(r#"42["message-back",{number}]"#));
    }
    Ok(())
}

#[tokio::test]
async fn packets_that_wait_are_polled_together() -> Result<()> {
    let polling = joined("").await?;
    polling.send(r#"421["burst",{"n":3,"size":1}]"#).await?;
    let (mut packets, mut polls) = (Vec::new(), 0);
    while packets.len() < 4 {
        let response = polling.poll().await?;
        packets.extend(
            response
                .text()?
                .split('\x1e')
                .filter(|packet| *packet != "2")
                .map(str::to_owned),
        );
        polls += 1;
    }
    let burst = |number: u8| format!(r#"42["burst",{number},"x"]"#);
    assert_eq!(packets, [burst(0), burst(1), burst(2), "431[{}]".to_owned()]);
    ensure!(polls < 4, "each packet came alone");
    Ok(())
}

#[tokio::test]
async fn requests_may_follow_each_other_on_one_connection() -> Result<()> {
    let mut polling = joined("").await?;
    let event = |number: u8| format!(r#"42["message",{number}]"#);
    let mut stream = connect(shared().await?).await?;
    for number in 0..20 {
        let (target, event) = (polling.target()?, event(number));
        let head = format!(
            "POST {target} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
            event.len()
        );
        stream.write_all(format!("{head}{event}").as_bytes()).await?;
        let (answer, mut reader) = Exchange::of(stream).head_only().await?;
        assert_eq!((answer.status, answer.header("content-length")), (200, Some("2")));
        let mut body = [0; 2];
        reader.read_exact(&mut body).await?;
        assert_eq!(&body, b"ok");
        stream = reader.into_inner();
    }
    for number in 0..20 {
        let reply = event(number).replace("message", "message-back");
        assert_eq!(polling.packet().await?, reply);
    }
    Ok(())
}

#[tokio::test]
async fn binary_data_travels_as_base64() -> Result<()> {
    let mut polling = joined("").await?;
    let text = r#"["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    polling.send(format!("452-{text}\x1ebAQIDBA==\x1eb")).await?;
    assert_eq!(
        polling.packet().await?,
        format!("452-{}", text.replace("message", "message-back"))
    );
    assert_eq!(polling.packet().await?, "bAQIDBA==");
    assert_eq!(polling.packet().await?, "b");
    Ok(())
}

#[tokio::test]
async fn text_is_utf8() -> Result<()> {
    let mut polling = joined("").await?;
    polling.send("42[\"message\",\"grüß € 😀\"]").await?;
    assert_eq!(polling.packet().await?, "42[\"message-back\",\"grüß € 😀\"]");
    Ok(())
}

#[tokio::test]
async fn malformed_payloads_end_the_session() -> Result<()> {
    let node = node_deviates("breaks the connection instead of an answer");
    for (index, payload) in [
        "abc",
        "",
        "8",
        "6\x1e",
        "\x1e42[\"message\"]",
        "42[\"message\"]\x1e\x1e",
    ]
    .iter()
    .enumerate()
    {
        let tag = format!("payload-{index}");
        let polling = joined(&tag).await?;
        let response = polling.post(*payload).await;
        assert!(node || response?.status == 400, "{payload:?}");
        ended(&polling).await.with_context(|| format!("after {payload:?}"))?;
        assert_eq!(
            disconnect_reason(shared().await?, &tag).await?,
            "parse error",
            "{payload:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_is_no_base64_or_no_utf8_ends_the_session() -> Result<()> {
    if node_deviates("reads as much of base64 and UTF-8 as it can") {
        return Ok(());
    }
    for payload in [&b"b!!!!"[..], b"bAQIDB", b"42[\"message\",\"\xff\"]"] {
        let polling = joined("").await?;
        assert_eq!(polling.post(payload).await?.status, 400, "{payload:?}");
        ended(&polling).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_payload_may_be_as_long_as_announced() -> Result<()> {
    let mut polling = joined("").await?;
    let text = format!("42[\"message\",\"{}\"]", "x".repeat(1_000_000 - 16));
    polling.send(text).await?;
    assert_eq!(polling.packet().await?.len(), 1_000_005);
    Ok(())
}

/// Starts to post a body, with this header of its own.
async fn post(polling: &Polling, header: &str, body: &[u8]) -> Result<TcpStream> {
    let mut stream = connect(shared().await?).await?;
    let head = format!("POST {} HTTP/1.1\r\nhost: x\r\n{header}\r\n\r\n", polling.target()?);
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    Ok(stream)
}

#[tokio::test]
async fn a_payload_that_says_it_is_too_long_is_refused_at_once() -> Result<()> {
    if node_deviates("waits for it") {
        return Ok(());
    }
    let polling = joined("").await?;
    for length in ["1000001", "99999999999"] {
        let stream = post(&polling, &format!("content-length: {length}"), b"").await?;
        assert_eq!(Exchange::of(stream).response().await?.status, 413, "{length}");
    }
    Ok(())
}

#[tokio::test]
async fn a_payload_of_unknown_length_is_refused_when_it_is_too_long() -> Result<()> {
    let polling = joined("").await?;
    let chunk = |length: usize| format!("{length:x}\r\n{}\r\n", "x".repeat(length));
    let body = chunk(500_000) + &chunk(500_001);
    let stream = post(&polling, "transfer-encoding: chunked", body.as_bytes()).await?;
    assert_eq!(Exchange::of(stream).response().await?.status, 413);
    Ok(())
}

/// "To ensure packet ordering, a client MUST NOT have more than one active GET request."
#[tokio::test]
async fn two_polls_at_once_end_the_session() -> Result<()> {
    let polling = joined("two-polls").await?;
    let (first, second) = (polling.start_poll().await?, polling.start_poll().await?);
    let mut answers = [first.response().await?, second.response().await?];
    answers.sort_by_key(|answer| answer.status);
    assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 400]);
    assert_eq!(answers[0].text()?, "1", "the poll that waited is told of the end");
    ended(&polling).await?;
    assert_eq!(
        disconnect_reason(shared().await?, "two-polls").await?,
        "transport error"
    );
    Ok(())
}

/// "A client MUST NOT have more than one active POST request."
#[tokio::test]
async fn two_posts_at_once_end_the_session() -> Result<()> {
    let polling = joined("two-posts").await?;
    let _slow = post(&polling, "content-length: 5", b"42").await?;
    // The server takes any number of posts until it has seen the slow one.
    let deadline = Instant::now() + PATIENCE;
    while polling.post("6").await?.status == 200 {
        ensure!(Instant::now() < deadline, "two posts at once are taken");
    }
    ended(&polling).await?;
    assert_eq!(
        disconnect_reason(shared().await?, "two-posts").await?,
        "transport error"
    );
    Ok(())
}

#[tokio::test]
async fn a_cancelled_poll_ends_the_session() -> Result<()> {
    let polling = joined("cancelled-poll").await?;
    drop(polling.start_poll().await?);
    assert_eq!(
        disconnect_reason(shared().await?, "cancelled-poll").await?,
        "transport error"
    );
    ended(&polling).await
}

#[tokio::test]
async fn a_post_broken_off_ends_the_session() -> Result<()> {
    let polling = joined("broken-post").await?;
    reset(post(&polling, "content-length: 9", b"42[").await?)?;
    assert_eq!(
        disconnect_reason(shared().await?, "broken-post").await?,
        "transport error"
    );
    ended(&polling).await
}

#[tokio::test]
async fn a_close_packet_ends_the_session() -> Result<()> {
    let address = shared().await?;
    // The poll may come too late for the close packet; then there is another try.
    for attempt in 0..20 {
        let tag = format!("closed-{attempt}");
        let polling = joined(&tag).await?;
        let waiting = polling.start_poll().await?;
        polling.send("1").await?;
        let waiting = waiting.response().await?;
        ended(&polling).await?;
        assert_eq!(disconnect_reason(address, &tag).await?, "transport close");
        if waiting.status == 200 {
            assert_eq!(waiting.text()?, "6");
            return Ok(());
        }
        assert_eq!(waiting.error_code()?, UNKNOWN_SID);
    }
    bail!("no poll was waiting when the session ended")
}

#[tokio::test]
async fn long_answers_are_compressed_for_who_can_read_it() -> Result<()> {
    let polling = joined("").await?;
    for (accepted, compressed) in [("gzip, deflate", true), ("identity", false)] {
        polling
            .send(format!("42[\"message\",\"{}\"]", "x".repeat(20_000)))
            .await?;
        let request = Request::get(polling.target()?).header("accept-encoding", accepted);
        let mut response = request.send(shared().await?).await?;
        while response.body == b"2" {
            polling.send("3").await?;
            response = request.send(shared().await?).await?;
        }
        assert_eq!(response.header("content-encoding"), compressed.then_some("gzip"));
        assert_eq!(response.body.starts_with(b"\x1f\x8b"), compressed);
        assert_eq!(response.body.len() < 20_000, compressed);
    }
    Ok(())
}
