//! What clients may do by themselves, and the answers to what they may not.

use anyhow::{Result, ensure};
use e2e::{Connect, Driver, Gateway, Settings};
use serde_json::json;

#[tokio::test]
async fn clients_join_what_the_configuration_allows() -> Result<()> {
    let settings = Settings::new(
        "[[namespace]]\nname = \"/\"\npublic = true\nclient_rooms = [\"public-*\"]\n\n[[namespace]]\nname = \"/closed\"\npublic = true\n",
    )?;
    let gateway = Gateway::hallporter("gateway", &["serve", "--config", settings.path()?], &[]).await?;
    let node = Driver::node()?;
    let client = node.connect("client", Connect::to(gateway.url())).await?;
    assert_eq!(client.ask("join", json!(["public-1"])).await?, json!(["ok"]));
    assert_eq!(client.ask("leave", json!(["public-1"])).await?, json!(["ok"]));

    let closed = node
        .connect("closed", Connect::to(gateway.url()).namespace("/closed"))
        .await?;
    for (client, args) in [
        (&client, json!(["private"])),
        (&client, json!([])),
        (&client, json!([{"not": "a room"}])),
        (&closed, json!(["public-1"])),
    ] {
        let answer = client.ask("join", args.clone()).await?;
        let message = answer[0]["error"]["message"].as_str().unwrap_or_default();
        ensure!(!message.is_empty(), "{} joins {args}: {answer}", client.name());
    }
    Ok(())
}

#[tokio::test]
async fn events_nobody_handles_are_answered_and_counted() -> Result<()> {
    let settings = Settings::new("[[namespace]]\nname = \"/\"\npublic = true\n")?;
    let gateway = Gateway::hallporter("gateway", &["serve", "--config", settings.path()?], &[]).await?;
    let client = Driver::node()?.connect("client", Connect::to(gateway.url())).await?;
    client.emit("unknown", json!([1])).await?;
    let answer = client.ask("unknown", json!([{"$bytes": "AA=="}])).await?;
    assert_eq!(answer[0]["error"]["code"], "unhandled", "{answer}");
    gateway
        .metric_reaches("hallporter_events_unhandled_total", "", 2.0)
        .await?;
    let refused = Driver::node()?
        .refused("other", Connect::to(gateway.url()).namespace("/other"))
        .await?;
    assert_eq!(refused, "Invalid namespace");
    Ok(())
}
