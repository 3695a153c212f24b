//! Calling methods of the servers of the cluster.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::future::join_all;
use hallporter_adapters::envelope::{Reply, ReplyError, decode_given, encode_args};
use hallporter_adapters::{Args, AskError, Instance};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::Api;
use super::emit::unreadable;
use super::error::ApiError;
use super::input::{Json, Name, Path, Timeout};

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/api/v1/methods/{name}", post(call))
}

/// A call: of one instance, of all instances of a type, or of this gateway.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallBody {
    #[serde(default)]
    args: Option<Box<RawValue>>,
    #[serde(default)]
    attachments: Vec<String>,
    #[serde(default)]
    instance: Option<Name>,
    #[serde(default, rename = "type")]
    kind: Option<Name>,
    #[serde(default)]
    timeout: Option<Timeout>,
    /// Nobody waits for replies.
    #[serde(default)]
    notify: bool,
}

/// How long to wait unless the caller says.
const TIMEOUT: Duration = Duration::from_secs(5);

async fn call(State(api): State<Api>, Path(method): Path, Json(body): Json<CallBody>) -> Result<Response, ApiError> {
    let args = decode_given(body.args.as_deref(), &body.attachments);
    let args = args.map_err(|error| ApiError::invalid(format!("args: {error}")).of("args"))?;
    let timeout = body.timeout.map_or(TIMEOUT, |Timeout(timeout)| timeout);
    let instances = match (&body.instance, &body.kind) {
        (Some(Name(instance)), None) => vec![instance.clone()],
        (None, Some(Name(kind))) => api.of_type(kind)?,
        (None, None) => vec![api.own_instance()],
        (Some(_), Some(_)) => return Err(ApiError::invalid("must have only one of instance and type").of("type")),
    };
    if body.notify {
        for instance in &instances {
            api.manager.notify(instance, &method, &args).await?;
        }
        return Ok((StatusCode::ACCEPTED, axum::Json(json!({}))).into_response());
    }
    match (body.kind, instances.as_slice()) {
        (None, [instance]) => {
            let reply = api.manager.call(instance, &method, &args, timeout).await?;
            let result = Answer::try_from(reply)?;
            result.error.map_or_else(
                || Ok(axum::Json(result.values).into_response()),
                |error| Err(ApiError::method_failed(error)),
            )
        }
        _ => api.call_all(&instances, &method, &args, timeout).await,
    }
}

impl Api {
    /// The ids of all instances of a type.
    fn of_type(&self, kind: &str) -> Result<Vec<String>, ApiError> {
        let instances = self.manager.instances().into_iter();
        let ids: Vec<String> = instances
            .filter(|instance| instance.kind == kind)
            .map(|Instance { id, .. }| id)
            .collect();
        match ids.is_empty() {
            true => Err(ApiError::missing(
                "no_instance",
                format!("no instance of the type {kind:?} is alive"),
            )),
            false => Ok(ids),
        }
    }

    /// What this gateway is called.
    fn own_instance(&self) -> String {
        let host_id = self.manager.host_id();
        let own = self
            .manager
            .instances()
            .into_iter()
            .find(|instance| instance.host_id == host_id);
        own.map_or_else(|| host_id.to_owned(), |instance| instance.id)
    }

    /// Calls them all at once, and says what came in time and who is missing.
    async fn call_all(
        &self,
        instances: &[String],
        method: &str,
        args: &Args,
        timeout: Duration,
    ) -> Result<Response, ApiError> {
        let calls = instances
            .iter()
            .map(|instance| self.manager.call(instance, method, args, timeout));
        let (mut replies, mut missing) = (Vec::new(), Vec::new());
        for (instance, answered) in instances.iter().zip(join_all(calls).await) {
            match answered {
                Ok(reply) => replies.push(ReplyOf {
                    instance,
                    answer: reply.try_into()?,
                }),
                Err(AskError::TimedOut(_) | AskError::NoInstance(_)) => missing.push(instance),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(axum::Json(json!({"replies": replies, "missing": missing})).into_response())
    }
}

/// What one instance answered.
#[derive(Debug, Serialize)]
struct ReplyOf<'a> {
    instance: &'a str,
    #[serde(flatten)]
    answer: Answer,
}

/// Values, or an error.
#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    values: Values,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ReplyError>,
}

/// What a method answers: as the arguments of an ack, an array.
#[derive(Debug, Serialize)]
struct Values {
    args: Box<RawValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<String>,
}

impl TryFrom<Reply> for Answer {
    type Error = ApiError;

    fn try_from(reply: Reply) -> Result<Self, ApiError> {
        let args = reply
            .args()
            .map_err(|error| ApiError::refused(format!("the method's answer: {error}")))?;
        let (args, attachments) = encode_args(&args).map_err(unreadable)?;
        Ok(Self {
            values: Values { args, attachments },
            error: reply.error,
        })
    }
}
