//! What a worker does is the same on every broker, but for the URL.

use anyhow::{Result, ensure};
use e2e::{Connect, Driver, NatsServer, RabbitServer, RedisServer, gateways};
use hallporter_emitter::Emitter;
use serde_json::json;

const EMITS: usize = 200;

/// The loop of a worker.
async fn work(url: &str) -> Result<()> {
    let emitter = Emitter::connect(url).await?;
    for number in 0..EMITS {
        emitter.to("room").emit("number", &number).await?;
    }
    Ok(emitter.emit("end", &()).await?)
}

/// Has the worker emit to a member of the room on each of two gateways, and to two clients beside it.
async fn reaches_the_room(node: &Driver, url: &str) -> Result<()> {
    let [a, b] = gateways(url, "socketio").await?;
    let mut clients = Vec::new();
    for gateway in [&a, &b] {
        gateway.answers("/readyz", 200).await?;
        for name in ["member", "other"] {
            let name = format!("{name} at {}", gateway.address());
            clients.push(node.connect(&name, Connect::to_reference(gateway.url())).await?);
        }
    }
    for member in [0, 2] {
        clients[member].join("room").await?;
    }
    work(url).await?;
    let numbers: Vec<_> = (0..EMITS)
        .map(|number| ("number".to_owned(), json!([number])))
        .collect();
    for (index, client) in clients.iter_mut().enumerate() {
        let received = client.until("end").await?;
        let expected = if index % 2 == 0 { &numbers[..] } else { &[] };
        ensure!(received == expected, "{} received {received:?}", client.name());
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_changes_nothing_but_the_url() -> Result<()> {
    let node = Driver::node()?;
    let (redis, nats) = tokio::try_join!(RedisServer::start(), NatsServer::start())?;
    let rabbit = RabbitServer::start().await;
    for url in [redis.url(), rabbit.url(), nats.url()] {
        reaches_the_room(&node, &url).await?;
    }
    Ok(())
}
