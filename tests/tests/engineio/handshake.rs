//! Engine.IO 4, "Handshake", and what is answered to who gets it wrong.

use std::collections::HashSet;

use anyhow::{Context, Result};
use e2e::raw::{Polling, Request, WebSocket};
use e2e::{Gateway, node_deviates, shared};
use serde_json::{Value, json};

const UNKNOWN_TRANSPORT: u64 = 0;
const UNKNOWN_SID: u64 = 1;
const BAD_HANDSHAKE_METHOD: u64 = 2;
const BAD_REQUEST: u64 = 3;
const FORBIDDEN: u64 = 4;
const UNSUPPORTED_VERSION: u64 = 5;

/// Checks the payload of a handshake against the reference application's settings.
fn check(handshake: &Value, upgrades: Value) -> Result<()> {
    let mut handshake = handshake.clone();
    let sid = handshake["sid"].take();
    sid.as_str().context("the session id is a string")?;
    let rest = json!({
        "sid": null, "upgrades": upgrades, "pingInterval": 1000, "pingTimeout": 1500, "maxPayload": 1_000_000,
    });
    assert_eq!(handshake, rest);
    Ok(())
}

#[tokio::test]
async fn a_polling_session_is_opened() -> Result<()> {
    let response = Request::get("/socket.io/?EIO=4&transport=polling")
        .send(shared().await?)
        .await?;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let open = response.text()?.strip_prefix('0').context("a packet `open`")?;
    check(&serde_json::from_str(open)?, json!(["websocket"]))
}

#[tokio::test]
async fn a_websocket_only_session_is_opened() -> Result<()> {
    let mut socket = WebSocket::connect(shared().await?, "EIO=4&transport=websocket").await?;
    check(&socket.handshake().await?, json!([]))
}

#[tokio::test]
async fn other_query_parameters_are_ignored() -> Result<()> {
    let address = shared().await?;
    for query in [
        "t=N8hyd6w&EIO=4&transport=polling",
        "EIO=4&transport=polling&b64=1&x=%20&y",
    ] {
        let response = Request::get(format!("/socket.io/?{query}")).send(address).await?;
        assert_eq!(response.status, 200, "{query}");
    }
    Ok(())
}

/// Where the id of a session is all that a request needs to read and write it, nobody may guess it.
#[tokio::test]
async fn session_ids_are_random() -> Result<()> {
    if node_deviates("makes ids of 96 random bits and a counter") {
        return Ok(());
    }
    let mut ids = Vec::new();
    for _ in 0..400 {
        ids.push(Polling::open(shared().await?).await?.eio_sid()?.to_owned());
    }
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "an id came twice");
    let length = ids[0].len();
    let seen = |place: usize| ids.iter().map(|id| id.as_bytes()[place]).collect::<HashSet<_>>().len();
    let bits: f64 = (0..length).map(|place| (seen(place) as f64).log2()).sum();
    // A few values of a character may be missing among so few ids.
    assert!(bits > 126.0, "ids as {} have {bits} random bits", ids[0]);
    Ok(())
}

#[tokio::test]
async fn sids_are_not_the_session_id() -> Result<()> {
    let mut polling = Polling::open(shared().await?).await?;
    let sid = polling.enter(json!({})).await?;
    assert_eq!(sid.len(), 20);
    assert!(!polling.eio_sid()?.contains(&sid) && !sid.contains(polling.eio_sid()?));
    // Who knows a sid can neither read nor send as its client.
    let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    for request in [Request::get(&target), Request::post(&target, "42[\"message\"]")] {
        assert_eq!(request.send(shared().await?).await?.error_code()?, UNKNOWN_SID);
    }
    Ok(())
}

