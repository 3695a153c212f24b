//! Endpoints that are slow, away, or talk rubbish.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{AppendHeaders, IntoResponse};
use e2e::free_ports;
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::scene::{ask, code_of, route, serve};

#[tokio::test]
async fn a_slow_endpoint_is_waited_for_so_long_and_never_asked_twice() -> Result<()> {
    let endpoint = Endpoint::start(async |post| {
        if post.event["event"] == "slow" {
            std::future::pending::<()>().await;
        }
        Json(json!({"ack": ["quick"]}))
    })
    .await?;
    let scene = serve(&route(&endpoint.url, "timeout = \"300ms\"")).await?;
    let (mut socket, _) = scene.client().await?;
    let begun = Instant::now();
    assert_eq!(code_of(&mut socket, json!(["slow"])).await?, "timeout");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(ask(&mut socket, json!(["next"])).await?, json!(["quick"]));
    for event in ["slow", "next"] {
        assert_eq!(endpoint.next().await?.event["event"], event);
    }
    assert_eq!(endpoint.unseen().await, 0);
    assert!(scene.gateway.log().line("no reply in time").await?.contains("route 1 "));
    assert_eq!(
        scene
            .metric("hallporter_route_events_total", "outcome=\"timeout\"")
            .await?,
        1.0
    );
    assert_eq!(scene.metric("hallporter_route_seconds_count", "").await?, 2.0);
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_is_away_is_tried_again_and_then_reported() -> Result<()> {
    let [port] = free_ports();
    let scene = serve(&route(&format!("http://127.0.0.1:{port}/"), "")).await?;
    let (mut socket, _) = scene.client().await?;
    assert_eq!(code_of(&mut socket, json!(["x"])).await?, "unavailable");
    assert_eq!(
        scene
            .metric("hallporter_route_retries_total", "reason=\"not_taken\"")
            .await?,
        2.0
    );
    assert!(scene.gateway.log().line("refused").await?.contains("unavailable"));
    Ok(())
}

#[tokio::test]
async fn what_an_endpoint_answers_other_than_success_is_reported() -> Result<()> {
    let answer = Arc::new(AtomicUsize::new(0));
    let shown = answer.clone();
    let endpoint = Endpoint::start(move |_| {
        let status = u16::try_from(shown.load(Ordering::SeqCst)).unwrap_or_default();
        let status = StatusCode::from_u16(status).unwrap_or_default();
        async move { (status, [("location", "http://127.0.0.1:1/elsewhere")], "{}") }
    })
    .await?;
    let scene = serve(&route(&endpoint.url, "")).await?;
    let (mut socket, _) = scene.client().await?;
    for status in [302, 308, 400, 401, 404, 500, 503] {
        answer.store(status, Ordering::SeqCst);
        assert_eq!(code_of(&mut socket, json!(["x"])).await?, "unavailable", "{status}");
        endpoint.next().await?;
        assert_eq!(endpoint.unseen().await, 0, "{status} is not sent again");
    }
    let line = scene.gateway.log().line("redirects are not followed").await?;
    assert!(line.contains("302") && line.contains("elsewhere"), "{line}");
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_is_busy_says_when_it_wants_the_event_again() -> Result<()> {
    for (status, header) in [
        (StatusCode::SERVICE_UNAVAILABLE, Some("1")),
        (StatusCode::TOO_MANY_REQUESTS, None),
    ] {
        let before = AtomicUsize::new(0);
        let endpoint = Endpoint::start(move |_| {
            let is_first = before.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                match is_first {
                    true => {
                        let after = header.map(|after| ("retry-after", after));
                        (status, AppendHeaders(after)).into_response()
                    }
                    false => Json(json!({"ack": ["done"]})).into_response(),
                }
            }
        })
        .await?;
        let scene = serve(&route(&endpoint.url, "")).await?;
        let (mut socket, _) = scene.client().await?;
        let begun = Instant::now();
        assert_eq!(ask(&mut socket, json!(["x"])).await?, json!(["done"]));
        assert_eq!(begun.elapsed() >= Duration::from_secs(1), header.is_some());
        let (first, second) = (endpoint.next().await?.event, endpoint.next().await?.event);
        assert_eq!((&first["id"], second.get("retry_of")), (&second["id"], None));
    }
    Ok(())
}

#[tokio::test]
async fn rubbish_and_replies_without_end_are_no_replies() -> Result<()> {
    let endpoint = Endpoint::start(async |post| match post.event["event"].as_str() {
        Some("html") => "<h1>It works</h1>".to_owned(),
        Some("half") => "{\"ack\": [1".to_owned(),
        Some("most") => format!("{{\"ack\": [1]}}{}", " ".repeat((1 << 20) - 12)),
        _ => " ".repeat((1 << 20) + 1),
    })
    .await?;
    let scene = serve(&route(&endpoint.url, "")).await?;
    let (mut socket, _) = scene.client().await?;
    for event in ["html", "half", "too much"] {
        assert_eq!(code_of(&mut socket, json!([event])).await?, "bad_reply", "{event}");
    }
    assert_eq!(ask(&mut socket, json!(["most"])).await?, json!([1]));
    Ok(())
}

#[tokio::test]
async fn what_is_sent_is_signed() -> Result<()> {
    let secret = "a secret of thirty-two bytes, at least";
    let endpoint = Endpoint::start(async |_| StatusCode::NO_CONTENT).await?;
    let scene = serve(&route(&endpoint.url, &format!("secret = \"{secret}\""))).await?;
    let (mut socket, _) = scene.client().await?;
    ask(&mut socket, json!(["x", "é"])).await?;
    let post = endpoint.next().await?;
    let signature = post
        .header("hallporter-signature")?
        .strip_prefix("v1=")
        .unwrap_or_default();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(post.header("hallporter-timestamp")?.as_bytes());
    mac.update(b".");
    mac.update(&post.body);
    mac.verify_slice(&hex::decode(signature)?)?;
    Ok(())
}
