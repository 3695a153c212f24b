//! What the gateway answers over HTTP, beside the Socket.IO path.

mod api;
mod demo;
mod guard;
mod health;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use hallporter_adapters::ClientManager;
use tower_http::cors::CorsLayer;

pub(crate) use demo::Visitors;

use crate::config::Config;

/// Everything but the sockets.
pub(crate) fn router(config: &Config, manager: Arc<dyn ClientManager>) -> Router {
    let mut router = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz).with_state(manager.status()))
        .route("/metrics", get(health::metrics))
        .route(
            "/api/v1/message",
            post(api::message).with_state(api::Api::new(config, manager)),
        );
    if config.demo == Some(true) {
        router = router.route("/", get(demo::page).with_state(demo::Page::new(config)));
    }
    router
}

/// Lets in requests of the gateway's own pages and of the allowed origins, and tells browsers so.
pub(crate) fn guarded(router: Router, config: &Config) -> Router {
    let guard = Arc::new(guard::Guard::new(config));
    let listed = guard.clone();
    let cors = CorsLayer::new()
        .allow_origin(tower_http::cors::AllowOrigin::predicate(move |origin, _| {
            listed.lists(origin)
        }))
        .allow_credentials(true)
        .allow_methods(tower_http::cors::AllowMethods::mirror_request())
        .allow_headers(tower_http::cors::AllowHeaders::mirror_request());
    router.layer(from_fn_with_state(guard, guard::guard)).layer(cors)
}
