//! Many events: their order, and their bound.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use axum::Json;
use serde_json::json;
use tokio::sync::{Barrier, Semaphore};

use crate::endpoint::Endpoint;
use crate::scene::{ask, code_of, route, serve};

const EVENTS: u64 = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_socket_are_told_one_after_the_other() -> Result<()> {
    static AT_ONCE: AtomicUsize = AtomicUsize::new(0);
    let endpoint = Endpoint::start(async |post| {
        let others = AT_ONCE.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        AT_ONCE.fetch_sub(1, Ordering::SeqCst);
        Json(json!({"ack": [post.event["args"][0], others]}))
    })
    .await?;
    let scene = serve(&route(&endpoint.url, "")).await?;
    let (mut socket, _) = scene.client().await?;
    for number in 0..EVENTS {
        socket.send(&format!("42{number}{}", json!(["x", number]))).await?;
    }
    let mut connections = HashSet::new();
    for number in 0..EVENTS {
        assert_eq!(socket.text().await?, format!("43{number}[{number},0]"));
        let post = endpoint.next().await?;
        assert_eq!(post.event["args"], json!([number]));
        connections.insert(post.from);
    }
    assert_eq!(connections.len(), 1, "the connection is not kept");
    let outcome = scene.metric("hallporter_route_events_total", "outcome=\"ok\"").await?;
    assert_eq!(outcome, 500.0);
    Ok(())
}

#[tokio::test]
async fn in_parallel_nobody_waits_for_another() -> Result<()> {
    // Nobody is answered before all are there.
    let all = Arc::new(Barrier::new(10));
    let endpoint = Endpoint::start(move |post| {
        let all = all.clone();
        async move {
            all.wait().await;
            Json(json!({"ack": post.event["args"]}))
        }
    })
    .await?;
    let scene = serve(&route(&endpoint.url, "parallel = true")).await?;
    let (mut socket, _) = scene.client().await?;
    for number in 0..10 {
        socket.send(&format!("42{number}{}", json!(["x", number]))).await?;
    }
    let mut acks = Vec::new();
    for _ in 0..10 {
        acks.push(socket.text().await?);
    }
    acks.sort_unstable();
    let expected: Vec<String> = (0..10).map(|number| format!("43{number}[{number}]")).collect();
    assert_eq!(acks, expected);
    Ok(())
}

#[tokio::test]
async fn beyond_the_bound_clients_are_told_at_once() -> Result<()> {
    for more in ["in_flight = 2", "in_flight = 2\nparallel = true"] {
        let go = Arc::new(Semaphore::new(0));
        let gate = go.clone();
        let endpoint = Endpoint::start(move |_| {
            let gate = gate.clone();
            async move {
                // It stays open.
                let _ = gate.acquire().await;
                Json(json!({"ack": ["done"]}))
            }
        })
        .await?;
        let scene = serve(&route(&endpoint.url, more)).await?;
        let mut waiting = Vec::new();
        for _ in 0..2 {
            let (mut socket, _) = scene.client().await?;
            socket.send("427[\"x\"]").await?;
            waiting.push(socket);
            endpoint.next().await?;
        }
        let (mut socket, _) = scene.client().await?;
        assert_eq!(code_of(&mut socket, json!(["x"])).await?, "busy");
        assert_eq!(endpoint.unseen().await, 0);
        let busy = scene
            .metric("hallporter_route_refused_total", "reason=\"busy\"")
            .await?;
        assert_eq!(busy, 1.0);
        go.add_permits(1);
        for socket in &mut waiting {
            assert_eq!(socket.text().await?, "437[\"done\"]");
        }
        assert_eq!(ask(&mut socket, json!(["x"])).await?, json!(["done"]));
    }
    Ok(())
}
