//! `irc` as a program on the library.

use anyhow::{Context, Result, ensure};
use e2e::{Connect, Driver, Gateway, NatsServer, RabbitServer, RedisServer};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{browse, cluster};

/// Starts `irc`, which keeps its history in a file of this name.
async fn irc(folder: &TempDir, name: &str, environment: &[(&str, &str)]) -> Result<Gateway> {
    let file = folder.path().join(format!("{name}.json"));
    let mut environment = environment.to_vec();
    environment.push(("HALLPORTER_APP__IRC__FILE", file.to_str().context("the path is UTF-8")?));
    Gateway::example(name, "irc", &environment).await
}

pub(crate) fn named(gateway: &Gateway, name: &str) -> Connect {
    Connect::to(gateway.url()).auth(json!({ "name": name }))
}

/// The texts of messages.
pub(crate) fn texts(messages: &Value) -> Vec<&str> {
    let messages = messages.as_array().into_iter().flatten();
    messages.filter_map(|message| message["text"].as_str()).collect()
}

#[tokio::test]
async fn irc_serves_visitors_and_remembers_over_a_restart() -> Result<()> {
    let folder = TempDir::new()?;
    let mut gateway = irc(&folder, "irc", &[]).await?;
    browse("irc", &[gateway.url()]).await?;
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

/// Twenty users on three gateways, of which one dies.
pub(crate) async fn serves_twenty(start: impl AsyncFn(&'static str) -> Result<Gateway>) -> Result<()> {
    let node = Driver::node()?;
    let (a, b, mut c) = tokio::try_join!(start("irc-a"), start("irc-b"), start("irc-c"))?;
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
    let fresh = start("irc-d").await?;
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

/// Each gateway has a history of its own.
async fn irc_on(broker: &str) -> Result<()> {
    let (folder, environment) = (TempDir::new()?, cluster(broker));
    serves_twenty(async |name| irc(&folder, name, &environment).await).await
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
