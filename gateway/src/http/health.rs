//! For load balancers and Prometheus.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use hallporter_adapters::Status;
use tokio::sync::watch;

use crate::metric;

/// The process is alive.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The gateway may take traffic: messages of the broker come in.
pub(super) async fn readyz(State(status): State<watch::Receiver<Status>>) -> (StatusCode, String) {
    match &*status.borrow() {
        Status::Listening => (StatusCode::OK, "ready\n".into()),
        Status::Away(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: the broker is away: {reason}\n"),
        ),
        Status::Idle => (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: not listening to the broker yet\n".into(),
        ),
    }
}

/// All metrics in Prometheus' text format.
pub(super) async fn metrics() -> impl IntoResponse {
    match metric::recorder() {
        Some(recorder) => {
            let text = recorder.render();
            (
                StatusCode::OK,
                [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
                text,
            )
        }
        None => (
            StatusCode::NOT_FOUND,
            [(CONTENT_TYPE, "text/plain; charset=utf-8")],
            "this process records its metrics elsewhere\n".into(),
        ),
    }
}
