//! The examples, in a real browser and on several gateways.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::{Client, Connect, Driver, Gateway, NatsServer, Process, RabbitServer, RedisServer, clients};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What gateways of one cluster have in common; a dead one is noticed sooner than by default.
fn cluster(broker: &str) -> [(&str, &str); 2] {
    [
        ("HALLPORTER_MANAGER__URL", broker),
        ("HALLPORTER_MANAGER__CANARY_INTERVAL", "500ms"),
    ]
}

/// Has visitors use the page of an example.
async fn browse(example: &str, gateways: &[&Gateway]) -> Result<()> {
    let script = clients("examples.mjs")?;
    let script = script.to_str().context("the path is UTF-8")?.to_owned();
    let urls = gateways.iter().map(|gateway| gateway.url());
    let args = [script, example.to_owned()].into_iter().chain(urls);
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
    browse("clock", &[&c]).await?;

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
    browse("counter", &[&alone]).await?;

    let (redis, node) = (RedisServer::start().await?, Driver::node()?);
    let url = redis.url();
    let environment = cluster(&url);
    let (mut a, b) = tokio::try_join!(
        Gateway::example("counter-a", "counter", &environment),
        Gateway::example("counter-b", "counter", &environment)
    )?;
    browse("counter", &[&a, &b]).await?;

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

/// Starts `irc`, which keeps its history in a file of this name.
async fn irc(folder: &TempDir, name: &str, environment: &[(&str, &str)]) -> Result<Gateway> {
    let file = folder.path().join(format!("{name}.json"));
    let mut environment = environment.to_vec();
    environment.push(("HALLPORTER_APP__IRC__FILE", file.to_str().context("the path is UTF-8")?));
    Gateway::example(name, "irc", &environment).await
}

fn named(gateway: &Gateway, name: &str) -> Connect {
    Connect::to(gateway.url()).auth(json!({ "name": name }))
}

/// The texts of messages.
fn texts(messages: &Value) -> Vec<&str> {
    let messages = messages.as_array().into_iter().flatten();
    messages.filter_map(|message| message["text"].as_str()).collect()
}

#[tokio::test]
async fn irc_serves_visitors_and_remembers_over_a_restart() -> Result<()> {
    let folder = TempDir::new()?;
    let mut gateway = irc(&folder, "irc", &[]).await?;
    browse("irc", &[&gateway]).await?;
    gateway.process().signal(Signal::TERM)?;
    ensure!(gateway.process().ended().await? == 0, "irc does not end well");

    let idle = [
        ("HALLPORTER_APP__IRC__IDLE", "1s"),
        ("HALLPORTER_APP__IRC__SAVE", "50ms"),
    ];
    let mut gateway = irc(&folder, "irc", &idle).await?;
    let node = Driver::node()?;
    let mut ann = node.connect("ann", named(&gateway, "ann")).await?;
    let history = ann.event("history").await?;
    assert_eq!(texts(&history[0]), ["good evening", "and to <b>you</b>"]);
    assert_eq!(
        ann.disconnected().await?,
        "io server disconnect",
        "who is idle is cleared"
    );

    // What was written now and then is there after the worst end, too.
    let bob = node.connect("bob", named(&gateway, "bob")).await?;
    assert_eq!(bob.ask("say", json!(["once more"])).await?, json!([]));
    let file = folder.path().join("irc.json");
    let is_saved = async || Ok(std::fs::read_to_string(&file)?.contains("once more"));
    e2e::poll(e2e::PATIENCE, is_saved, || "the history is not saved".into()).await?;
    gateway.process().kill().await?;
    let gateway = irc(&folder, "irc", &[]).await?;
    let mut ann = node.connect("ann again", named(&gateway, "ann")).await?;
    let history = ann.event("history").await?;
    assert_eq!(texts(&history[0]), ["good evening", "and to <b>you</b>", "once more"]);
    let refused = ann.ask("say", json!([" "])).await?;
    assert_eq!(refused[0]["error"]["code"], "bad_request");
    Ok(())
}

/// Three gateways, each with a history of its own.
async fn irc_on(broker: &str) -> Result<()> {
    let (folder, node) = (TempDir::new()?, Driver::node()?);
    let environment = cluster(broker);
    let (a, b, mut c) = tokio::try_join!(
        irc(&folder, "irc-a", &environment),
        irc(&folder, "irc-b", &environment),
        irc(&folder, "irc-c", &environment)
    )?;
    for gateway in [&a, &b, &c] {
        gateway.answers("/readyz", 200).await?;
    }
    let mut members = Vec::new();
    for (number, gateway) in [&a, &b, &c].into_iter().cycle().take(20).enumerate() {
        let name = format!("user {number}");
        members.push(node.connect(&name, named(gateway, &name)).await?);
    }
    // All gateways know of all, each client is told, and the next is refused wherever it comes.
    for (member, gateway) in members.iter_mut().zip([&a, &b, &c]) {
        while member.find("joined").await?[1] != 20 {}
        let refused = node.refused("late", named(gateway, "late")).await?;
        assert_eq!(refused, "20 users are here already");
    }

    let said = ["from a", "from b", "from c"];
    for (number, text) in said.into_iter().enumerate() {
        assert_eq!(members[number].ask("say", json!([text])).await?, json!([]));
        for member in &mut members[..3] {
            let message = member.find("said").await?;
            assert_eq!(
                (&message[0]["text"], &message[0]["author"]),
                (&text.into(), &format!("user {number}").into())
            );
        }
    }

    c.process().kill().await?;
    for member in &mut members[..2] {
        while member.find("left").await?[1] != 14 {}
    }
    // A gateway without a past hears of it from the others.
    let fresh = irc(&folder, "irc-d", &environment).await?;
    let mut late = node.connect("late", named(&fresh, "late")).await?;
    let history = late.event("history").await?;
    let mut heard: Vec<String> = texts(&history[0]).into_iter().map(str::to_owned).collect();
    while heard.len() < said.len() {
        let message = late.find("said").await?;
        heard.extend(texts(&message).into_iter().map(str::to_owned));
    }
    assert_eq!(heard, said);
    while members[0].find("joined").await?[0] != "late" {}
    Ok(())
}

#[tokio::test]
async fn irc_runs_on_three_gateways_over_redis() -> Result<()> {
    let redis = RedisServer::start().await?;
    irc_on(&redis.url()).await
}

#[tokio::test]
async fn irc_runs_on_three_gateways_over_rabbitmq() -> Result<()> {
    let rabbit = RabbitServer::start().await;
    irc_on(&rabbit.url()).await
}

#[tokio::test]
async fn irc_runs_on_three_gateways_over_nats() -> Result<()> {
    let nats = NatsServer::start().await?;
    irc_on(&nats.url()).await
}
