//! The user's HTTP endpoint: one POST for each event.

use std::fmt::Display;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use bytes::Bytes;
use hallporter_adapters::envelope::{Event, Reply};
use hmac::{Hmac, Mac};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use metrics::Counter;
use rustls::{ClientConfig, RootCertStore};
use sha2::Sha256;
use tokio::time::Instant;
use url::Url;

use super::error::RouteError;
use crate::config::Secret;

/// The largest reply, in bytes.
const MAX_REPLY: usize = 1 << 20;

/// How long a connection is kept that is not in use. Servers close theirs after 2 s and more (Gunicorn 2 s, Node and Uvicorn 5 s); an
/// event that meets one that is just closing would be lost.
const MAX_IDLE: Duration = Duration::from_secs(1);

/// What is waited before an event is sent again that was not taken, where the endpoint does not say.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// An endpoint, and the connections to it.
#[derive(Debug)]
pub(super) struct Endpoint {
    uri: Uri,
    client: Client<HttpsConnector<HttpConnector>, Body>,
    secret: Option<Secret>,
}

/// What came of a POST, when it is no reply.
enum Failure {
    /// The endpoint has done nothing about it, so it may be sent again.
    NotTaken {
        why: String,
        /// When the endpoint wants it again.
        after: Option<Duration>,
    },
    /// It may have done something.
    Failed(RouteError),
}

impl Endpoint {
    /// # Errors
    /// When it speaks TLS, and the system's certificates cannot be read.
    pub(super) fn new(url: &Url, secret: Option<Secret>) -> io::Result<Self> {
        let provider = rustls::crypto::ring::default_provider();
        let config = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let config = match url.scheme() {
            "https" => config.with_native_roots()?.with_no_client_auth(),
            _ => config
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth(),
        };
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(MAX_IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        let uri = url[..url::Position::AfterQuery].parse().map_err(io::Error::other)?;
        Ok(Self { uri, client, secret })
    }

    /// Sends an event and waits for the reply. It is sent again only when the endpoint has not taken it, and time is left.
    pub(super) async fn ask(&self, event: &Event, deadline: Instant, retries: &Counter) -> Result<Reply, RouteError> {
        let body = body(event)?;
        let mut pauses = PAUSES.into_iter();
        loop {
            let (why, after) = match self.post(&event.id, body.clone()).await {
                Ok(answer) => return reply(&event.id, &answer),
                Err(Failure::Failed(error)) => return Err(error),
                Err(Failure::NotTaken { why, after }) => (why, after),
            };
            let pause = pauses.next().map(|pause| after.unwrap_or(pause));
            match pause.filter(|pause| Instant::now() + *pause < deadline) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(RouteError::Unavailable(why)),
            }
            retries.increment(1);
        }
    }

    /// Sends an event once, whatever the endpoint replies.
    pub(super) async fn tell(&self, event: &Event) -> Result<(), RouteError> {
        match self.post(&event.id, body(event)?).await {
            Ok(_) => Ok(()),
            Err(Failure::Failed(error)) => Err(error),
            Err(Failure::NotTaken { why, .. }) => Err(RouteError::Unavailable(why)),
        }
    }

    async fn post(&self, id: &str, body: Bytes) -> Result<Bytes, Failure> {
        let mut request = Request::new(Body::from(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers(id, &body);
        let answer = self.client.request(request).await.map_err(|error| {
            let why = innermost(&error);
            match error.is_connect() {
                true => Failure::NotTaken { why, after: None },
                false => Failure::Failed(RouteError::Unavailable(why)),
            }
        })?;
        refusal(answer.status(), answer.headers()).map_or(Ok(()), Err)?;
        to_bytes(Body::new(answer.into_body()), MAX_REPLY)
            .await
            .map_err(|error| {
                let why = format!(
                    "the reply of {MAX_REPLY} bytes at most cannot be read: {}",
                    innermost(&error)
                );
                Failure::Failed(RouteError::BadReply(why))
            })
    }

    fn headers(&self, id: &str, body: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("hallporter/", env!("CARGO_PKG_VERSION"))),
        );
        let timestamp = now();
        let signature = self.secret.as_ref().and_then(|secret| sign(secret, timestamp, body));
        let signature = signature.map(|signature| ("hallporter-signature", signature));
        let named = [
            ("hallporter-id", id.to_owned()),
            ("hallporter-timestamp", timestamp.to_string()),
        ];
        for (name, value) in named.into_iter().chain(signature) {
            // Ids, numbers and digits are always fit for a header.
            headers.extend(
                HeaderValue::try_from(value)
                    .ok()
                    .map(|value| (name.parse().ok(), value)),
            );
        }
        headers
    }
}

