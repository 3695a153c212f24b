//! What a worker would publish on the broker, posted to a gateway: the emitter's way over `http://`.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use hallporter_adapters::wire::{Message, Wire, WireError};

use super::Api;
use super::error::ApiError;
use super::input::Body;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/api/v1/message", post(message))
}

/// Does what one message in python-socketio's format says.
async fn message(State(api): State<Api>, Body(body): Body) -> Result<StatusCode, ApiError> {
    let command = match api.wire.decode(body) {
        Ok(Message::Command {
            command,
            callback: None,
            ..
        }) => command,
        Ok(_) => return Err(ApiError::invalid("acks cannot be passed on over HTTP").of("callback")),
        Err(error) => return Err(unreadable(&error)),
    };
    api.manager.send(command).await?;
    Ok(StatusCode::ACCEPTED)
}

fn unreadable(error: &WireError) -> ApiError {
    match error {
        WireError::Pickle | WireError::NotText | WireError::NotJson(_) => ApiError::not_json(error.to_string()),
        WireError::Field { field, .. } => ApiError::invalid(error.to_string()).of(*field),
        WireError::UnknownMethod(_) => ApiError::invalid(error.to_string()).of("method"),
        WireError::Args(_) => ApiError::invalid(error.to_string()).of("data"),
    }
}
