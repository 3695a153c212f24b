//! The Rust worker, as the example `worker` has it.

use std::future::ready;

use anyhow::{Result, ensure};
use e2e::{PATIENCE, Process, RabbitServer, example};
use futures_util::TryStreamExt;
use futures_util::stream::FuturesUnordered;
use hallporter_emitter::worker::{Event, Reply, Worker};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::scene::{Scene, nats, redis};

const ROUTES: &str = r#"
[[route]]
event = "order.*"
to = "worker:orders"
parallel = true
timeout = "60s"

[[route]]
event = "waiter.*"
to = "worker:waiters"

[[route]]
event = "table.*"
to = "worker:kitchen/{session.kitchen}"
"#;

fn kitchen(name: &str, broker: &str) -> Result<Process> {
    Process::start(name, &example("worker")?, |_| {}, [broker, name])
}

/// Orders so many dishes at once, and checks that each is acked as it was ordered and served once. Once the first is acked, something happens.
/// Returns who cooked them.
async fn order(
    scene: &mut Scene,
    dishes: usize,
    takes: u64,
    happens: impl Future<Output = Result<()>>,
) -> Result<Vec<Value>> {
    let name = |number| json!(format!("dish {number:03}"));
    let asked = (0..dishes).map(async |number| {
        let ack = scene.client.ask("order.new", json!([name(number), takes])).await?;
        ensure!(ack[0] == name(number), "{} is answered {ack}", name(number));
        anyhow::Ok(ack[1].clone())
    });
    let mut asked: FuturesUnordered<_> = asked.collect();
    let mut cooks: Vec<Value> = asked.try_next().await?.into_iter().collect();
    happens.await?;
    cooks.extend(asked.try_collect::<Vec<_>>().await?);
    let mut served = Vec::new();
    for _ in 0..dishes {
        served.push(scene.client.event("served").await?[0].clone());
    }
    served.sort_by_key(Value::to_string);
    let expected: Vec<Value> = (0..dishes).map(name).collect();
    ensure!(served == expected, "served: {served:?}");
    Ok(cooks)
}

async fn loses_nothing(broker: &str) -> Result<()> {
    let mut scene = Scene::start(broker, ROUTES).await?;
    let (mut first, second) = (kitchen("kitchen-1", broker)?, kitchen("kitchen-2", broker)?);
    order(&mut scene, 100, 0, ready(Ok(()))).await?;

    // With events in the hands of both, one is killed.
    let killed = async { first.kill().await };
    let cooks = order(&mut scene, 100, 200, killed).await?;
    ensure!(cooks.len() == 100 && cooks.contains(&json!("kitchen-2")), "{cooks:?}");
    scene
        .gateway
        .metric_reaches("hallporter_redelivered_total", "", 1.0)
        .await?;
    leaves_well(second).await
}

async fn leaves_well(mut worker: Process) -> Result<()> {
    worker.signal(Signal::TERM)?;
    ensure!(worker.ended().await? == 0, "it does not end well");
    Ok(())
}

/// Events go to the instance that the session names, and one server calls another's method.
async fn is_an_instance(broker: &str) -> Result<()> {
    let scene = Scene::start(broker, ROUTES).await?;
    let ask = async |event: &str| scene.client.ask(event, json!([])).await;
    let first = kitchen("kitchen-1", broker)?;
    let nobody = ask("table.orders").await?;
    assert_eq!(nobody[0]["error"]["code"], "no_instance", "{nobody}");
    assert_eq!(ask("order.sit").await?, json!([]));
    scene.client.ask("order.new", json!(["soup", 0])).await?;
    let second = kitchen("kitchen-2", broker)?;
    assert_eq!(ask("table.orders").await?, json!([1]));

    let waiter = Worker::new(broker)
        .group("waiters")
        .on("waiter.count", async |event: Event| {
            let orders: u64 = event.servers().call("kitchen-1", "orders", &(), PATIENCE).await?;
            let all = event
                .servers()
                .call_all::<u64>("kitchen", "orders", &(), PATIENCE)
                .await?;
            Ok(Reply::ack(&(orders, all.answers.len()))?)
        });
    let (end, ended) = oneshot::channel::<()>();
    let waiter = tokio::spawn(waiter.run(async { drop(ended.await) }));
    assert_eq!(ask("waiter.count").await?, json!([1, 2]));
    drop(end);
    waiter.await??;

    leaves_well(first).await?;
    let gone = ask("table.orders").await?;
    assert_eq!(gone[0]["error"]["code"], "no_instance", "{gone}");
    leaves_well(second).await
}

#[tokio::test]
async fn a_worker_on_redis_loses_nothing() -> Result<()> {
    loses_nothing(&redis().await?.url()).await
}

#[tokio::test]
async fn a_worker_on_rabbitmq_loses_nothing() -> Result<()> {
    let rabbit = RabbitServer::start().await;
    loses_nothing(&rabbit.url()).await
}

#[tokio::test]
async fn a_worker_on_nats_loses_nothing() -> Result<()> {
    loses_nothing(&nats().await?.url()).await
}

#[tokio::test]
async fn a_worker_on_redis_is_an_instance() -> Result<()> {
    is_an_instance(&redis().await?.url()).await
}

#[tokio::test]
async fn a_worker_on_rabbitmq_is_an_instance() -> Result<()> {
    let rabbit = RabbitServer::start().await;
    is_an_instance(&rabbit.url()).await
}

#[tokio::test]
async fn a_worker_on_nats_is_an_instance() -> Result<()> {
    is_an_instance(&nats().await?.url()).await
}
