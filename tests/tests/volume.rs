//! One worker emits a great deal.

use std::time::Duration;

use anyhow::Result;
use e2e::{Client, Cluster, Connect, Driver, RedisServer, emit};
use serde_json::json;

const EMITS: usize = 100_000;
const ROOMS: usize = 20;
/// Emits the worker hands to Redis at once.
const BATCH: usize = 500;
/// How long everything may take to arrive, in a build without optimisation on a slow machine.
const ALL: Duration = Duration::from_secs(180);

/// Emits numbers from 0 on, each to one room after the other, and `end` to everyone.
async fn work(redis: &RedisServer) -> Result<()> {
    let mut connection = redis.connection().await?;
    let numbers: Vec<usize> = (0..EMITS).collect();
    for batch in numbers.chunks(BATCH) {
        let mut pipeline = redis::pipe();
        for number in batch {
            let room = format!("room-{}", number % ROOMS);
            let message = emit("number", json!(["worker", number]), Some(&room));
            pipeline.cmd("PUBLISH").arg("socketio").arg(message).ignore();
        }
        pipeline.query_async::<()>(&mut connection).await?;
    }
    redis
        .publish("socketio", emit("end", json!([]), None).as_bytes())
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_hundred_thousand_emits_arrive_once_and_in_order() -> Result<()> {
    let cluster = Cluster::start().await?;
    let node = Driver::node()?;
    // On each gateway a client in every room by itself, and one in all of them.
    let mut clients: Vec<(Client, usize)> = Vec::new();
    for (place, url) in [("a", cluster.a.url()), ("b", cluster.b.url())] {
        for room in 0..=ROOMS {
            let connect = Connect::to_reference(&url).count("number").transports(&["websocket"]);
            let mut client = node.connect(&format!("{place}-{room}"), connect).await?;
            client.patience(ALL);
            let rooms = if room == ROOMS { 0..ROOMS } else { room..room + 1 };
            let expected = EMITS / ROOMS * rooms.len();
            for room in rooms {
                client.join(&format!("room-{room}")).await?;
            }
            clients.push((client, expected));
        }
    }

    work(&cluster.redis).await?;
    let mut wrong = Vec::new();
    for (client, expected) in &mut clients {
        client.until("end").await?;
        let (received, disorder) = client.summary().await?;
        if (received, disorder) != (*expected as u64, 0) {
            wrong.push(format!(
                "{}: {received} of {expected}, {disorder} out of order",
                client.name()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // Nothing comes twice, not even late.
    cluster
        .redis
        .publish("socketio", emit("end", json!([]), None).as_bytes())
        .await?;
    for (client, expected) in &mut clients {
        client.until("end").await?;
        assert_eq!(client.summary().await?, (*expected as u64, 0), "{}", client.name());
    }
    Ok(())
}
