//! Ten thousand events, and nothing goes wrong.

use std::sync::Arc;

use anyhow::{Result, ensure};
use axum::routing::post;
use axum::{Json, Router};
use e2e::{Gateway, NatsServer, RabbitServer, RedisServer, Settings};
use futures_util::future::try_join_all;
use hallporter::config::Config;
use hallporter::{Data, Error, Namespace};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::book::{Book, write};
use crate::counting::{Plan, Progress, count};
use crate::kills::{gateway, worker};

const CLIENTS: usize = 50;
const EVENTS: usize = 200;

/// Every event is acked once and handled once, in the order of its client.
async fn all_are_handled(address: &str, book: &Book) -> Result<()> {
    let progress = Progress::new(CLIENTS * EVENTS);
    let clients = (0..CLIENTS).map(|client| {
        let plan = Plan {
            client,
            events: EVENTS,
            window: EVENTS,
            again: false,
        };
        count(address, plan, &progress)
    });
    let all: Vec<usize> = (0..EVENTS).collect();
    for tally in try_join_all(clients).await? {
        ensure!(tally.acked == all, "{tally:?}");
    }
    let handled = book.read()?;
    for client in 0..CLIENTS {
        ensure!(
            handled.get(&client) == Some(&all),
            "{client}: {:?}",
            handled.get(&client)
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_a_handler() -> Result<()> {
    let book = Book::new()?;
    let pen = Arc::new(book.pen()?);
    let count = move |Data((client, number)): Data<(usize, usize)>| {
        let written = write(&pen, client, number).map_err(|error| Error::internal(error.to_string()));
        async move { written.map(|()| (client, number)) }
    };
    let config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        ..Config::default()
    };
    let gateway = hallporter::Gateway::new(config).namespace(Namespace::new("/").public().on("count", count));
    let gateway = gateway.bind().await?;
    let address = gateway.address().to_string();
    tokio::spawn(gateway.serve(std::future::pending()));
    all_are_handled(&address, &book).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_an_http_endpoint() -> Result<()> {
    let book = Book::new()?;
    let pen = Arc::new(book.pen()?);
    let handle = move |Json(event): Json<Value>| {
        let number = |at: usize| event["args"][at].as_u64().unwrap_or_default() as usize;
        let written = write(&pen, number(0), number(1));
        let reply = match written {
            Ok(()) => json!({"ack": event["args"]}),
            Err(error) => json!({"error": {"code": "book", "message": error.to_string()}}),
        };
        async { Json(reply) }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let to = format!("http://{}/", listener.local_addr()?);
    let endpoint = Router::new().route("/", post(handle));
    tokio::spawn(async move { axum::serve(listener, endpoint).await });
    let settings = Settings::new(&format!(
        "[[namespace]]\nname = \"/\"\npublic = true\n[[route]]\nevent = \"count\"\nto = \"{to}\"\n"
    ))?;
    let gateway = Gateway::hallporter("gateway", &["serve", "--config", settings.path()?], &[]).await?;
    all_are_handled(gateway.address(), &book).await
}

async fn by_workers(broker: &str) -> Result<()> {
    let book = Book::new()?;
    let _workers = [worker("worker-1", broker, &book)?, worker("worker-2", broker, &book)?];
    let (gateway, _settings) = gateway("gateway", broker).await?;
    all_are_handled(gateway.address(), &book).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_workers_on_redis() -> Result<()> {
    let redis = RedisServer::start().await?;
    by_workers(&redis.url()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_workers_on_rabbitmq() -> Result<()> {
    let rabbit = RabbitServer::start().await;
    by_workers(&rabbit.url()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_workers_on_nats() -> Result<()> {
    let nats = NatsServer::configured("jetstream: enabled").await?;
    by_workers(&nats.url()).await
}
