//! A gateway's HTTP API, as those see it who call it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::broker::BrokerError;
use crate::envelope::{EmitRequest, decode_args};
use crate::url::BrokerUrl;
use crate::{Ack, Answers, Emit, EncodeError, ManagerError, Receipt};

/// How long to connect, and how long for an answer beyond what the gateway itself is to wait.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// The longest explanation of a gateway that is passed on, in bytes.
const MAX_REASON: usize = 1024;

/// Calls the HTTP API of a gateway.
#[derive(Debug)]
pub struct GatewayClient {
    url: BrokerUrl,
    base: Url,
    client: Client,
}

impl GatewayClient {
    /// Names the gateway. The key of its API is `key`, or the password of the URL: `http://:KEY@gateway:3000`.
    ///
    /// # Errors
    /// When the URL names no gateway, or the key cannot be a header.
    pub fn new(url: BrokerUrl, key: Option<&str>) -> Result<Self, ManagerError> {
        let refused = |problem: &dyn std::fmt::Display| BrokerError::Refused(problem.to_string()).at(url.masked());
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        if let Some(key) = key.map(str::to_owned).or_else(|| url.password()) {
            let mut value = HeaderValue::try_from(format!("Bearer {key}")).map_err(|error| refused(&error))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = Client::builder()
            .default_headers(headers)
            .connect_timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build();
        Ok(Self {
            client: client.map_err(|error| refused(&error))?,
            base: url.endpoint("").map_err(|error| refused(&error))?,
            url,
        })
    }

    /// The gateway, password masked.
    pub fn url(&self) -> &str {
        self.url.masked()
    }

    /// What a path, such as `api/v1/cluster`, answers.
    ///
    /// # Errors
    /// When the gateway cannot be reached, says no, or answers with something else.
    pub async fn get<R: DeserializeOwned>(&self, path: &str) -> Result<R, ManagerError> {
        let answer = self.send(path, Client::get, None, Duration::ZERO).await;
        self.read(answer)
    }

    /// What a path answers to this body; the gateway itself may wait for as long as `timeout`.
    ///
    /// # Errors
    /// As [`get`](Self::get); and when the body cannot be JSON.
    pub async fn post<R: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<R, ManagerError> {
        let body = serde_json::to_vec(body).map_err(EncodeError::from)?;
        let answer = self.send(path, Client::post, Some(body.into()), timeout).await;
        self.read(answer)
    }

    /// Emits, and says where it was delivered. The gateway waits for 60 s at most.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub async fn emit_with_receipt(&self, emit: &Emit, timeout: Duration) -> Result<Receipt, ManagerError> {
        #[derive(Deserialize)]
        struct Answer {
            receipt: Receipt,
        }
        let body = EmitBody {
            emit: EmitRequest::of(emit)?,
            receipt: Some(milliseconds(timeout)),
            ack: None,
        };
        let answer: Answer = self.post("api/v1/emit", &body, timeout).await?;
        Ok(answer.receipt)
    }

    /// Emits, and collects the acks of the clients. The gateway waits for 60 s at most.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub async fn emit_with_ack(&self, emit: &Emit, timeout: Duration) -> Result<Answers, ManagerError> {
        #[derive(Deserialize)]
        struct Answer {
            acks: Vec<AckBody>,
            missing: usize,
            receipt: Receipt,
        }
        let body = EmitBody {
            emit: EmitRequest::of(emit)?,
            receipt: None,
            ack: Some(milliseconds(timeout)),
        };
        let answer: Answer = self.post("api/v1/emit", &body, timeout).await?;
        let acks = answer.acks.into_iter().map(|ack| {
            let args = decode_args(&ack.args, &ack.attachments);
            let args = args.map_err(|error| BrokerError::Refused(error.to_string()).at(self.url()))?;
            Ok(Ack { sid: ack.sid, args })
        });
        Ok(Answers {
            acks: acks.collect::<Result<_, ManagerError>>()?,
            missing: answer.missing,
            receipt: answer.receipt,
        })
    }

    fn read<R: DeserializeOwned>(&self, answer: Result<Bytes, BrokerError>) -> Result<R, ManagerError> {
        let answer = answer.map_err(|error| error.at(self.url()))?;
        serde_json::from_slice(&answer)
            .map_err(|error| BrokerError::Refused(format!("an answer that is not understood: {error}")).at(self.url()))
    }

    /// Sends a request, and returns the body of an answer that says yes.
    pub(crate) async fn send(
        &self,
        path: &str,
        method: fn(&Client, Url) -> RequestBuilder,
        body: Option<Bytes>,
        timeout: Duration,
    ) -> Result<Bytes, BrokerError> {
        let refused = |problem: &dyn std::fmt::Display| BrokerError::Refused(problem.to_string());
        let path = self.base.join(path).map_err(|error| refused(&error))?;
        let timeout = timeout.saturating_add(TIMEOUT);
        let request = method(&self.client, path).timeout(timeout);
        let request = match body {
            Some(body) => request.body(body),
            None => request,
        };
        let failed = |error: reqwest::Error| match error.is_timeout() {
            true => BrokerError::TimedOut(timeout),
            false => BrokerError::Unavailable(cause(&error)),
        };
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(refused(&"an answer of more than 64 MiB"));
            }
            body.extend_from_slice(&chunk);
        }
        match status {
            status if status.is_success() => Ok(body.freeze()),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => Err(BrokerError::Unavailable(reason(&body))),
            status => Err(refused(&format_args!("{status}: {}", reason(&body)))),
        }
    }
}

/// What `POST /api/v1/emit` takes.
#[derive(Serialize)]
struct EmitBody {
    #[serde(flatten)]
    emit: EmitRequest,
    receipt: Option<String>,
    ack: Option<String>,
}

/// What one client answered.
#[derive(Deserialize)]
struct AckBody {
    sid: Option<String>,
    args: Box<RawValue>,
    #[serde(default)]
    attachments: Vec<String>,
}

/// A duration as the API reads it.
fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis().max(1))
}

/// reqwest says where; the innermost source says why.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What a gateway says about a request that it did not carry out.
fn reason(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Body {
        error: Reason,
    }
    #[derive(Deserialize)]
    struct Reason {
        message: String,
    }
    let shown = match serde_json::from_slice(body) {
        Ok(Body { error }) => error.message.into_bytes(),
        Err(_) => body.to_vec(),
    };
    String::from_utf8_lossy(&shown[..shown.len().min(MAX_REASON)]).into_owned()
}
