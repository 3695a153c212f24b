//! `irc` as a worker in Python behind the gateway itself.

use std::path::Path;

use anyhow::{Result, ensure};
use axum::Router;
use axum::response::Html;
use axum::routing::get;
use e2e::{Driver, Gateway, NatsServer, Process, RabbitServer, RedisServer, python};
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::irc::{named, serves_twenty, texts};
use crate::{browse, cluster};

const KEY: &str = "a key of this test alone";

fn example(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/irc");
    folder.join(file).display().to_string()
}

async fn gateway(name: &str, broker: &str) -> Result<Gateway> {
    let mut environment = cluster(broker).to_vec();
    environment.push(("HALLPORTER_API__KEY", KEY));
    let config = example("hallporter.toml");
    let gateway = Gateway::hallporter(name, &["serve", "--config", &config], &environment).await?;
    gateway.answers("/readyz", 200).await?;
    Ok(gateway)
}

/// The worker; what it knows is in this folder.
async fn worker(folder: &TempDir, broker: &str, gateway: &Gateway, idle: &str) -> Result<Process> {
    let configure = |command: &mut tokio::process::Command| {
        let file = folder.path().join("irc.db");
        command
            .env("IRC_FILE", file)
            .env("IRC_IDLE", idle)
            .env("HALLPORTER_API__KEY", KEY);
    };
    let args = [example("worker.py"), broker.to_owned(), gateway.url()];
    let worker = Process::start("worker", &python()?, configure, args)?;
    worker.log().line("takes events").await?;
    Ok(worker)
}

/// The page, which the gateway does not serve, and which is told where the gateway is.
async fn page(gateway: &Gateway) -> Result<String> {
    let page = Router::new().route(
        "/irc.html",
        get(async || Html(include_str!("../../../gateway/examples/irc.html"))),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, page).await });
    Ok(format!("http://{address}/irc.html?gateway={}", gateway.url()))
}

#[tokio::test]
async fn irc_serves_visitors_by_a_worker_and_remembers_over_its_death() -> Result<()> {
    let (redis, folder, node) = (RedisServer::start().await?, TempDir::new()?, Driver::node()?);
    let broker = redis.url();
    let gateway = gateway("irc", &broker).await?;
    let mut first = worker(&folder, &broker, &gateway, "600").await?;
    browse("irc", &[page(&gateway).await?]).await?;
    first.signal(Signal::TERM)?;
    ensure!(first.ended().await? == 0, "the worker does not end well");

    let mut second = worker(&folder, &broker, &gateway, "1").await?;
    let mut ann = node.connect("ann", named(&gateway, "ann")).await?;
    let history = ann.event("history").await?;
    assert_eq!(texts(&history[0]), ["good evening", "and to <b>you</b>"]);
    assert_eq!(
        ann.disconnected().await?,
        "io server disconnect",
        "who is idle is cleared"
    );
    let bob = node.connect("bob", named(&gateway, "bob")).await?;
    assert_eq!(bob.ask("say", json!(["once more"])).await?, json!([]));
    second.kill().await?;

    let _third = worker(&folder, &broker, &gateway, "600").await?;
    let mut ann = node.connect("ann again", named(&gateway, "ann")).await?;
    let history = ann.event("history").await?;
    assert_eq!(texts(&history[0]), ["good evening", "and to <b>you</b>", "once more"]);
    let refused = ann.ask("say", json!([" "])).await?;
    assert_eq!(refused[0]["error"]["code"], "bad_request");
    Ok(())
}

/// One worker for three gateways.
async fn irc_on(broker: &str) -> Result<()> {
    let folder = TempDir::new()?;
    let api = gateway("irc-api", broker).await?;
    let _worker = worker(&folder, broker, &api, "600").await?;
    serves_twenty(async |name| gateway(name, broker).await).await
}

#[tokio::test]
async fn irc_runs_by_a_worker_over_redis() -> Result<()> {
    let redis = RedisServer::start().await?;
    irc_on(&redis.url()).await
}

#[tokio::test]
async fn irc_runs_by_a_worker_over_rabbitmq() -> Result<()> {
    let rabbit = RabbitServer::start().await;
    irc_on(&rabbit.url()).await
}

#[tokio::test]
async fn irc_runs_by_a_worker_over_nats() -> Result<()> {
    let nats = NatsServer::configured("jetstream: enabled").await?;
    irc_on(&nats.url()).await
}
