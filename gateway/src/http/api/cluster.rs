//! The servers of the cluster, and the broker between them.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use hallporter_adapters::{Instance, Status};
use serde::Serialize;

use super::Api;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/api/v1/cluster", get(cluster))
}

#[derive(Debug, Serialize)]
struct Cluster {
    /// The host id of the gateway that answers.
    this: String,
    instances: Vec<Instance>,
    broker: Broker,
}

#[derive(Debug, Serialize)]
struct Broker {
    /// Its password masked.
    url: String,
    /// `listening`, `away` or `idle`, as `/readyz` sees it.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Answered from memory, so it works when the broker is away.
async fn cluster(State(api): State<Api>) -> Json<Cluster> {
    let (status, reason) = match api.manager.status().borrow().clone() {
        Status::Listening => ("listening", None),
        Status::Away(reason) => ("away", Some(reason)),
        Status::Idle => ("idle", None),
    };
    Json(Cluster {
        this: api.manager.host_id().to_owned(),
        instances: api.manager.instances(),
        broker: Broker {
            url: api.broker.to_string(),
            status,
            reason,
        },
    })
}
