//! Requests the engine does not serve, and how it says so (the codes of the Engine.IO reference server).

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use metrics::counter;
use serde_json::json;

use crate::metric;

/// Why a request is refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum RequestError {
    /// The query names no transport, or one that is not offered.
    #[error("Transport unknown")]
    TransportUnknown,
    /// There is no such session.
    #[error("Session ID unknown")]
    SessionUnknown,
    /// Another gateway holds the session: sessions have to be sticky.
    #[error("Session ID unknown: the session is on the gateway {0}")]
    SessionElsewhere(String),
    /// A session is opened by a GET request.
    #[error("Bad handshake method")]
    HandshakeMethod,
    /// The request fits neither the protocol nor its session.
    #[error("Bad request")]
    BadRequest,
    /// The query names no version of the protocol that is spoken here.
    #[error("Unsupported protocol version")]
    ProtocolVersion,
    /// The body is larger than `engine.max_payload`.
    #[error("Payload too large")]
    TooLarge,
    /// More sessions than `limits.connecting` have not connected to a namespace yet.
    #[error("Too many clients are connecting")]
    TooManyConnecting,
    /// The gateway takes no sessions any more.
    #[error("The gateway is shutting down")]
    ShuttingDown,
    /// The HTTP server of the user's own serves something else than TCP, such as TLS.
    #[error(
        "WebSocket is not possible here, polling is: the gateway is behind an HTTP server whose connections are not plain TCP"
    )]
    NotTcp,
}

impl RequestError {
    const fn code(&self) -> u8 {
        match self {
            Self::TransportUnknown | Self::NotTcp => 0,
            Self::SessionUnknown | Self::SessionElsewhere(_) => 1,
            Self::HandshakeMethod => 2,
            Self::BadRequest | Self::TooLarge => 3,
            Self::TooManyConnecting | Self::ShuttingDown => 4,
            Self::ProtocolVersion => 5,
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyConnecting | Self::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotTcp => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    const fn label(&self) -> &'static str {
        match self {
            Self::TransportUnknown => "transport",
            Self::SessionUnknown => "session_unknown",
            Self::SessionElsewhere(_) => "session_elsewhere",
            Self::HandshakeMethod => "handshake_method",
            Self::BadRequest => "bad_request",
            Self::ProtocolVersion => "protocol_version",
            Self::TooLarge => "too_large",
            Self::TooManyConnecting => "too_many_connecting",
            Self::ShuttingDown => "shutting_down",
            Self::NotTcp => "not_tcp",
        }
    }
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        counter!(metric::HTTP_REFUSED, "reason" => self.label()).increment(1);
        let body = json!({"code": self.code(), "message": self.to_string()});
        (self.status(), Json(body)).into_response()
    }
}
