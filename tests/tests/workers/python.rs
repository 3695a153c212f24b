//! Workers in Python.

use anyhow::{Result, ensure};
use e2e::{PATIENCE, Process, RabbitServer, clients, poll, python, run};
use futures_util::future::try_join_all;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::scene::{Scene, example, nats, redis};

const ROUTE: &str = "[[route]]\nevent = \"*\"\nto = \"worker:orders\"\nparallel = true\ntimeout = \"60s\"\n";

fn worker(name: &str, module: &str, broker: &str) -> Result<Process> {
    let script = clients("mortal_worker.py")?.display().to_string();
    Process::start(name, &python()?, |_| {}, [&*script, module, broker])
}

/// Asks for the acks of so many events at once, and checks them.
async fn ask_many(scene: &Scene, events: usize) -> Result<()> {
    let asked = (0..events).map(async |number| {
        let ack = scene.client.ask("echo", json!([number])).await?;
        ensure!(ack[0] == number, "{number} is answered {ack}");
        anyhow::Ok(())
    });
    try_join_all(asked).await?;
    Ok(())
}

/// What is in the dead-letter queue; with `--again` it is put back.
async fn dead_letters(broker: &str, again: &[&str]) -> Result<Vec<Value>> {
    let script = example("workers/dead_letters.py");
    let shown = run(&python()?, [&[&*script, broker][..], again].concat()).await?;
    ensure!(shown.code == 0, "{}", shown.stderr);
    let lines = shown.stdout.lines();
    Ok(lines.map(serde_json::from_str).collect::<Result<_, _>>()?)
}

async fn loses_nothing(module: &str, broker: &str) -> Result<()> {
    let scene = Scene::start(broker, ROUTE).await?;
    let mut first = worker("first", module, broker)?;
    ask_many(&scene, 200).await?;
    let failed = scene.client.ask("raise", json!(["in vain"])).await?;
    assert_eq!(failed[0]["error"]["code"], "internal", "{failed}");

    // One dies with an event in hand, and another goes on.
    let file = scene.file("hold")?;
    let (held, second) = tokio::join!(scene.client.ask("hold", json!([file])), async {
        let is_held = async || Ok(std::fs::exists(&file)?);
        poll(PATIENCE, is_held, || "nobody holds the event".into()).await?;
        let second = worker("second", module, broker)?;
        ask_many(&scene, 100).await?;
        first.kill().await?;
        ask_many(&scene, 100).await?;
        anyhow::Ok(second)
    });
    let (held, mut worker_now) = (held?, second?);
    assert_eq!(held, json!([file, worker_now.id()?.as_raw_nonzero().get()]));
    let redelivered = scene.gateway.metric_reaches("hallporter_redelivered_total", "", 1.0);
    redelivered.await?;

    // One that takes every worker with it is put aside.
    scene.client.emit("die", json!([])).await?;
    for number in 1..=5 {
        assert_eq!(worker_now.ended().await?, 9);
        worker_now = worker(&format!("after {number} deaths"), module, broker)?;
    }
    worker_now.log().line("put aside").await?;
    ask_many(&scene, 10).await?;
    let letters = dead_letters(broker, &[]).await?;
    assert_eq!((letters.len(), &letters[0]["event"]), (1, &json!("die")), "{letters:?}");
    worker_now.signal(Signal::TERM)?;
    assert_eq!(worker_now.ended().await?, 0);

    assert_eq!(dead_letters(broker, &["--again"]).await?, letters);
    assert_eq!(dead_letters(broker, &[]).await?, Vec::<Value>::new());
    let mut last = worker("last", module, broker)?;
    assert_eq!(last.ended().await?, 9, "it is tried again");
    Ok(())
}

#[tokio::test]
async fn a_worker_on_redis_loses_nothing() -> Result<()> {
    let redis = redis().await?;
    loses_nothing("redis_worker", &redis.url()).await
}

#[tokio::test]
async fn a_worker_on_rabbitmq_loses_nothing() -> Result<()> {
    let rabbit = RabbitServer::start().await;
    loses_nothing("rabbitmq_worker", &rabbit.url()).await
}

#[tokio::test]
async fn a_worker_on_nats_loses_nothing() -> Result<()> {
    let nats = nats().await?;
    loses_nothing("nats_worker", &nats.url()).await
}