fn body(event: &Event) -> Result<Bytes, RouteError> {
    let body = serde_json::to_vec(event).map_err(crate::app::Error::from)?;
    Ok(body.into())
}

/// What a status other than success means.
fn refusal(status: StatusCode, headers: &HeaderMap) -> Option<Failure> {
    let header = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let after = header(RETRY_AFTER)
        .and_then(|after| after.parse().ok())
        .map(Duration::from_secs);
    let is_again = status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::SERVICE_UNAVAILABLE && headers.contains_key(RETRY_AFTER);
    let why = match header(LOCATION) {
        Some(location) if status.is_redirection() => {
            format!("it answers {status} to {location:?}; redirects are not followed")
        }
        _ => format!("it answers {status}"),
    };
    if status.is_success() {
        None
    } else if is_again {
        Some(Failure::NotTaken { why, after })
    } else {
        Some(Failure::Failed(RouteError::Unavailable(why)))
    }
}

/// Nothing at all is a reply that asks for nothing.
fn reply(id: &str, answer: &[u8]) -> Result<Reply, RouteError> {
    let mut reply = match answer.trim_ascii() {
        [] => Reply::default(),
        // A list would be read as the fields in their order.
        json if !json.starts_with(b"{") => return Err(unreadable(&"it is no JSON object")),
        json => serde_json::from_slice(json).map_err(|error| unreadable(&error))?,
    };
    reply.id = id.to_owned();
    Ok(reply)
}

fn unreadable(why: &dyn Display) -> RouteError {
    RouteError::BadReply(format!("the reply cannot be read: {why}"))
}

/// The value of the header `hallporter-signature`.
fn sign(secret: &Secret, timestamp: u64, body: &[u8]) -> Option<String> {
    // A key of any length will do.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).ok()?;
    mac.update(format!("{timestamp}.").as_bytes());
    mac.update(body);
    Some(format!("v1={}", hex::encode(mac.finalize().into_bytes())))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the endpoint compares the time of day with its own"
)]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// Libraries say where; the innermost source says why.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As docs/routes.md has them, calculated by Python.
    #[test]
    fn signatures_are_those_of_the_documents() {
        let secret = Secret::new("0123456789abcdef0123456789abcdef");
        for (timestamp, body, signature) in [
            (
                1700000000,
                "{}",
                "v1=417adf36b901772f658597a76d329694e335e65fc0849d7715c3ca33406309b5",
            ),
            (
                1700000000,
                r#"{"event":"é"}"#,
                "v1=d46c03d797b2e763b4ff14bfa659c0999be4a800ac885c0f5b91a1fbf8e50697",
            ),
        ] {
            assert_eq!(sign(&secret, timestamp, body.as_bytes()).as_deref(), Some(signature));
        }
    }

    #[test]
    fn only_what_is_surely_not_taken_is_sent_again() {
        let after = |text: &'static str| HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
        let again = |status: u16, headers: HeaderMap| match refusal(StatusCode::from_u16(status).unwrap(), &headers) {
            None | Some(Failure::Failed(_)) => None,
            Some(Failure::NotTaken { after, .. }) => Some(after),
        };
        for (status, headers, expected) in [
            (200, after("1"), None),
            (302, HeaderMap::new(), None),
            (500, after("1"), None),
            (503, HeaderMap::new(), None),
            (503, after("2"), Some(Some(Duration::from_secs(2)))),
            (503, after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(None)),
            (429, HeaderMap::new(), Some(None)),
        ] {
            assert_eq!(again(status, headers), expected, "{status}");
        }
    }
}
