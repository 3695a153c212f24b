//! Who has gone is told of, together and at least once.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use e2e::{PATIENCE, free_ports};
use futures_util::future::try_join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

use crate::endpoint::Endpoint;
use crate::scene::{ask, enter, serve, serve_all};

const CLIENTS: usize = 1000;

fn route(url: &str) -> String {
    format!("[[route]]\nevent = \"disconnect\"\nto = \"{url}\"\n")
}

fn disconnects(event: &Value) -> Result<&Vec<Value>> {
    event["disconnects"]
        .as_array()
        .with_context(|| format!("{event} tells of nobody"))
}

#[tokio::test]
async fn who_goes_is_told_of_with_reason_user_and_session() -> Result<()> {
    let endpoint = Endpoint::start(async |post| Json(post.event["args"][0].clone())).await?;
    let other = format!("[[route]]\nevent = \"*\"\nto = \"{}\"\n", endpoint.url);
    let scene = serve(&format!("{}{other}", route(&endpoint.url))).await?;
    let (mut socket, sid) = scene.client().await?;
    ask(
        &mut socket,
        json!(["x", {"user": "ada", "session": {"version": 0, "set": {"a": 1}}}]),
    )
    .await?;
    endpoint.next().await?;
    socket.send("41").await?;
    let event = endpoint.next().await?.event;
    assert_eq!(
        (&event["event"], &event["namespace"], &event["sid"]),
        (&json!("disconnect"), &json!("/"), &Value::Null)
    );
    assert_eq!(
        event["disconnects"],
        json!([{"sid": sid, "user": "ada", "reason": "client namespace disconnect", "session": {"a": 1}, "session_version": 1}])
    );
    Ok(())
}

#[tokio::test]
async fn who_was_not_let_in_does_not_go() -> Result<()> {
    let endpoint = Endpoint::start(async |post| match post.event["handshake"]["auth"]["name"].as_str() {
        Some("ada") => StatusCode::NO_CONTENT.into_response(),
        _ => Json(json!({"refuse": {"message": "no"}})).into_response(),
    })
    .await?;
    let connect = format!("[[route]]\nevent = \"connect\"\nto = \"{}\"\n", endpoint.url);
    let scene = serve_all(&format!(
        "[[namespace]]\nname = \"/\"\n{connect}{}",
        route(&endpoint.url)
    ))
    .await?;
    scene.refusal(json!({"name": "bob"})).await?;
    let mut socket = e2e::raw::WebSocket::open(scene.gateway.address()).await?;
    let sid = enter(&mut socket, "/", json!({"name": "ada"})).await?;
    drop(socket);
    for event in ["connect", "connect"] {
        assert_eq!(endpoint.next().await?.event["event"], event);
    }
    let event = endpoint.next().await?.event;
    let gone = disconnects(&event)?;
    ensure!(gone.len() == 1 && gone[0]["sid"] == sid, "{event}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_go_at_once_and_each_is_told_of_in_few_requests() -> Result<()> {
    static POSTS: AtomicUsize = AtomicUsize::new(0);
    let (taken, mut batches) = unbounded_channel();
    let endpoint = Endpoint::start(move |post| {
        // It takes none of the first five.
        let is_taken = POSTS.fetch_add(1, Ordering::SeqCst) >= 5;
        if is_taken {
            // Nobody may be looking any more.
            let _ = taken.send(post.event);
        }
        async move {
            if is_taken {
                StatusCode::OK
            } else {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    })
    .await?;
    let other = "[[namespace]]\nname = \"/other\"\npublic = true\n";
    let everywhere = format!(
        "[[route]]\nnamespace = \"*\"\nevent = \"disconnect\"\nto = \"{}\"\n",
        endpoint.url
    );
    let scene = serve(&format!("{other}{everywhere}")).await?;
    let mut sockets = try_join_all((0..CLIENTS).map(|_| scene.client())).await?;
    let mut sids: HashSet<Value> = sockets.iter().map(|(_, sid)| json!(sid)).collect();
    for (socket, _) in sockets.iter_mut().take(10) {
        sids.insert(json!(enter(socket, "/other", json!({})).await?));
    }
    drop(sockets);
    while !sids.is_empty() {
        let batch = timeout(PATIENCE, batches.recv()).await;
        let event = batch.context("not all are told of")?.context("nobody tells")?;
        let gone = disconnects(&event)?;
        ensure!((1..=100).contains(&gone.len()), "{} are told of at once", gone.len());
        for gone in gone {
            ensure!(sids.remove(&gone["sid"]), "{gone} is told of twice");
        }
    }
    let requests = POSTS.load(Ordering::SeqCst);
    ensure!(requests < CLIENTS / 10, "{requests} requests for {CLIENTS} clients");
    scene
        .gateway
        .metric_reaches("hallporter_route_disconnects_total", "", (CLIENTS + 10) as f64)
        .await?;
    assert_eq!(
        scene.metric("hallporter_route_disconnects_dropped_total", "").await?,
        0.0
    );
    Ok(())
}

#[tokio::test]
async fn a_gateway_that_closes_tells_of_all_its_clients() -> Result<()> {
    let endpoint = Endpoint::start(async |_| StatusCode::OK).await?;
    let mut scene = serve(&route(&endpoint.url)).await?;
    let sockets = try_join_all((0..50).map(|_| scene.client())).await?;
    let mut sids: HashSet<Value> = sockets.iter().map(|(_, sid)| json!(sid)).collect();
    scene.gateway.process().signal(Signal::TERM)?;
    while !sids.is_empty() {
        let event = endpoint.next().await?.event;
        for gone in disconnects(&event)? {
            ensure!(gone["reason"] == "server shutting down", "{gone}");
            sids.remove(&gone["sid"]);
        }
    }
    assert_eq!(scene.gateway.process().ended().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_gateway_that_closes_and_cannot_tell_says_so() -> Result<()> {
    let [port] = free_ports();
    let mut scene = serve(&route(&format!("http://127.0.0.1:{port}/"))).await?;
    let _socket = scene.client().await?;
    scene.gateway.process().signal(Signal::TERM)?;
    let line = scene.gateway.log().line("nobody has been told").await?;
    assert!(line.contains("lost=1"), "{line}");
    Ok(())
}
