//! What a gateway answers over HTTP beside the Socket.IO path.

use anyhow::{Result, ensure};
use e2e::{Connect, Driver, Gateway, RedisServer, Settings};
use serde_json::{Value, json};

#[tokio::test]
async fn a_gateway_with_no_configuration_serves_the_demo_and_its_state() -> Result<()> {
    let gateway = Gateway::hallporter("gateway", &[], &[]).await?;
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(gateway.get(path).await?.0, 200, "{path}");
    }
    let (status, page) = gateway.get("/").await?;
    ensure!(
        status == 200 && page.contains("<html"),
        "the demo page answers {status}: {page}"
    );
    Ok(())
}

#[tokio::test]
async fn the_demo_page_is_off_in_production() -> Result<()> {
    for (toml, status) in [("", 404), ("demo = true\n", 200)] {
        let settings = Settings::new(toml)?;
        let gateway = Gateway::hallporter("gateway", &["serve", "--config", settings.path()?], &[]).await?;
        assert_eq!(gateway.get("/").await?.0, status, "with {toml:?}");
        assert_eq!(gateway.get("/healthz").await?.0, 200);
    }
    Ok(())
}

/// A message as a worker posts it.
fn greeting() -> Value {
    json!({"method": "emit", "event": "greeting", "data": ["hello"], "binary": false, "namespace": "/"})
}

#[tokio::test]
async fn messages_are_posted_to_a_gateway_without_a_broker() -> Result<()> {
    let gateway = Gateway::hallporter("gateway", &[], &[]).await?;
    let mut client = Driver::node()?.connect("client", Connect::to(gateway.url())).await?;
    let (status, body) = gateway.post("/api/v1/message", &greeting()).await?;
    ensure!((200..300).contains(&status), "{status}: {body}");
    assert_eq!(client.event("greeting").await?, json!(["hello"]));
    for wrong in [json!({}), json!([]), json!("emit"), json!({"method": "explode"})] {
        let (status, body) = gateway.post("/api/v1/message", &wrong).await?;
        ensure!(
            (400..500).contains(&status),
            "{wrong} is answered with {status}: {body}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_api_is_off_beside_a_broker_until_a_key_is_set() -> Result<()> {
    let redis = RedisServer::start().await?;
    let url = redis.url();
    let manager = ("HALLPORTER_MANAGER__URL", url.as_str());
    let off = Gateway::hallporter("off", &[], &[manager]).await?;
    let (status, body) = off.post("/api/v1/message", &greeting()).await?;
    ensure!([403, 404].contains(&status), "{status}: {body}");
    let keyed = Gateway::hallporter("keyed", &[], &[manager, ("HALLPORTER_API__KEY", "a long secret key")]).await?;
    let (status, body) = keyed.post("/api/v1/message", &greeting()).await?;
    ensure!([401, 403].contains(&status), "{status}: {body}");
    Ok(())
}
