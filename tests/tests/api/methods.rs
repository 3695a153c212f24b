//! Calling methods, and who there is to call.

use anyhow::{Context, Result};
use hallporter::adapters::url::BrokerUrl;
use hallporter::adapters::{ManagerOptions, NoSockets, Role, manager};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::scene::{Host, Scene, code};

async fn call(host: &Host, method: &str, body: Value) -> Result<(u16, Value)> {
    host.post(&format!("methods/{method}"), &body).await
}

#[tokio::test]
async fn methods_of_this_gateway_of_another_and_of_all_are_called() -> Result<()> {
    let scene = Scene::start().await?;
    let [here, there] = &scene.hosts;
    let other = there.manager.host_id();
    for to in [
        json!({}),
        json!({"instance": other}),
        json!({"instance": here.manager.host_id()}),
    ] {
        let mut body = to.clone();
        body["args"] = json!([1, 2, 3]);
        assert_eq!(call(here, "sum", body).await?, (200, json!({"args": [6]})), "{to}");
    }
    let (status, all) = call(here, "sum", json!({"type": "gateway", "args": [4]})).await?;
    let replies = all["replies"].as_array().context("there are replies")?;
    assert_eq!((status, replies.len(), &all["missing"]), (200, 2, &json!([])), "{all}");
    assert!(replies.contains(&json!({"instance": other, "args": [4]})), "{all}");
    assert_eq!(
        call(here, "sum", json!({"notify": true, "args": [1]})).await?,
        (202, json!({}))
    );

    let (status, failed) = call(here, "full", json!({"instance": other})).await?;
    assert_eq!((status, &failed["error"]["code"]), (422, &json!("method_failed")));
    assert_eq!(failed["error"]["cause"], json!({"code": "full", "message": "no room"}));
    let (_, failed) = call(here, "full", json!({"type": "gateway"})).await?;
    assert_eq!(failed["replies"][0]["error"]["code"], json!("full"), "{failed}");
    for missing in [json!({"instance": "chat-1"}), json!({"type": "chat"})] {
        assert_eq!(
            code(call(here, "sum", missing).await?),
            (404, "no_instance".into(), None)
        );
    }
    let unknown = code(call(here, "explode", json!({"instance": other})).await?);
    assert_eq!(unknown, (404, "no_method".into(), None));
    let both = json!({"instance": other, "type": "gateway"});
    assert_eq!(
        code(call(here, "sum", both).await?),
        (422, "invalid".into(), Some("type".into()))
    );
    Ok(())
}

#[tokio::test]
async fn who_does_not_answer_in_time_is_named() -> Result<()> {
    let scene = Scene::start().await?;
    let [here, _] = &scene.hosts;
    let options = ManagerOptions {
        role: Role::Worker,
        instance: Some("deaf-1".into()),
        instance_type: "deaf".into(),
        ..ManagerOptions::default()
    };
    let deaf = manager(&BrokerUrl::parse(&scene.redis.url())?, options)?;
    deaf.start(Arc::new(NoSockets::new(drop)));
    let there = async || Ok(here.manager.instances().iter().any(|instance| instance.id == "deaf-1"));
    e2e::poll(e2e::PATIENCE, there, || "the worker does not show itself".into()).await?;
    let one = call(here, "x", json!({"instance": "deaf-1", "timeout": "200ms"})).await?;
    assert_eq!(code(one), (504, "timed_out".into(), None));
    let all = call(here, "x", json!({"type": "deaf", "timeout": "200ms"})).await?;
    assert_eq!(all, (200, json!({"replies": [], "missing": ["deaf-1"]})));
    let cluster = here.find("cluster").await?;
    let shown = json!({"type": "deaf", "id": "deaf-1", "host_id": deaf.host_id()});
    let instances = cluster["instances"].as_array().context("there are instances")?;
    assert!(instances.len() == 3 && instances.contains(&shown), "{cluster}");
    assert_eq!(cluster["this"], json!(here.manager.host_id()));
    assert_eq!(
        cluster["broker"],
        json!({"url": scene.redis.url(), "status": "listening"})
    );
    Ok(())
}
