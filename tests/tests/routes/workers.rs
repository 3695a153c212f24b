//! Who has gone is told to workers, too.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::raw::WebSocket;
use e2e::{PATIENCE, RedisServer};
use hallporter_emitter::worker::{Event, Reply, Worker};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use crate::scene::{ask, serve};

/// What a worker is told of clients that have gone, and the worker.
struct Told {
    events: UnboundedReceiver<Value>,
    worker: JoinHandle<()>,
}

impl Drop for Told {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

impl Told {
    fn start(worker: Worker) -> Self {
        let (tell, events) = unbounded_channel();
        let worker = worker.on("disconnect", move |event: Event| {
            // Nobody may be looking any more.
            let _ = tell.send(json!([event.gateway, event.disconnects]));
            async { Ok(Reply::new()) }
        });
        let worker = tokio::spawn(async move {
            // It ends with the test.
            let _ = worker.run(std::future::pending()).await;
        });
        Self { events, worker }
    }

    async fn next(&mut self) -> Result<Value> {
        let next = timeout(2 * PATIENCE, self.events.recv()).await;
        next.context("nobody is told of")?.context("the worker has ended")
    }
}

/// Waits until the gateway knows the instance that the session names.
async fn is_known(socket: &mut WebSocket) -> Result<()> {
    let mut pace = interval(Duration::from_millis(20));
    while ask(socket, json!(["ping"])).await?[0]["error"]["code"] == "no_instance" {
        pace.tick().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_group_is_told_although_nobody_took_and_the_broker_was_away() -> Result<()> {
    let redis = RedisServer::configured("appendonly yes").await?;
    let scene = serve(&format!(
        "[[route]]\nevent = \"disconnect\"\nto = \"worker:gone\"\n[instance]\nid = \"hall-1\"\n[manager]\nurl = \"{}\"\n",
        redis.url()
    ))
    .await?;
    scene.gateway.answers("/readyz", 200).await?;
    let (first, first_sid) = scene.client().await?;
    let (second, second_sid) = scene.client().await?;
    drop(first);
    scene
        .gateway
        .metric_reaches("hallporter_route_disconnects_total", "", 1.0)
        .await?;
    redis.kill().await?;
    drop(second);
    scene.gateway.log().line("nobody takes it").await?;
    redis.restart().await?;

    let mut told = Told::start(Worker::new(redis.url()).group("gone"));
    for sid in [first_sid, second_sid] {
        let event = told.next().await?;
        assert_eq!(
            (&event[0], &event[1][0]["sid"]),
            (&json!("hall-1"), &json!(sid)),
            "{event}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn an_instance_is_told_of_those_whose_sessions_name_it() -> Result<()> {
    let redis = RedisServer::configured("appendonly yes").await?;
    let scene = serve(&format!(
        "[[route]]\nevent = \"disconnect\"\nto = \"worker:chat/{{session.server}}\"\n\
         [[route]]\nevent = \"sit\"\nto = \"worker:doors\"\n[[route]]\nevent = \"ping\"\nto = \"worker:chat/{{session.server}}\"\n[manager]\nurl = \"{}\"\ncanary_interval = \"200ms\"\n",
        redis.url()
    ))
    .await?;
    scene.gateway.answers("/readyz", 200).await?;
    let doors = Worker::new(redis.url()).group("doors");
    let doors = doors.on("sit", |event: Event| async move {
        let server: String = event.data()?;
        Ok(Reply::new().set("server", server)?)
    });
    let _doors = tokio::spawn(doors.run(std::future::pending()));
    let mut told = Told::start(Worker::new(redis.url()).instance("chat-1", "chat"));
    // Nobody else is told of those whose sessions name no instance, or one that is not there.
    let mut sids = Vec::new();
    for server in [None, Some("chat-2"), Some("chat-1")] {
        let (mut socket, sid) = scene.client().await?;
        if let Some(server) = server {
            assert_eq!(ask(&mut socket, json!(["sit", server])).await?, json!([]));
        }
        if server == Some("chat-1") {
            timeout(PATIENCE, is_known(&mut socket))
                .await
                .context("the worker does not come")??;
        }
        socket.send("41").await?;
        sids.push((socket, sid));
    }
    let event = told.next().await?;
    let (_, sid) = sids.last().context("three were there")?;
    assert_eq!(
        (&event[1][0]["sid"], &event[1][0]["session"]),
        (&json!(sid), &json!({"server": "chat-1"}))
    );
    scene
        .gateway
        .metric_reaches(
            "hallporter_route_disconnects_dropped_total",
            "reason=\"no_instance\"",
            2.0,
        )
        .await?;
    let more = timeout(Duration::ZERO, told.events.recv()).await;
    assert!(more.is_err(), "others are told of: {more:?}");
    Ok(())
}
