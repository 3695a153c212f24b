//! The examples, in a real browser and on several gateways.

mod irc;
mod irc_worker;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::{Client, Connect, Driver, Gateway, Process, RedisServer, clients};
use serde_json::json;

/// What gateways of one cluster have in common; a dead one is noticed sooner than by default.
fn cluster(broker: &str) -> [(&str, &str); 2] {
    [
        ("HALLPORTER_MANAGER__URL", broker),
        ("HALLPORTER_MANAGER__CANARY_INTERVAL", "500ms"),
    ]
}

/// Has visitors use the page of an example.
async fn browse(example: &str, pages: &[String]) -> Result<()> {
    let script = clients("examples.mjs")?;
    let script = script.to_str().context("the path is UTF-8")?.to_owned();
    let args = [script, example.to_owned()].into_iter().chain(pages.iter().cloned());
    let mut browser = Process::start("browser", Path::new("node"), |_| {}, args)?;
    let code = browser.ended().await?;
    ensure!(code == 0, "the browser ends with {code}");
    Ok(())
}

/// The time of the next tick.
async fn tick(client: &mut Client) -> Result<u64> {
    client.event("time").await?[0].as_u64().context("a tick tells the time")
}

#[tokio::test]
async fn the_clock_ticks_once_however_many_gateways_run() -> Result<()> {
    let (redis, node) = (RedisServer::start().await?, Driver::node()?);
    let url = redis.url();
    let environment = cluster(&url);
    let mut first = Gateway::example("clock-a", "clock", &environment).await?;
    let mut client_a = node.connect("a", Connect::to(first.url())).await?;
    // It ticks, so it leads; those that come later are younger.
    tick(&mut client_a).await?;
    let (b, c) = tokio::try_join!(
        Gateway::example("clock-b", "clock", &environment),
        Gateway::example("clock-c", "clock", &environment)
    )?;
    let mut client_b = node.connect("b", Connect::to(b.url())).await?;
    let mut client_c = node.connect("c", Connect::to(c.url())).await?;
    browse("clock", &[c.url()]).await?;

    let mut before = tick(&mut client_c).await?;
    for client in [&mut client_a, &mut client_b] {
        while tick(client).await? < before {}
    }
    for round in 0..4 {
        if round == 2 {
            first.process().kill().await?;
        }
        let time = tick(&mut client_c).await?;
        assert_eq!(time, tick(&mut client_b).await?, "both gateways tell the same tick");
        if round < 2 {
            assert_eq!(time, tick(&mut client_a).await?, "and so does the one that leads");
        }
        ensure!(
            time - before > 700,
            "{time} comes {} ms after the tick before",
            time - before
        );
        before = time;
    }
    Ok(())
}

#[tokio::test]
async fn the_counter_is_right_on_one_gateway_and_on_three() -> Result<()> {
    let alone = Gateway::example("counter", "counter", &[]).await?;
    browse("counter", &[alone.url()]).await?;

    let (redis, node) = (RedisServer::start().await?, Driver::node()?);
    let url = redis.url();
    let environment = cluster(&url);
    let (mut a, b) = tokio::try_join!(
        Gateway::example("counter-a", "counter", &environment),
        Gateway::example("counter-b", "counter", &environment)
    )?;
    browse("counter", &[a.url(), b.url()]).await?;

    // Who comes late learns the number, and it survives whoever has counted.
    let c = Gateway::example("counter-c", "counter", &environment).await?;
    let client_a = node.connect("a", Connect::to(a.url())).await?;
    let mut client_c = node.connect("c", Connect::to(c.url())).await?;
    while client_c.find("value").await? != json!([3]) {}
    while client_c.find("connected").await? != json!([2]) {}
    client_a.emit("add", json!([])).await?;
    while client_c.find("value").await? != json!([4]) {}
    a.process().kill().await?;
    while client_c.find("connected").await? != json!([1]) {}
    client_c.emit("add", json!([])).await?;
    while client_c.find("value").await? != json!([5]) {}
    Ok(())
}
