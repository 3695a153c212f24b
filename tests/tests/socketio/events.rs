//! Socket.IO 5, "Sending and receiving data".

use anyhow::Result;
use e2e::raw::{Polling, WebSocket};
use e2e::{node_deviates, shared};
use serde_json::{Value, json};

use crate::malformed::all_refused;

async fn joined() -> Result<WebSocket> {
    WebSocket::joined(shared().await?).await
}

#[tokio::test]
async fn arguments_come_back_as_they_were() -> Result<()> {
    let mut socket = joined().await?;
    for args in [
        r#""#,
        r#",1,"2",{"3":[true]}"#,
        r#",null"#,
        r#",[],{},"",0,-1.5,1e100,false"#,
        r#",{"z":1,"a":2,"":{"é":"\u0000"}}"#,
        r#",[[[[[[[[[[]]]]]]]]]]"#,
        r#",{"_placeholder":false,"num":0}"#,
    ] {
        socket.send(&format!(r#"42["message"{args}]"#)).await?;
        let (head, payload) = socket.packet().await?;
        let sent: Value = serde_json::from_str(&format!(r#"["message-back"{args}]"#))?;
        assert_eq!((head.as_str(), payload), ("42", sent));
    }
    Ok(())
}

#[tokio::test]
async fn numbers_keep_all_their_digits() -> Result<()> {
    if node_deviates("reads numbers as doubles") {
        return Ok(());
    }
    let mut socket = joined().await?;
    socket.send(r#"42["message",12345678901234567890123,1.00,1E5]"#).await?;
    assert_eq!(
        socket.text().await?,
        r#"42["message-back",12345678901234567890123,1.00,1E5]"#
    );
    Ok(())
}

#[tokio::test]
async fn white_space_is_allowed_where_json_allows_it() -> Result<()> {
    let mut socket = joined().await?;
    socket.send("42[ \"message\" ,\n\t{ \"a\" : 1 } ]").await?;
    assert_eq!(socket.packet().await?.1, json!(["message-back", {"a": 1}]));
    Ok(())
}

/// An event's name is any string, however it is written.
#[tokio::test]
async fn names_may_be_any_string() -> Result<()> {
    let mut socket = joined().await?;
    for (written, name) in [
        (r#""""#, ""),
        (r#""gr\u00fc\u00df\n""#, "grüß\n"),
        (r#""a\"b\\c""#, "a\"b\\c"),
        (r#""😀""#, "😀"),
        (r#""\ud83d\ude00""#, "😀"),
        (r#""a,b[c]{d}""#, "a,b[c]{d}"),
    ] {
        socket.send(&format!("42[{written},1]")).await?;
        assert_eq!(socket.packet().await?.1, json!(["fallback", name, 1]), "{written}");
    }
    socket.send(r#"42["m\u0065ssage",1]"#).await?;
    assert_eq!(socket.text().await?, r#"42["message-back",1]"#);
    Ok(())
}

#[tokio::test]
async fn an_event_without_an_ack_must_not_fail() -> Result<()> {
    let mut socket = joined().await?;
    for event in ["echo", "rooms", "info", "message-with-ack"] {
        socket.send(&format!(r#"42["{event}"]"#)).await?;
    }
    assert_eq!(socket.ask("echo", json!(1)).await?, 1);
    Ok(())
}

#[tokio::test]
async fn events_of_other_namespaces_are_written_with_theirs() -> Result<()> {
    let mut socket = WebSocket::open(shared().await?).await?;
    socket.enter("/custom", json!({})).await?;
    socket.send(r#"42/custom,["message","a/b,c"]"#).await?;
    assert_eq!(socket.text().await?, r#"42/custom,["message-back","a/b,c"]"#);
    Ok(())
}

/// Names that mean something else to the libraries of clients and servers.
#[tokio::test]
async fn reserved_names_are_refused() -> Result<()> {
    all_refused(&[
        &["42[\"connect\"]"],
        &["42[\"connect_error\"]"],
        &["42[\"disconnect\",1]"],
        &["421[\"disconnecting\"]"],
        &["42[\"newListener\"]"],
        &["42[\"removeListener\"]"],
        &["42[\"conn\\u0065ct\"]"],
        &["451-[\"connect\",{\"_placeholder\":true,\"num\":0}]", "binary one"],
    ])
    .await?;
    let mut socket = joined().await?;
    for name in ["Connect", "error", "connection"] {
        socket.send(&format!("42[\"{name}\"]")).await?;
        assert_eq!(socket.text().await?, format!("42[\"fallback\",\"{name}\"]"));
    }
    Ok(())
}

#[tokio::test]
async fn the_handshake_is_told_to_the_application() -> Result<()> {
    let address = shared().await?;
    let mut socket = WebSocket::connect(address, "EIO=4&transport=websocket&a=1&b=%C3%BC").await?;
    socket.handshake().await?;
    let sid = socket.enter("/", json!({})).await?;
    let info = socket.ask("info", json!(null)).await?;
    assert_eq!(info["sid"], sid);
    assert_eq!(info["ns"], "/");
    assert_eq!(info["query"], "EIO=4&transport=websocket&a=1&b=%C3%BC");
    assert_eq!(info["address"], "127.0.0.1");
    assert_eq!(info["transport"], "websocket");
    assert_eq!(info["headers"]["upgrade"], "websocket");
    assert_eq!(info["headers"]["host"], "localhost");
    Ok(())
}

#[tokio::test]
async fn the_transport_of_the_handshake_is_polling() -> Result<()> {
    let mut polling = Polling::open(shared().await?).await?;
    polling.enter(json!({})).await?;
    polling.send(r#"421["info"]"#).await?;
    let packet = polling.packet().await?;
    let info: Value = serde_json::from_str(packet.trim_start_matches("431"))?;
    assert_eq!(info[0]["transport"], "polling");
    Ok(())
}

/// A handler that panics costs its one call.
#[tokio::test]
async fn a_handler_that_panics_leaves_the_socket() -> Result<()> {
    let mut socket = joined().await?;
    socket.send(r#"42["panic"]"#).await?;
    assert_eq!(socket.ask("echo", json!(1)).await?, 1);
    Ok(())
}
