//! Several namespaces on one connection.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::raw::{Request, WebSocket};
use e2e::{Gateway, PATIENCE, disconnect_reason, shared};
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

const NAMESPACES: [&str; 4] = ["/", "/custom", "/other", "/tenant-many"];

#[tokio::test]
async fn a_connection_carries_several_namespaces() -> Result<()> {
    let mut socket = WebSocket::open(shared().await?).await?;
    let mut sids = HashSet::new();
    for namespace in NAMESPACES {
        sids.insert(socket.enter(namespace, json!({"for": namespace})).await?);
    }
    assert_eq!(sids.len(), NAMESPACES.len(), "each has a sid of its own");
    assert!(sids.iter().all(|sid| sid.len() == 20));
    for namespace in NAMESPACES {
        let info = socket.ask_in(namespace, "info", json!(null)).await?;
        assert_eq!(info["ns"], namespace);
        assert!(sids.remove(info["sid"].as_str().unwrap_or_default()));
    }
    Ok(())
}

#[tokio::test]
async fn leaving_one_namespace_leaves_the_others() -> Result<()> {
    let mut socket = WebSocket::open(shared().await?).await?;
    for namespace in NAMESPACES {
        socket
            .enter(namespace, json!({"tag": format!("one-of-many{namespace}")}))
            .await?;
    }
    for left in ["41/custom,", "41/tenant-many", "41"] {
        socket.send(left).await?;
        assert_eq!(socket.ask_in("/other", "echo", json!(left)).await?, left);
    }
    socket.send("1").await?;
    for namespace in &NAMESPACES[..2] {
        let reason = disconnect_reason(shared().await?, &format!("one-of-many{namespace}")).await?;
        assert_eq!(reason, "client namespace disconnect", "{namespace}");
    }
    Ok(())
}

#[tokio::test]
async fn the_end_of_the_connection_is_the_end_in_all_namespaces() -> Result<()> {
    let mut socket = WebSocket::open(shared().await?).await?;
    for namespace in NAMESPACES {
        socket
            .enter(namespace, json!({"tag": format!("all-of-many{namespace}")}))
            .await?;
    }
    drop(socket);
    // The reasons are kept by tag, whatever the namespace.
    for namespace in NAMESPACES {
        let reason = disconnect_reason(shared().await?, &format!("all-of-many{namespace}")).await?;
        assert_eq!(reason, "transport close", "{namespace}");
    }
    Ok(())
}

#[tokio::test]
async fn rooms_and_broadcasts_stay_in_their_namespace() -> Result<()> {
    let address = shared().await?;
    let mut sockets = Vec::new();
    for namespace in NAMESPACES {
        let mut socket = WebSocket::open(address).await?;
        socket.enter(namespace, json!({})).await?;
        assert_eq!(socket.ask_in(namespace, "join", json!("separate")).await?, "ok");
        sockets.push(socket);
    }
    for (socket, namespace) in sockets.iter_mut().zip(NAMESPACES) {
        let request = json!({"event": "to", "data": namespace, "room": "separate"});
        assert_eq!(socket.ask_in(namespace, "broadcast", request).await?, "ok");
    }
    // Had another's broadcast arrived, it would be read instead of the ack.
    for (socket, namespace) in sockets.iter_mut().zip(NAMESPACES) {
        assert_eq!(socket.ask_in(namespace, "echo", json!(1)).await?, 1);
    }
    Ok(())
}

/// What the application counts.
async fn stats(address: &str) -> Result<Value> {
    Ok(serde_json::from_str(
        Request::get("/_stats").send(address).await?.text()?,
    )?)
}

#[tokio::test]
async fn dynamic_namespaces_are_freed_and_refused_ones_never_made() -> Result<()> {
    let gateway = Gateway::reference("gateway", &[]).await?;
    let address = gateway.address();
    let mut socket = WebSocket::open(address).await?;
    socket.enter("/tenant-a", json!({})).await?;
    socket.send("40/tenant-,").await?;
    assert!(socket.text().await?.starts_with("44/tenant-,"));
    socket.send(r#"40/tenant-b,{"token":"deny"}"#).await?;
    assert!(socket.text().await?.starts_with("44/tenant-b,"));
    assert_eq!(stats(address).await?["namespaces"], json!({"/tenant-a": 1}));
    let deadline = Instant::now() + PATIENCE;
    let mut pace = interval(Duration::from_millis(20));
    socket.send("41/tenant-a,").await?;
    while stats(address).await?["namespaces"] != json!({}) {
        ensure!(Instant::now() < deadline, "/tenant-a is kept");
        pace.tick().await;
    }
    // It can be had again.
    socket.enter("/tenant-a", json!({})).await?;
    assert_eq!(socket.ask_in("/tenant-a", "echo", json!(1)).await?, 1);
    Ok(())
}
