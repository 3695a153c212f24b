//! The user's code outside of the gateway: it answers `echo`.

use anyhow::Result;
use axum::routing::post;
use axum::{Json, Router};
use hallporter_emitter::worker::{Event, HandlerError, Reply, Worker};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{ANY_PORT, listening};

/// Over HTTP.
pub(crate) async fn endpoint() -> Result<()> {
    let listener = TcpListener::bind(ANY_PORT).await?;
    listening(listener.local_addr()?);
    let echo = async |Json(event): Json<Value>| Json(json!({"ack": event["args"]}));
    Ok(axum::serve(listener, Router::new().route("/", post(echo))).await?)
}

/// On the broker.
#[expect(clippy::print_stdout, reason = "whoever started the worker reads it")]
pub(crate) async fn work(broker: &str) -> Result<()> {
    println!("ready");
    let worker = Worker::new(broker).group("bench").in_hand(64).on("echo", echo);
    Ok(worker.run(std::future::pending()).await?)
}

async fn echo(event: Event) -> Result<Reply, HandlerError> {
    let text: String = event.data()?;
    Ok(Reply::ack(&text)?)
}
