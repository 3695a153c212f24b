//! Socket.IO 5, "Acknowledgement", in both directions.

use anyhow::{Context, Result};
use e2e::raw::WebSocket;
use e2e::shared;
use serde_json::{Value, json};

async fn joined() -> Result<WebSocket> {
    WebSocket::joined(shared().await?).await
}

#[tokio::test]
async fn an_ack_has_the_id_of_its_event() -> Result<()> {
    let mut socket = joined().await?;
    for id in ["0", "1", "456", "2147483648", "9007199254740991"] {
        socket
            .send(&format!(r#"42{id}["message-with-ack",1,"2",{{"3":[false]}}]"#))
            .await?;
        assert_eq!(socket.text().await?, format!(r#"43{id}[1,"2",{{"3":[false]}}]"#));
    }
    socket.send(r#"4212["echo"]"#).await?;
    assert_eq!(socket.text().await?, "4312[]");
    Ok(())
}

#[tokio::test]
async fn an_ack_is_written_with_its_namespace() -> Result<()> {
    let mut socket = WebSocket::open(shared().await?).await?;
    socket.enter("/custom", json!({})).await?;
    socket.send(r#"42/custom,13["echo","a"]"#).await?;
    assert_eq!(socket.text().await?, r#"43/custom,13["a"]"#);
    Ok(())
}

/// Reads the event that comes next, which has to be this one with an ack asked for, and returns the id to answer with.
async fn asked(socket: &mut WebSocket, payload: Value) -> Result<String> {
    let (head, received) = socket.packet().await?;
    assert_eq!(received, payload);
    let id = head.strip_prefix("42").with_context(|| format!("{head} is no event"))?;
    id.parse::<u64>().with_context(|| format!("{head} asks for no ack"))?;
    Ok(id.to_owned())
}

#[tokio::test]
async fn a_client_may_be_asked() -> Result<()> {
    let mut socket = joined().await?;
    let request = json!(["ask", {"event": "question", "data": 1, "timeout": 5000}]);
    for answer in [json!(2), json!({"a": [null]}), json!("grüß")] {
        socket.send(&format!("427{request}")).await?;
        let id = asked(&mut socket, json!(["question", 1])).await?;
        socket.send(&format!("43{id}{}", json!([answer]))).await?;
        assert_eq!(
            socket.packet().await?,
            ("437".into(), json!([{"ok": true, "data": answer}]))
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_client_may_answer_with_binary_data() -> Result<()> {
    let mut socket = joined().await?;
    let request = json!(["ask", {"event": "question", "timeout": 5000}]);
    socket.send(&format!("427{request}")).await?;
    let id = asked(&mut socket, json!(["question"])).await?;
    let answer = format!(r#"461-{id}[{{"_placeholder":true,"num":0}}]"#);
    socket.send_packet(&answer, &[&[1, 2, 3]]).await?;
    let (head, payload) = socket.packet().await?;
    assert_eq!(
        (head.as_str(), payload),
        ("467", json!([{"ok": true, "data": {"$bytes": "AQID"}}]))
    );
    Ok(())
}

#[tokio::test]
async fn who_does_not_answer_is_not_waited_for() -> Result<()> {
    let mut socket = joined().await?;
    let request = json!(["ask", {"event": "question", "data": 1, "timeout": 100}]);
    socket.send(&format!("427{request}")).await?;
    let id = asked(&mut socket, json!(["question", 1])).await?;
    assert_eq!(
        socket.packet().await?,
        ("437".into(), json!([{"ok": false, "error": "timeout"}]))
    );
    // An answer that is late is of no use, and does no harm.
    socket.send(&format!("43{id}[1]")).await?;
    assert_eq!(socket.ask("echo", json!(1)).await?, 1);
    Ok(())
}

#[tokio::test]
async fn answers_nobody_asked_for_are_passed_over() -> Result<()> {
    let mut socket = joined().await?;
    for answer in ["430[]", "43999999[1]", "4318446744073709551615[1]"] {
        socket.send(answer).await?;
    }
    socket
        .send_packet(r#"461-5[{"_placeholder":true,"num":0}]"#, &[&[1]])
        .await?;
    assert_eq!(socket.ask("echo", json!(1)).await?, 1);
    Ok(())
}

/// An id belongs to the socket that was asked: another cannot answer for it.
#[tokio::test]
async fn an_answer_of_another_socket_does_not_count() -> Result<()> {
    let (mut socket, mut other) = (joined().await?, joined().await?);
    let request = json!(["ask", {"event": "question", "timeout": 300}]);
    socket.send(&format!("427{request}")).await?;
    let id = asked(&mut socket, json!(["question"])).await?;
    other.send(&format!("43{id}[\"forged\"]")).await?;
    assert_eq!(other.ask("echo", json!(1)).await?, 1);
    assert_eq!(socket.packet().await?.1, json!([{"ok": false, "error": "timeout"}]));
    Ok(())
}

#[tokio::test]
async fn everyone_in_a_room_may_be_asked() -> Result<()> {
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let mut socket = joined().await?;
        assert_eq!(socket.ask("join", json!("asked")).await?, "ok");
        sockets.push(socket);
    }
    let request = json!(["broadcast-ack", {"event": "question", "data": 1, "room": "asked", "timeout": 500}]);
    sockets[0].send(&format!("427{request}")).await?;
    for (number, socket) in sockets.iter_mut().enumerate() {
        let id = asked(socket, json!(["question", 1])).await?;
        if number < 2 {
            socket.send(&format!("43{id}[{number}]")).await?;
        }
    }
    let (head, mut payload) = sockets[0].packet().await?;
    assert_eq!(head, "437");
    let acks = payload[0]["acks"].as_array_mut().expect("a list of acks");
    acks.sort_by_key(Value::as_u64);
    assert_eq!(payload, json!([{"acks": [0, 1], "failed": 1}]));
    Ok(())
}
