//! The broker goes away and comes back, under traffic.

use std::time::Duration;

use anyhow::Result;
use e2e::{Pair, RedisServer, emit};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::interval;

/// A worker that emits `traffic` all the time, and connects again whenever it cannot. Stops when aborted.
fn worker(redis: &RedisServer) -> JoinHandle<()> {
    let url = redis.url();
    tokio::spawn(async move {
        let mut pace = interval(Duration::from_millis(5));
        loop {
            pace.tick().await;
            let Ok(client) = redis::Client::open(url.as_str()) else {
                return;
            };
            let Ok(mut connection) = client.get_multiplexed_async_connection().await else {
                continue;
            };
            let message = emit("traffic", json!([1]), None);
            let publish = redis::cmd("PUBLISH").arg("socketio").arg(message).clone();
            while publish.query_async::<()>(&mut connection).await.is_ok() {
                pace.tick().await;
            }
        }
    })
}

#[tokio::test]
async fn gateways_notice_an_outage_recover_and_say_so_once() -> Result<()> {
    let mut pair = Pair::start(&[]).await?;
    let sids = pair.clients.each_ref().map(|client| client.sid().to_owned());
    let worker = worker(&pair.redis);
    for outage in 1..=2 {
        for client in &mut pair.clients {
            client.event("traffic").await?;
        }
        pair.redis.kill().await?;
        for gateway in &pair.gateways {
            gateway.log().nth_line("broker is away", outage).await?;
            gateway.answers("/readyz", 503).await?;
            gateway.answers("/healthz", 200).await?;
            assert_eq!(gateway.metric("hallporter_broker_up", "").await?, 0.0);
        }
        // Clients are served meanwhile, and stay.
        for client in &pair.clients {
            assert_eq!(
                client.ask("join", json!([format!("room-{outage}")])).await?,
                json!(["ok"])
            );
        }
        pair.redis.restart().await?;
        for gateway in &pair.gateways {
            gateway.log().nth_line("broker is back", outage).await?;
            gateway.answers("/readyz", 200).await?;
            assert_eq!(gateway.metric("hallporter_broker_up", "").await?, 1.0);
            assert_eq!(
                gateway.metric("hallporter_broker_reconnects_total", "").await?,
                outage as f64
            );
        }
        let room = format!("room-{outage}");
        let marker = format!("back-{outage}");
        pair.redis
            .publish("socketio", emit(&marker, json!([]), Some(&room)).as_bytes())
            .await?;
        for client in &mut pair.clients {
            client.until(&marker).await?;
        }
    }
    worker.abort();
    for gateway in &pair.gateways {
        assert_eq!(gateway.log().count("broker is away"), 2);
        assert_eq!(gateway.log().count("broker is back"), 2);
    }
    for (client, sid) in pair.clients.iter().zip(sids) {
        assert_eq!(client.sid(), sid);
    }
    Ok(())
}

/// A broker that is connected and says nothing is away as well: each gateway misses its own canary.
#[tokio::test]
async fn gateways_notice_a_broker_that_went_silent() -> Result<()> {
    let mut pair = Pair::start(&[("HALLPORTER_MANAGER__CANARY_INTERVAL", "500ms")]).await?;
    pair.redis.freeze()?;
    for gateway in &pair.gateways {
        gateway.log().line("broker is away").await?;
        gateway.answers("/readyz", 503).await?;
        gateway
            .metric_reaches("hallporter_broker_canary_age_seconds", "", 1.0)
            .await?;
    }
    pair.redis.thaw()?;
    for gateway in &pair.gateways {
        gateway.log().line("broker is back").await?;
        gateway.answers("/readyz", 200).await?;
        assert_eq!(gateway.log().count("broker is away"), 1);
        assert_eq!(gateway.log().count("broker is back"), 1);
    }
    pair.reaches_everyone("after the silence").await
}
