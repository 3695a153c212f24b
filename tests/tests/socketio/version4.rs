//! Socket.IO 4 on Engine.IO 3: connected to the namespace `/` without asking, refused with a plain text.

use anyhow::Result;
use e2e::raw::WebSocket;
use e2e::{node_deviates, shared};
use serde_json::json;

/// A session, whose handshake and greeting are read.
async fn joined() -> Result<WebSocket> {
    let mut socket = WebSocket::connect(shared().await?, "EIO=3&transport=websocket").await?;
    socket.handshake().await?;
    assert_eq!(socket.text().await?, "40", "it is connected without asking");
    assert_eq!(socket.text().await?, r#"42["auth",{}]"#);
    Ok(socket)
}

#[tokio::test]
async fn events_and_acks_come_back() -> Result<()> {
    let mut socket = joined().await?;
    socket.send(r#"42["message",1,"2",{"3":[true]}]"#).await?;
    assert_eq!(socket.text().await?, r#"42["message-back",1,"2",{"3":[true]}]"#);
    socket.send(r#"42456["echo","a"]"#).await?;
    assert_eq!(socket.text().await?, r#"43456["a"]"#);
    Ok(())
}

#[tokio::test]
async fn another_namespace_is_asked_for() -> Result<()> {
    let mut socket = joined().await?;
    socket.send("40/custom,").await?;
    // The comma may be left out where nothing follows.
    assert_eq!(socket.text().await?.trim_end_matches(','), "40/custom");
    assert_eq!(socket.text().await?, r#"42/custom,["auth",{}]"#);
    assert_eq!(socket.ask_in("/custom", "echo", json!(1)).await?, 1);
    Ok(())
}

/// "The client may include additional information (i.e. for authentication purpose) in the namespace field."
#[tokio::test]
async fn the_query_of_a_namespace_is_what_the_payload_is_to_others() -> Result<()> {
    let mut socket = joined().await?;
    socket.send("40/custom?token=123&x=a%20b,").await?;
    assert_eq!(socket.text().await?.trim_end_matches(','), "40/custom");
    assert_eq!(socket.packet().await?.1, json!(["auth", {"token": "123", "x": "a b"}]));
    socket.send("40/other?token=deny,").await?;
    let refusal = socket.text().await?;
    assert_eq!(
        refusal, r#"44/other,{"code":"E_AUTH"}"#,
        "the data, where there are some"
    );
    Ok(())
}

#[tokio::test]
async fn a_refusal_without_data_is_a_plain_text() -> Result<()> {
    let mut socket = joined().await?;
    socket.send("40/random,").await?;
    let refusal = socket.text().await?;
    if !node_deviates("sends what is for newer clients") {
        assert_eq!(refusal, r#"44/random,"Invalid namespace""#);
    }
    assert_eq!(socket.ask("echo", json!(1)).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_client_leaves_a_namespace() -> Result<()> {
    let mut socket = joined().await?;
    socket.send("40/custom,").await?;
    socket.text().await?;
    socket.text().await?;
    socket.send("41/custom,").await?;
    assert_eq!(socket.ask("echo", json!(1)).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_client_may_be_kicked_and_asked() -> Result<()> {
    let mut socket = joined().await?;
    let request = json!(["ask", {"event": "question", "data": 1, "timeout": 5000}]);
    socket.send(&format!("427{request}")).await?;
    let (head, payload) = socket.packet().await?;
    assert_eq!(payload, json!(["question", 1]));
    socket.send(&format!("43{}[2]", &head[2..])).await?;
    assert_eq!(socket.packet().await?.1, json!([{"ok": true, "data": 2}]));
    socket.send(r#"42["kick"]"#).await?;
    assert_eq!(socket.text().await?, "41");
    Ok(())
}

#[tokio::test]
async fn old_and_new_clients_share_rooms() -> Result<()> {
    let (mut old, mut new) = (joined().await?, WebSocket::joined(shared().await?).await?);
    for socket in [&mut old, &mut new] {
        assert_eq!(socket.ask("join", json!("ages")).await?, "ok");
    }
    let request = json!(["broadcast", {"event": "hello", "data": {"_placeholder": true, "num": 0}, "room": "ages"}]);
    new.send_packet(&format!("451-7{request}"), &[&[1, 2]]).await?;
    assert_eq!(new.text().await?, r#"437["ok"]"#);
    assert_eq!(old.text().await?, r#"451-["hello",{"_placeholder":true,"num":0}]"#);
    assert_eq!(old.binary().await?, [4, 1, 2], "with Engine.IO 3's type");
    let request = json!({"event": "hello", "data": "you", "room": "ages"});
    assert_eq!(old.ask("broadcast", request).await?, "ok");
    assert_eq!(new.text().await?, r#"42["hello","you"]"#);
    Ok(())
}

#[tokio::test]
async fn malformed_packets_close_the_connection() -> Result<()> {
    for packet in ["4abc", "42{}", "42[]", "47", r#"42["connect"]"#] {
        let mut socket = joined().await?;
        socket.send(packet).await?;
        socket.closed().await?;
    }
    Ok(())
}
