//! A gateway in place of a broker: what a worker publishes goes to its HTTP API.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::{Broker, BrokerError, Delivery};
use crate::url::BrokerUrl;

/// How long to connect, and how long for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The longest explanation of a gateway that is passed on, in bytes.
const MAX_REASON: usize = 1024;

/// The publishing half of a [`Broker`], over `POST /api/v1/message` of a gateway.
#[derive(Debug)]
pub struct HttpBroker {
    url: BrokerUrl,
    endpoint: reqwest::Url,
    health: reqwest::Url,
    client: reqwest::Client,
}

impl HttpBroker {
    /// Names the gateway. Its API key is the password of the URL: `http://:KEY@gateway:3000`.
    ///
    /// # Errors
    /// When the URL has no host, or the key cannot be a header.
    pub fn new(url: BrokerUrl) -> Result<Self, BrokerError> {
        let refused = |problem: &dyn std::fmt::Display| BrokerError::Refused(problem.to_string());
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        if let Some(key) = url.password() {
            let mut value = HeaderValue::try_from(format!("Bearer {key}")).map_err(|error| refused(&error))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build();
        Ok(Self {
            endpoint: url.endpoint("api/v1/message").map_err(|error| refused(&error))?,
            health: url.endpoint("healthz").map_err(|error| refused(&error))?,
            client: client.map_err(|error| refused(&error))?,
            url,
        })
    }
}

impl Broker for HttpBroker {
    fn url(&self) -> &str {
        self.url.masked()
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        self.send(self.client.get(self.health.clone())).await
    }

    async fn publish(&self, _topic: &str, body: Bytes) -> Result<(), BrokerError> {
        self.send(self.client.post(self.endpoint.clone()).body(body)).await
    }

    async fn listeners(&self, _topics: [&str; 2]) -> Option<[usize; 2]> {
        None
    }

    async fn listen(
        &self,
        _topics: &[String],
    ) -> Result<impl Stream<Item = Delivery> + Send + Unpin + 'static, BrokerError> {
        let nothing: Result<stream::Empty<Delivery>, _> = Err(BrokerError::Refused(
            "a gateway's HTTP API cannot be listened to; name its broker instead".into(),
        ));
        nothing
    }
}

impl HttpBroker {
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(), BrokerError> {
        let answer = request.send().await.map_err(|error| {
            if error.is_timeout() {
                return BrokerError::TimedOut(TIMEOUT);
            }
            // reqwest says where; the innermost source says why.
            let mut cause: &dyn std::error::Error = &error;
            while let Some(source) = cause.source() {
                cause = source;
            }
            BrokerError::Unavailable(cause.to_string())
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let reason = answer.bytes().await.unwrap_or_default();
        let reason = String::from_utf8_lossy(&reason[..reason.len().min(MAX_REASON)]).into_owned();
        Err(match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => BrokerError::Unavailable(reason),
            _ => BrokerError::Refused(format!("{status}: {reason}")),
        })
    }
}
