//! Routes that lead to the user's own code.

use anyhow::{Result, ensure};
use hallporter::config::{Config, Route};
use hallporter::{Error, Gateway, Namespace, Refusal, Request, authenticated};
use serde_json::json;

use crate::scene::{Host, ask, client, config, error_of, refusal};

fn routed(event: &str, to: &str) -> Result<Config> {
    Ok(Config {
        route: vec![Route::new(event, to.parse()?)],
        ..config()
    })
}

/// Each handler answers with its name and that of the event.
fn namespace() -> Namespace {
    let answer = |name: &'static str| async move |request: Request| (name, request.event().to_owned());
    Namespace::new("/")
        .public()
        .on("one", answer("one"))
        .on("two", answer("two"))
        .on_any(answer("any"))
}

#[tokio::test]
async fn an_event_takes_the_handler_of_another() -> Result<()> {
    let host = Host::start(Gateway::new(routed("t*", "handler:one")?).namespace(namespace())).await?;
    let mut socket = client(&host).await?;
    for (event, handler) in [("one", "one"), ("two", "one"), ("three", "one"), ("other", "any")] {
        assert_eq!(ask(&mut socket, json!([event])).await?, json!([handler, event]));
    }
    Ok(())
}

#[tokio::test]
async fn what_is_around_the_handlers_is_around_routes() -> Result<()> {
    let guarded = namespace().guard(authenticated);
    let host = Host::start(Gateway::new(routed("two", "handler:one")?).namespace(guarded)).await?;
    let mut socket = client(&host).await?;
    assert_eq!(error_of(&mut socket, json!(["two"])).await?["code"], "unauthenticated");
    // Guards come before the way out of the gateway, too: nobody is there.
    let guarded = namespace().guard(authenticated);
    let host = Host::start(Gateway::new(routed("two", "http://127.0.0.1:1/")?).namespace(guarded)).await?;
    let mut socket = client(&host).await?;
    assert_eq!(error_of(&mut socket, json!(["two"])).await?["code"], "unauthenticated");
    Ok(())
}

#[tokio::test]
async fn a_connect_goes_where_its_route_leads() -> Result<()> {
    let door = Namespace::new("/")
        .on("door", async || Err::<(), Error>(Refusal::new("closed").into()))
        .on_connect(async || ());
    let host = Host::start(Gateway::new(routed("connect", "handler:door")?).namespace(door)).await?;
    assert_eq!(refusal(&host, json!({})).await?["message"], "closed");
    Ok(())
}

#[tokio::test]
async fn calls_over_http_take_no_route() -> Result<()> {
    let namespace = namespace().method("add", async || 3);
    let host = Host::start(Gateway::new(routed("*", "handler:one")?).namespace(namespace)).await?;
    let mut socket = client(&host).await?;
    assert_eq!(ask(&mut socket, json!(["add"])).await?, json!(["one", "add"]));
    let request = e2e::raw::Request::post("/rpc/add", "");
    assert_eq!(request.send(&host.address).await?.text()?, "3");
    Ok(())
}

#[tokio::test]
async fn what_a_route_lacks_is_named_at_the_start() -> Result<()> {
    for (config, namespace, says) in [
        (
            routed("x", "handler:three")?,
            namespace(),
            "/: route 1 handler:three names the handler \"three\"; there are one, two",
        ),
        (
            routed("x", "handler:one")?,
            Namespace::new("/other"),
            "nobody opens \"/\"",
        ),
    ] {
        let started = Gateway::new(config).namespace(namespace).bind().await;
        let Err(error) = started else {
            anyhow::bail!("it starts, and should say {says}");
        };
        ensure!(error.to_string().contains(says), "{error}");
    }
    Ok(())
}
