//! Which web pages may come as far as the Socket.IO path.
//!
//! A browser names the page's origin; other clients name none and are let in. CORS alone would not do: it does not
//! keep a page from opening a WebSocket.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics::counter;
use serde_json::json;

use crate::config::Config;
use crate::metric;

#[derive(Debug)]
pub(super) struct Guard {
    /// Whether every page may.
    all: bool,
    /// The origins besides the gateway's own.
    listed: Vec<String>,
}

impl Guard {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            all: config.allowed_origins.iter().any(|origin| origin == "*"),
            listed: config.allowed_origins.clone(),
        }
    }

    /// Whether the configuration names this origin.
    pub(super) fn lists(&self, origin: &HeaderValue) -> bool {
        self.all || self.listed.iter().any(|listed| listed.as_bytes() == origin.as_bytes())
    }

    fn allows(&self, headers: &HeaderMap) -> bool {
        headers
            .get(ORIGIN)
            .is_none_or(|origin| self.lists(origin) || is_own(origin, headers.get(HOST)))
    }
}

/// Whether a page came from the address the request went to.
fn is_own(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let host_of = |origin: &str| origin.split_once("://").map(|(_, host)| host.to_owned());
    match (
        origin.to_str().ok().and_then(host_of),
        host.and_then(|host| host.to_str().ok()),
    ) {
        (Some(origin), Some(host)) => origin.eq_ignore_ascii_case(host),
        _ => false,
    }
}

/// Refuses requests in the protocol's own way.
pub(super) async fn guard(State(this): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    if !this.allows(request.headers()) {
        counter!(metric::HTTP_REFUSED, "reason" => "origin").increment(1);
        return (
            StatusCode::FORBIDDEN,
            axum::Json(json!({"code": 4, "message": "Forbidden"})),
        )
            .into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(listed: &[&str], origin: Option<&str>, host: &str) -> bool {
        let config = Config {
            allowed_origins: listed.iter().map(|&origin| origin.to_owned()).collect(),
            ..Config::default()
        };
        let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_str(host).unwrap())]);
        headers.extend(origin.map(|origin| (ORIGIN, HeaderValue::from_str(origin).unwrap())));
        Guard::new(&config).allows(&headers)
    }

    #[test]
    fn own_and_listed_origins_are_allowed() {
        assert!(allows(&[], None, "h:1"));
        assert!(allows(&[], Some("http://h:1"), "h:1"));
        assert!(!allows(&[], Some("http://h:2"), "h:1"));
        assert!(!allows(&[], Some("null"), "h:1"));
        assert!(allows(&["https://a.org"], Some("https://a.org"), "h:1"));
        assert!(!allows(&["https://a.org"], Some("http://a.org"), "h:1"));
        assert!(allows(&["*"], Some("null"), "h:1"));
    }
}
