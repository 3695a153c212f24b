//! The gateway in a router of one's own: the page at `/` is axum's, and beside it clients connect by Socket.IO.
//!
//! `cargo run -p hallporter --example mounted`

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use hallporter::config::{Sources, load};
use hallporter::{Args, Gateway, Handshake, Namespace, shutdown};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_ansi(false).init();
    let config = load(Sources {
        environment: std::env::vars().collect(),
        ..Sources::default()
    })?;
    let listener = TcpListener::bind(config.listen).await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let namespace = Namespace::new("/")
        .public()
        .on("echo", async |args: Args| args)
        .on("address", async |handshake: Handshake| handshake.address);
    let (layer, running) = Gateway::new(config).namespace(namespace).layer().await?;
    let router = Router::new()
        .route("/", get(async || "a page of my own"))
        // After the routes, so that it is around them all.
        .layer(layer);
    let asked = shutdown::requested()?;
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move {
            asked.await;
            running.close().await;
        })
        .await?;
    Ok(())
}
