//! The gateway as a layer over another service: its own, or the user's.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use futures_util::future::Either;
use tower::{Layer, Service};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

use super::guard::{Guard, guard};
use crate::config::Config;
use crate::engine::Engine;

/// The gateway, for [`Router::layer`]; made by [`Gateway::layer`](crate::Gateway::layer). Cloning shares it.
///
/// It takes the requests on the Socket.IO path, and those that no route of the router matches but one of the gateway's own does.
/// All others go to the router, and neither the gateway's check of origins nor its CORS headers touch them.
#[derive(Clone, Debug)]
pub struct GatewayLayer {
    /// The Socket.IO path, without its last slash.
    path: Arc<str>,
    sockets: Router,
    routes: Router,
}

/// A service under a [`GatewayLayer`].
#[derive(Clone, Debug)]
pub struct GatewayService<S> {
    path: Arc<str>,
    sockets: Router,
    /// The gateway's routes, and the inner service for what is none of them.
    routes: Router,
    inner: S,
}

impl GatewayLayer {
    /// `routes` are served beside the sockets.
    pub(crate) fn new(config: &Config, engine: Engine, routes: Router) -> Self {
        let origins = Arc::new(Guard::new(config));
        let cors = cors(origins.clone());
        let sockets = Router::new().fallback(move |request: Request| async move { engine.handle(request).await });
        Self {
            path: config.path.trim_end_matches('/').into(),
            sockets: sockets.layer(from_fn_with_state(origins, guard)).layer(cors.clone()),
            routes: routes.layer(cors),
        }
    }
}

/// Tells browsers which pages may read the answers.
fn cors(origins: Arc<Guard>) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| origins.lists(origin)))
        .allow_credentials(true)
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
}

impl<S> Layer<S> for GatewayLayer
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    type Service = GatewayService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GatewayService {
            path: self.path.clone(),
            sockets: self.sockets.clone(),
            routes: self.routes.clone().fallback_service(inner.clone()),
            inner,
        }
    }
}

impl<S> Service<Request> for GatewayService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<RouteFuture<Infallible>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if is_below(&self.path, request.uri().path()) {
            return Either::Left(self.sockets.call(request));
        }
        // A route of the user's router has matched already, and wins.
        match request.extensions().get::<MatchedPath>() {
            Some(_) => Either::Right(self.inner.call(request)),
            None => Either::Left(self.routes.call(request)),
        }
    }
}

/// Whether a request is for the Socket.IO path, with or without its last slash.
fn is_below(path: &str, requested: &str) -> bool {
    matches!(requested.strip_prefix(path), Some("" | "/"))
}
