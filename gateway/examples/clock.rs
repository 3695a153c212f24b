//! The time, told to everyone once a second: by one gateway, however many run.
//!
//! `cargo run --release -p hallporter --example clock`, then open <http://127.0.0.1:3000>.
//!
//! It reads the ordinary configuration, so several on one broker are a cluster:
//! `HALLPORTER_MANAGER__URL=redis://127.0.0.1:6379 HALLPORTER_LISTEN=127.0.0.1:3001 cargo run …`. When the gateway that tells the time goes,
//! another takes over.

use std::time::{Duration, SystemTime};

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use hallporter::config::{Sources, load};
use hallporter::{Error, Gateway, Namespace, Talk, shutdown};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = load(Sources {
        defaults: "demo = false",
        environment: std::env::vars().collect(),
        ..Sources::default()
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(config.log.as_str());
    log.with_ansi(false).with_writer(std::io::stderr).init();
    let page = Router::new().route("/", get(async || Html(include_str!("clock.html"))));
    let gateway = Gateway::new(config)
        .routes(page)
        .namespace(Namespace::new("/").public())
        .every_once_per_cluster(Duration::from_secs(1), tick);
    gateway.bind().await?.serve(shutdown::requested()?).await?;
    Ok(())
}

/// Tells all clients, on all gateways, the time in milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the wall clock is what it is about")]
async fn tick(talk: Talk) -> Result<(), Error> {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
    Ok(talk.emit("time", &u64::try_from(time)?).await?)
}
