//! What the gateway answers over HTTP, beside the Socket.IO path.

mod api;
mod demo;
mod guard;
mod health;
mod server;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::routing::{get, post};
use hallporter_adapters::ClientManager;
use tower_http::cors::CorsLayer;

pub(crate) use demo::Visitors;
pub(crate) use server::{listen, serve};

use crate::config::Config;
use crate::engine::Engine;

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

/// Hands requests on the Socket.IO path to the engine.
pub(crate) fn with_engine(router: Router, config: &Config, engine: Engine) -> Router {
    let path: Arc<str> = config.path.trim_end_matches('/').into();
    router.layer(from_fn(move |request: Request, next: Next| {
        let (path, engine) = (path.clone(), engine.clone());
        async move {
            match is_below(&path, request.uri().path()) {
                true => engine.handle(request).await,
                false => next.run(request).await,
            }
        }
    }))
}

/// Whether a request is for the Socket.IO path, with or without its last slash.
fn is_below(path: &str, requested: &str) -> bool {
    matches!(requested.strip_prefix(path), Some("" | "/"))
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
