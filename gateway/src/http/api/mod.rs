//! The HTTP API, `/api/v1`: what workers and operators ask of the cluster over HTTP. `openapi.yaml` beside this file says all of it.
//!
//! A file for each resource; `access.rs` says who may, `input.rs` reads what comes, `error.rs` is what is answered otherwise.

mod access;
mod cluster;
mod emit;
mod error;
mod input;
mod message;
mod methods;
mod page;
mod rooms;
mod sockets;
mod users;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{any, get};
use hallporter_adapters::wire::PythonWire;
use hallporter_adapters::{ClientManager, Target};

use crate::config::{Config, Scope};
use access::{Access, Pass};
use error::ApiError;
use input::Namespace;

/// What the API is done with.
#[derive(Clone, Debug)]
struct Api {
    manager: Arc<dyn ClientManager>,
    /// What a body may have, in bytes.
    max_body: usize,
    /// The broker's URL, password masked.
    broker: Arc<str>,
    wire: PythonWire,
}

/// The routes. `listen` is the gateway's own address; whom another server lets in is not known.
pub(super) fn router(config: &Config, listen: Option<SocketAddr>, manager: Arc<dyn ClientManager>) -> Router {
    let access = Access::new(config, listen);
    let scoped = |scope: Scope, routes: Router<Api>| {
        let pass = Pass::new(access.clone(), scope);
        routes.route_layer(from_fn_with_state(pass, access::check))
    };
    Router::new()
        .merge(scoped(Scope::Emit, emit::routes()))
        .merge(scoped(Scope::Rooms, rooms::routes()))
        .merge(scoped(Scope::Sockets, sockets::routes()))
        .merge(scoped(Scope::Users, users::routes()))
        .merge(scoped(Scope::Methods, methods::routes()))
        .merge(scoped(Scope::Cluster, cluster::routes()))
        .merge(scoped(Scope::Message, message::routes()))
        .route("/api/v1/openapi.yaml", get(openapi))
        .method_not_allowed_fallback(error::method_not_allowed)
        .route("/api/v1", any(error::no_path))
        .route("/api/v1/", any(error::no_path))
        .route("/api/v1/{*path}", any(error::no_path))
        .with_state(Api {
            manager,
            max_body: config.manager.max_message,
            broker: config.manager.url.masked().into(),
            wire: PythonWire::new(&config.manager.channel),
        })
}

impl Api {
    /// The sids of a room's members, on whatever gateway.
    async fn sids(&self, namespace: &Namespace, room: &str) -> Result<Vec<String>, ApiError> {
        let sockets = self.manager.sockets(&namespace.0, &Target::room(room)).await?;
        Ok(sockets.into_iter().map(|socket| socket.sid).collect())
    }
}

/// The description of all this, for whoever asks: it is the same for every gateway.
async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/yaml")], include_str!("openapi.yaml"))
}
