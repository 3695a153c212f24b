//! What the gateway answers over HTTP, beside the Socket.IO path.

mod api;
mod demo;
mod guard;
mod health;
mod layer;
mod rpc;
mod server;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use hallporter_adapters::ClientManager;

pub(crate) use demo::add as demo;
pub use layer::{GatewayLayer, GatewayService};
pub(crate) use server::{listen, serve};

use crate::app::App;
use crate::config::Config;

/// Everything but the sockets. `listen` is the gateway's own address; it has none in the user's router.
pub(crate) fn router(
    config: &Config,
    listen: Option<SocketAddr>,
    manager: Arc<dyn ClientManager>,
    apps: &[Arc<App>],
) -> Router {
    let mut router = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz).with_state(manager.status()))
        .route("/metrics", get(health::metrics))
        .merge(api::router(config, listen, manager))
        .merge(rpc::router(apps, config));
    if config.demo == Some(true) {
        router = router.route("/", get(demo::page).with_state(demo::Page::new(config)));
    }
    router
}
