//! An endpoint decides who connects.

use anyhow::Result;
use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use e2e::raw::WebSocket;
use serde_json::{Value, json};

use crate::endpoint::Endpoint;
use crate::scene::{Scene, ask, enter, serve_all};

/// A namespace that is open to whom an endpoint lets in, which does what the client's `auth` says.
async fn guarded() -> Result<(Endpoint, Scene)> {
    let endpoint = Endpoint::start(async |post| match &post.event["handshake"]["auth"]["reply"] {
        Value::Null => Json(json!({"ack": [post.event["session"]]})).into_response(),
        Value::Number(status) => {
            let status = status.as_u64().and_then(|status| u16::try_from(status).ok());
            StatusCode::from_u16(status.unwrap_or_default())
                .unwrap_or_default()
                .into_response()
        }
        reply => Json(reply.clone()).into_response(),
    })
    .await?;
    let scene = serve_all(&format!(
        "[[namespace]]\nname = \"/\"\n[[route]]\nevent = \"connect\"\nto = \"{0}\"\n[[route]]\nevent = \"*\"\nto = \"{0}\"\n",
        endpoint.url
    ))
    .await?;
    Ok((endpoint, scene))
}

#[tokio::test]
async fn who_is_let_in_has_rooms_session_and_user_before_anything_else() -> Result<()> {
    let (endpoint, scene) = guarded().await?;
    let reply = json!({
        "session": {"version": 0, "set": {"name": "Ada"}}, "user": "ada", "join": ["lobby"],
        "emits": [{"event": "welcome", "rooms": ["lobby"]}],
    });
    let mut socket = WebSocket::open(scene.gateway.address()).await?;
    let auth = json!({"reply": reply});
    let sid = enter(&mut socket, "/", auth.clone()).await?;
    assert_eq!(socket.text().await?, "42[\"welcome\"]");
    let event = endpoint.next().await?.event;
    assert_eq!((&event["event"], &event["sid"]), (&json!("connect"), &json!(sid)));
    let handshake = &event["handshake"];
    assert_eq!(
        (&handshake["auth"], &handshake["address"]),
        (&auth, &json!("127.0.0.1"))
    );
    assert!(
        handshake["query"].as_str().is_some_and(|query| query.contains("EIO=4")),
        "{handshake}"
    );
    assert_eq!(handshake["headers"]["upgrade"], "websocket");
    assert_eq!(ask(&mut socket, json!(["session"])).await?, json!([{"name": "Ada"}]));
    let event = endpoint.next().await?.event;
    assert_eq!((&event["user"], event.get("handshake")), (&json!("ada"), None));
    Ok(())
}

#[tokio::test]
async fn who_is_refused_reads_why() -> Result<()> {
    let (_endpoint, scene) = guarded().await?;
    for (reply, refusal) in [
        (
            json!({"refuse": {"message": "come back later", "data": {"at": 5}}}),
            json!({"message": "come back later", "data": {"at": 5}}),
        ),
        (json!({"refuse": {"message": "no"}}), json!({"message": "no"})),
        (
            json!({"error": {"code": "banned", "message": "for good"}}),
            json!({"message": "for good", "data": {"code": "banned"}}),
        ),
        (
            json!(500),
            json!({"message": "who handles this event cannot be reached", "data": {"code": "unavailable"}}),
        ),
        (
            json!({"disconnect": true}),
            json!({"message": "who handles this event gave no proper reply", "data": {"code": "bad_reply"}}),
        ),
    ] {
        assert_eq!(scene.refusal(json!({"reply": reply})).await?, refusal, "{reply}");
    }
    Ok(())
}
