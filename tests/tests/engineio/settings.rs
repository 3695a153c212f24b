//! What the configuration changes in the protocol.

use anyhow::{Context, Result};
use e2e::raw::{Polling, Request, Response, WebSocket};
use e2e::{Gateway, node_deviates};
use serde_json::json;

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// A reference application with one setting; none on Node, whose script knows no others.
async fn gateway(key: &str, value: &str) -> Result<Option<Gateway>> {
    if node_deviates("is configured in its script") {
        return Ok(None);
    }
    Ok(Some(Gateway::reference("gateway", &[(key, value)]).await?))
}

#[tokio::test]
async fn polling_may_be_off() -> Result<()> {
    let Some(gateway) = gateway("HALLPORTER_ENGINE__TRANSPORTS", r#"["websocket"]"#).await? else {
        return Ok(());
    };
    let refused = Request::get(POLLING).send(gateway.address()).await?;
    assert_eq!(refused.error_code()?, 0);
    WebSocket::joined(gateway.address()).await?;
    Ok(())
}

#[tokio::test]
async fn websocket_may_be_off() -> Result<()> {
    let Some(gateway) = gateway("HALLPORTER_ENGINE__TRANSPORTS", r#"["polling"]"#).await? else {
        return Ok(());
    };
    let session = Polling::open(gateway.address()).await?;
    assert_eq!(session.handshake()["upgrades"], json!([]));
    for query in ["EIO=4&transport=websocket", &session.upgrade_query()?] {
        assert_eq!(
            WebSocket::refused(gateway.address(), query).await?.status,
            400,
            "{query}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn old_clients_are_refused_where_they_are_not_allowed() -> Result<()> {
    let Some(gateway) = gateway("HALLPORTER_ENGINE__ALLOW_EIO3", "false").await? else {
        return Ok(());
    };
    let request = Request::get("/socket.io/?EIO=3&transport=polling");
    assert_eq!(request.send(gateway.address()).await?.error_code()?, 5);
    let refused = WebSocket::refused(gateway.address(), "EIO=3&transport=websocket").await?;
    assert_eq!(refused.status, 400);
    Ok(())
}

/// For load balancers that find a session's gateway by a cookie.
#[tokio::test]
async fn a_cookie_may_carry_the_session_id() -> Result<()> {
    let Some(gateway) = gateway("HALLPORTER_ENGINE__COOKIE", "io").await? else {
        return Ok(());
    };
    let handshake = Request::get(POLLING).send(gateway.address()).await?;
    let cookie = handshake.header("set-cookie").context("there is a cookie")?;
    assert!(cookie.starts_with(&format!("io={}", eio_sid(&handshake)?)), "{cookie}");
    let attributes = cookie.to_ascii_lowercase();
    for attribute in ["httponly", "path=/", "samesite=lax"] {
        assert!(attributes.contains(attribute), "{cookie}");
    }
    Ok(())
}

fn eio_sid(handshake: &Response) -> Result<String> {
    let open = handshake.text()?.strip_prefix('0').context("a packet `open`")?;
    let open: serde_json::Value = serde_json::from_str(open)?;
    Ok(open["sid"].as_str().context("a session has an id")?.to_owned())
}

#[tokio::test]
async fn an_upgrade_that_is_not_completed_is_given_up() -> Result<()> {
    let Some(gateway) = gateway("HALLPORTER_ENGINE__UPGRADE_TIMEOUT", "300ms").await? else {
        return Ok(());
    };
    for probe in [false, true] {
        let mut polling = Polling::open(gateway.address()).await?;
        polling.enter(json!({})).await?;
        let mut socket = WebSocket::connect(gateway.address(), &polling.upgrade_query()?).await?;
        if probe {
            socket.send("2probe").await?;
            assert_eq!(socket.text().await?, "3probe");
        }
        socket.closed().await?;
        polling.send(r#"42["message",1]"#).await?;
        let mut packet = polling.packet().await?;
        while packet == "6" {
            packet = polling.packet().await?;
        }
        assert_eq!(packet, r#"42["message-back",1]"#);
    }
    Ok(())
}