#[tokio::test]
async fn bad_requests_are_answered_with_their_code() -> Result<()> {
    let address = shared().await?;
    let session = Polling::open(address).await?;
    let other_transport = format!("EIO=4&transport=websocket&sid={}", session.eio_sid()?);
    let cases = [
        ("GET", "EIO=4", UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=abc", UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=", UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=polling&sid=unknown", UNKNOWN_SID),
        ("POST", "EIO=4&transport=polling&sid=unknown", UNKNOWN_SID),
        ("GET", "EIO=4&transport=polling&sid=__proto__", UNKNOWN_SID),
        ("GET", "EIO=4&transport=polling&sid=%00%ff", UNKNOWN_SID),
        ("POST", "EIO=4&transport=polling", BAD_HANDSHAKE_METHOD),
        ("PUT", "EIO=4&transport=polling", BAD_HANDSHAKE_METHOD),
        ("DELETE", "EIO=4&transport=polling", BAD_HANDSHAKE_METHOD),
        ("GET", "EIO=4&transport=websocket", BAD_REQUEST),
        ("GET", &other_transport, BAD_REQUEST),
    ];
    for (method, query, code) in cases {
        let request = Request::new(method, format!("/socket.io/?{query}")).header("content-length", "0");
        let response = request.send(address).await?;
        assert_eq!(response.status, 400, "{method} {query}");
        assert_eq!(response.error_code()?, code, "{method} {query}");
    }
    Ok(())
}

#[tokio::test]
async fn other_versions_are_not_served() -> Result<()> {
    if node_deviates("takes every other version for 3 where it accepts that") {
        return Ok(());
    }
    let address = shared().await?;
    for query in [
        "transport=polling",
        "EIO=abc&transport=polling",
        "EIO=5&transport=polling",
        "EIO=&transport=polling",
    ] {
        let response = Request::get(format!("/socket.io/?{query}")).send(address).await?;
        assert_eq!(response.status, 400, "{query}");
        assert_eq!(response.error_code()?, UNSUPPORTED_VERSION, "{query}");
    }
    for query in [
        "transport=websocket",
        "EIO=abc&transport=websocket",
        "EIO=2&transport=websocket",
    ] {
        assert_eq!(WebSocket::refused(address, query).await?.status, 400, "{query}");
    }
    Ok(())
}

#[tokio::test]
async fn bad_websockets_are_not_opened() -> Result<()> {
    let address = shared().await?;
    for query in ["EIO=4", "EIO=4&transport=abc", "EIO=4&transport=websocket&sid=unknown"] {
        assert_eq!(WebSocket::refused(address, query).await?.status, 400, "{query}");
    }
    Ok(())
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() -> Result<()> {
    if node_deviates("leaves origins to the application") {
        return Ok(());
    }
    let origins = ("HALLPORTER_ALLOWED_ORIGINS", r#"["https://example.org"]"#);
    let gateway = Gateway::reference("gateway", &[origins]).await?;
    let ask = async |origin: &str| {
        let request = Request::get("/socket.io/?EIO=4&transport=polling").header("origin", origin);
        request.send(gateway.address()).await
    };
    assert_eq!(ask("https://example.org").await?.status, 200);
    let refused = ask("https://evil.example").await?;
    assert_eq!((refused.status, refused.error_code()?), (403, FORBIDDEN));
    Ok(())
}

#[tokio::test]
async fn pages_may_read_the_answers_also_of_bad_requests() -> Result<()> {
    for (query, status) in [("EIO=4&transport=polling", 200), ("EIO=4&transport=abc", 400)] {
        let request = Request::get(format!("/socket.io/?{query}")).header("origin", "https://example.org");
        let response = request.send(shared().await?).await?;
        assert_eq!(response.status, status);
        assert_eq!(
            response.header("access-control-allow-origin"),
            Some("https://example.org")
        );
        assert_eq!(response.header("access-control-allow-credentials"), Some("true"));
    }
    Ok(())
}

#[tokio::test]
async fn a_page_asks_before_it_posts() -> Result<()> {
    let response = Request::new("OPTIONS", "/socket.io/?EIO=4&transport=polling")
        .header("origin", "https://example.org")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type")
        .send(shared().await?)
        .await?;
    assert!(matches!(response.status, 200 | 204), "{}", response.status);
    assert_eq!(
        response.header("access-control-allow-origin"),
        Some("https://example.org")
    );
    assert_eq!(response.header("access-control-allow-credentials"), Some("true"));
    let listed = |name| response.header(name).unwrap_or_default().to_ascii_lowercase();
    assert!(listed("access-control-allow-methods").contains("post"));
    assert!(listed("access-control-allow-headers").contains("content-type"));
    Ok(())
}
