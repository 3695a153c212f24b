//! Order: of what one socket sends, and of what it receives, however it comes.

use anyhow::Result;
use e2e::raw::{Frame, Opcode, Polling, WebSocket};
use e2e::shared;
use serde_json::{Value, json};

const EVENTS: u64 = 2000;

#[tokio::test]
async fn replies_leave_in_the_order_of_the_events() -> Result<()> {
    let mut socket = WebSocket::joined(shared().await?).await?;
    let events = (0..EVENTS).map(|number| Frame::new(Opcode::Text, format!("42[\"message\",{number}]")).masked());
    socket.write(&events.collect::<Vec<_>>().concat()).await?;
    for number in 0..EVENTS {
        assert_eq!(socket.text().await?, format!("42[\"message-back\",{number}]"));
    }
    Ok(())
}

#[tokio::test]
async fn replies_leave_in_order_on_polling() -> Result<()> {
    let mut polling = Polling::open(shared().await?).await?;
    polling.enter(json!({})).await?;
    for start in (0..EVENTS).step_by(500) {
        let events = (start..start + 500).map(|number| format!("42[\"message\",{number}]"));
        polling.send(events.collect::<Vec<_>>().join("\x1e")).await?;
    }
    for number in 0..EVENTS {
        assert_eq!(polling.packet().await?, format!("42[\"message-back\",{number}]"));
    }
    Ok(())
}

/// Events, acks and attachments of one socket share one order.
#[tokio::test]
async fn acks_and_attachments_keep_their_place() -> Result<()> {
    let mut socket = WebSocket::joined(shared().await?).await?;
    let mut bytes = Vec::new();
    for number in 0..300_u64 {
        let packet = match number % 3 {
            0 => format!("42[\"message\",{number}]"),
            1 => format!("42{number}[\"echo\",{number}]"),
            _ => format!("451-[\"message\",{number},{{\"_placeholder\":true,\"num\":0}}]"),
        };
        bytes.extend(Frame::new(Opcode::Text, packet).masked());
        if number % 3 == 2 {
            bytes.extend(Frame::new(Opcode::Binary, number.to_be_bytes()).masked());
        }
    }
    socket.write(&bytes).await?;
    for number in 0..300_u64 {
        let (head, payload) = socket.packet().await?;
        match number % 3 {
            0 => assert_eq!((head.as_str(), payload), ("42", json!(["message-back", number]))),
            1 => assert_eq!((head, payload), (format!("43{number}"), json!([number]))),
            _ => assert_eq!((head.as_str(), &payload[1]), ("45", &json!(number))),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_burst_arrives_in_order() -> Result<()> {
    let mut socket = WebSocket::joined(shared().await?).await?;
    socket
        .send(&format!("427{}", json!(["burst", {"n": EVENTS, "size": 100}])))
        .await?;
    let text = "x".repeat(100);
    for number in 0..EVENTS {
        assert_eq!(socket.text().await?, format!("42{}", json!(["burst", number, text])));
    }
    assert_eq!(socket.text().await?, "437[{}]");
    Ok(())
}

/// Each receiver sees the broadcasts of one sender in their order, whoever else sends.
#[tokio::test]
async fn broadcasts_of_many_senders_keep_the_order_of_each() -> Result<()> {
    const SENDERS: u64 = 4;
    const EACH: u64 = 200;
    let namespace = "/tenant-order";
    let mut receivers = Vec::new();
    for _ in 0..3 {
        let mut socket = WebSocket::open(shared().await?).await?;
        socket.enter(namespace, json!({})).await?;
        assert_eq!(socket.ask_in(namespace, "join", json!("receivers")).await?, "ok");
        receivers.push(socket);
    }
    for sender in 0..SENDERS {
        let mut socket = WebSocket::open(shared().await?).await?;
        socket.enter(namespace, json!({})).await?;
        tokio::spawn(async move {
            for number in 0..EACH {
                let request = json!({"event": "number", "data": [sender, number], "room": "receivers"});
                socket
                    .send(&format!("42{namespace},{}", json!(["broadcast", request])))
                    .await?;
            }
            // Until all is handled.
            socket.ask_in(namespace, "echo", json!(1)).await
        });
    }
    for receiver in &mut receivers {
        let mut next = [0; SENDERS as usize];
        for _ in 0..SENDERS * EACH {
            let (_, payload) = receiver.packet().await?;
            let (sender, number): (usize, u64) = serde_json::from_value(payload[1].clone())?;
            assert_eq!(number, next[sender], "of sender {sender}");
            next[sender] += 1;
        }
    }
    Ok(())
}

/// What a socket is sent directly, in broadcasts and in acks keeps the order in which its handler sent it.
#[tokio::test]
async fn broadcasts_to_oneself_acks_and_events_keep_their_order() -> Result<()> {
    let mut socket = WebSocket::joined(shared().await?).await?;
    let sid: Value = socket.ask("info", json!(null)).await?["sid"].clone();
    let mut bytes = Vec::new();
    for number in 0..500 {
        let broadcast = json!({"event": "own", "data": number, "room": sid, "self": true});
        let to_id = json!({"event": "own", "data": number, "id": sid});
        for packet in [
            format!("42[\"message\",{number}]"),
            format!("421{}", json!(["broadcast", broadcast])),
            format!("422{}", json!(["to-id", to_id])),
        ] {
            bytes.extend(Frame::new(Opcode::Text, packet).masked());
        }
    }
    socket.write(&bytes).await?;
    for number in 0..500 {
        let own = format!("42[\"own\",{number}]");
        for expected in [
            &format!("42[\"message-back\",{number}]"),
            &own,
            "431[\"ok\"]",
            &own,
            "432[\"ok\"]",
        ] {
            assert_eq!(socket.text().await?, expected);
        }
    }
    Ok(())
}
