//! Replies change the session, and only as it was when the event was told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use axum::Json;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::endpoint::Endpoint;
use crate::scene::{ask, code_of, route, serve};

#[tokio::test]
async fn a_session_is_changed_and_told_with_the_next_event() -> Result<()> {
    let endpoint = Endpoint::start(async |post| Json(post.event["args"][0].clone())).await?;
    let scene = serve(&format!("{}[limits]\nsession = 100\n", route(&endpoint.url, ""))).await?;
    let (mut socket, _) = scene.client().await?;
    let set = |version: u64, set: Value| json!(["x", {"session": {"version": version, "set": set}}]);
    ask(&mut socket, set(0, json!({"a": 1, "b": {"c": [2]}}))).await?;
    ask(
        &mut socket,
        json!(["x", {"session": {"version": 1, "remove": ["a"], "set": {"d": 4}}}]),
    )
    .await?;
    assert_eq!(
        code_of(&mut socket, set(2, json!({"e": "x".repeat(100)}))).await?,
        "too_large"
    );
    ask(&mut socket, json!(["x", {}])).await?;
    for (session, version) in [
        (json!({}), 0),
        (json!({"a": 1, "b": {"c": [2]}}), 1),
        (json!({"b": {"c": [2]}, "d": 4}), 2),
        (json!({"b": {"c": [2]}, "d": 4}), 2),
    ] {
        let event = endpoint.next().await?.event;
        assert_eq!(
            (&event["session"], &event["session_version"]),
            (&session, &json!(version))
        );
    }
    Ok(())
}

/// Adds one to the session's counter. The event `slow` is answered only when `go` says so, but for one that is sent again.
async fn counter(go: Arc<Notify>) -> Result<Endpoint> {
    Endpoint::start(move |post| {
        let go = go.clone();
        async move {
            let event = post.event;
            if event["event"] == "slow" && event["retry_of"].is_null() {
                go.notified().await;
            }
            let count = event["session"]["count"].as_u64().unwrap_or_default() + 1;
            let change = json!({"version": event["session_version"], "set": {"count": count}});
            Json(json!({"ack": [count], "session": change, "emits": [{"event": "counted", "args": [count]}]}))
        }
    })
    .await
}

#[tokio::test]
async fn an_event_whose_session_has_changed_meanwhile_is_told_again() -> Result<()> {
    let go = Arc::new(Notify::new());
    let endpoint = counter(go.clone()).await?;
    let scene = serve(&route(&endpoint.url, "parallel = true")).await?;
    let (mut socket, _) = scene.client().await?;
    socket.send("421[\"slow\"]").await?;
    let first = endpoint.next().await?.event;
    socket.send("422[\"quick\"]").await?;
    assert_eq!(socket.text().await?, "42[\"counted\",1]");
    assert_eq!(socket.text().await?, "432[1]");
    endpoint.next().await?;
    go.notify_one();
    // Of the first reply nothing was done, also no emit.
    assert_eq!(socket.text().await?, "42[\"counted\",2]");
    assert_eq!(socket.text().await?, "431[2]");
    let again = endpoint.next().await?.event;
    assert_eq!(again["retry_of"], first["id"]);
    assert_ne!(again["id"], first["id"]);
    assert_eq!(
        (&again["session"], &again["session_version"]),
        (&json!({"count": 1}), &json!(1))
    );
    assert_eq!(again["event"], "slow");
    assert_eq!(
        scene
            .metric("hallporter_route_retries_total", "reason=\"changed\"")
            .await?,
        1.0
    );
    Ok(())
}

#[tokio::test]
async fn after_three_conflicts_the_client_is_told() -> Result<()> {
    static TOLD: AtomicUsize = AtomicUsize::new(0);
    let endpoint = Endpoint::start(async |_| {
        TOLD.fetch_add(1, Ordering::SeqCst);
        Json(json!({"session": {"version": 17, "set": {"a": 1}}, "join": ["room"]}))
    })
    .await?;
    let scene = serve(&route(&endpoint.url, "")).await?;
    let (mut socket, _) = scene.client().await?;
    assert_eq!(code_of(&mut socket, json!(["x"])).await?, "changed");
    assert_eq!(TOLD.load(Ordering::SeqCst), 3);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let event = endpoint.next().await?.event;
        assert_eq!(event["retry_of"], ids.last().cloned().unwrap_or_default());
        ids.push(event["id"].clone());
    }
    assert_eq!(
        scene
            .metric("hallporter_route_events_total", "outcome=\"changed\"")
            .await?,
        1.0
    );
    Ok(())
}
