//! The HTTP API: what a worker would publish on the broker, posted to a gateway.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use hallporter_adapters::url::Scheme;
use hallporter_adapters::wire::{Message, PythonWire, Wire};
use hallporter_adapters::{ClientManager, ManagerError};
use metrics::counter;
use serde_json::json;
use subtle::ConstantTimeEq;

use crate::config::{Config, Secret};
use crate::metric;

/// Who may use the API, and what it is done with.
#[derive(Clone, Debug)]
pub(super) struct Api {
    access: Access,
    max_message: usize,
    wire: PythonWire,
    manager: Arc<dyn ClientManager>,
}

#[derive(Clone, Debug)]
enum Access {
    /// Nobody.
    Off,
    /// Whoever shows the key.
    Key(Secret),
    /// Whoever is on this machine; for a gateway that has neither a broker nor a key.
    Loopback,
}

impl Api {
    /// `listen` is the gateway's own address; whom another server lets in is not known.
    pub(super) fn new(config: &Config, listen: Option<SocketAddr>, manager: Arc<dyn ClientManager>) -> Self {
        let is_on_loopback = listen.is_some_and(|address| address.ip().is_loopback());
        let access = match &config.api.key {
            Some(key) => Access::Key(key.clone()),
            None if is_on_loopback && config.manager.url.scheme() == Scheme::Memory => Access::Loopback,
            None => Access::Off,
        };
        Self {
            access,
            max_message: config.manager.max_message,
            wire: PythonWire::new(&config.manager.channel),
            manager,
        }
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let header = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        // A page of another origin cannot send this type without asking first, which is not answered.
        if header(CONTENT_TYPE).split(';').next() != Some("application/json") {
            return Err(Refused(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the content-type must be application/json".into(),
            ));
        }
        match &self.access {
            Access::Off => Err(Refused(
                StatusCode::FORBIDDEN,
                "the HTTP API is off; set api.key (HALLPORTER_API__KEY) to turn it on".into(),
            )),
            Access::Key(key) => {
                let shown = header(AUTHORIZATION).strip_prefix("Bearer ").unwrap_or_default();
                match bool::from(shown.as_bytes().ct_eq(key.reveal().as_bytes())) {
                    true => Ok(()),
                    false => Err(Refused(
                        StatusCode::UNAUTHORIZED,
                        "wrong or missing key; send the header \"authorization: Bearer KEY\"".into(),
                    )),
                }
            }
            // A page that made its own name point here would still say its own name.
            Access::Loopback if is_loopback(header(HOST)) => Ok(()),
            Access::Loopback => Err(Refused(
                StatusCode::FORBIDDEN,
                "without api.key the HTTP API answers to localhost only".into(),
            )),
        }
    }
}

/// `POST /api/v1/message`: does what one message in python-socketio's format says.
pub(super) async fn message(
    State(api): State<Api>,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Result<StatusCode, Refused> {
    api.check(&headers)?;
    let body = axum::body::to_bytes(body, api.max_message).await;
    let body: Bytes = body.map_err(|_| {
        Refused(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "the message is larger than manager.max_message, {} bytes",
                api.max_message
            ),
        )
    })?;
    let command = match api.wire.decode(body) {
        Ok(Message::Command {
            command,
            callback: None,
            ..
        }) => command,
        Ok(_) => {
            return Err(Refused(
                StatusCode::BAD_REQUEST,
                "acks cannot be passed on over HTTP".into(),
            ));
        }
        Err(error) => return Err(Refused(StatusCode::BAD_REQUEST, error.to_string())),
    };
    match api.manager.send(command).await {
        Ok(()) => Ok(StatusCode::ACCEPTED),
        Err(error) => Err(Refused(status(&error), error.to_string())),
    }
}

const fn status(error: &ManagerError) -> StatusCode {
    match error {
        ManagerError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        ManagerError::RoomIsSid(_) => StatusCode::CONFLICT,
        ManagerError::Unavailable { .. } | ManagerError::TimedOut { .. } => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    }
}

fn is_loopback(host: &str) -> bool {
    let name = host
        .rsplit_once(':')
        .map_or(host, |(name, port)| match port.parse::<u16>() {
            Ok(_) => name,
            Err(_) => host,
        });
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// A request that was not carried out, and why.
#[derive(Debug)]
pub(super) struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        counter!(metric::HTTP_REFUSED, "reason" => "api").increment(1);
        (self.0, axum::Json(json!({"error": {"message": self.1}}))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_many_names() {
        for host in [
            "localhost",
            "LOCALHOST:3000",
            "127.0.0.1:80",
            "127.8.9.1",
            "[::1]:3000",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "localhost.example.org:3000",
            "10.0.0.1",
            "127.0.0.1.nip.io",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
