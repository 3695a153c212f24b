//! Emitting: one event or many, with receipts and acks for who asks.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hallporter_adapters::envelope::{EmitRequest, encode_args};
use hallporter_adapters::{Ack, Emit, EncodeError, Receipt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::Api;
use super::error::{ApiError, ErrorBody};
use super::input::{Json, Names, Namespace, Timeout};
use crate::socketio::RESERVED_EVENTS;

/// Emits of one batch.
const MAX_BATCH: usize = 1000;

/// Bytes of acks that one answer carries; those that come later are only counted.
const MAX_ACKS: usize = 16 << 20;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/emit", post(one))
        .route("/api/v1/emit/batch", post(batch))
}

/// An emit: an [`EmitRequest`] whose names are checked, and what the caller wants to know of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EmitBody {
    event: Event,
    #[serde(default)]
    args: Option<Box<RawValue>>,
    #[serde(default)]
    attachments: Vec<String>,
    #[serde(default)]
    namespace: Namespace,
    #[serde(default)]
    rooms: Option<Names>,
    #[serde(default)]
    users: Option<Names>,
    #[serde(default)]
    except: Names,
    #[serde(default)]
    volatile: bool,
    #[serde(default)]
    receipt: Option<Timeout>,
    #[serde(default)]
    ack: Option<Timeout>,
}

/// The name of an event that clients take for one.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Event(String);

impl TryFrom<String> for Event {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match RESERVED_EVENTS.contains(&name.as_str()) {
            true => Err("is reserved: clients give it a meaning of their own"),
            false => Ok(Self(name)),
        }
    }
}

impl EmitBody {
    fn into_emit(self) -> Result<Emit, ApiError> {
        let request = EmitRequest {
            event: self.event.0,
            args: self.args,
            attachments: self.attachments,
            namespace: Some(self.namespace.0),
            rooms: self.rooms.map(|rooms| rooms.0),
            users: self.users.map(|users| users.0),
            except: self.except.0,
            volatile: self.volatile,
        };
        request
            .into_emit("/")
            .map_err(|error| ApiError::invalid(format!("args: {error}")).of("args"))
    }

    /// The emit at this place of a batch.
    fn of_batch(self, index: usize) -> Result<Emit, ApiError> {
        match self.receipt.is_some() || self.ack.is_some() {
            true => Err(ApiError::invalid("receipt and ack are for single emits")),
            false => self.into_emit(),
        }
        .map_err(|error| error.of(format!("emits[{index}]")))
    }
}

async fn one(State(api): State<Api>, Json(body): Json<EmitBody>) -> Result<Response, ApiError> {
    let (receipt, ack) = (body.receipt, body.ack);
    let emit = body.into_emit()?;
    match (ack, receipt) {
        (Some(timeout), _) => Ok(axum::Json(emit_with_ack(&api, emit, timeout).await?).into_response()),
        (None, Some(Timeout(timeout))) => {
            let receipt = api.manager.emit_with_receipt(emit, timeout).await?;
            Ok(axum::Json(json!({ "receipt": receipt })).into_response())
        }
        (None, None) => {
            api.manager.emit(emit).await?;
            Ok((StatusCode::ACCEPTED, axum::Json(json!({}))).into_response())
        }
    }
}

/// Who answered an emit.
#[derive(Debug, Default, Serialize)]
struct Answers {
    receipt: Receipt,
    acks: Vec<Answer>,
    /// Clients that were asked and did not answer in time.
    missing: usize,
    /// Answers that came and were too many to be passed on.
    #[serde(skip_serializing_if = "is_zero")]
    dropped: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// What one client answered.
#[derive(Debug, Serialize)]
struct Answer {
    /// Unknown where a host of python-socketio passed it on.
    sid: Option<String>,
    args: Box<RawValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<String>,
}

impl TryFrom<Ack> for Answer {
    type Error = ApiError;

    fn try_from(ack: Ack) -> Result<Self, ApiError> {
        let (args, attachments) = encode_args(&ack.args).map_err(unreadable)?;
        Ok(Self {
            sid: ack.sid,
            args,
            attachments,
        })
    }
}

/// Arguments of a client or server that are not JSON after all.
pub(super) fn unreadable(error: serde_json::Error) -> ApiError {
    hallporter_adapters::ManagerError::from(EncodeError::from(error)).into()
}

async fn emit_with_ack(api: &Api, emit: Emit, Timeout(timeout): Timeout) -> Result<Answers, ApiError> {
    let mut stream = api.manager.emit_with_ack(emit, timeout).await?;
    let mut answers = Answers::default();
    let mut size = 0;
    while let Some(ack) = stream.next().await {
        let attachments: usize = ack.args.attachments().iter().map(|bytes| bytes.len()).sum();
        size += ack.args.as_json().len() + attachments;
        if size > MAX_ACKS {
            answers.dropped += 1;
            continue;
        }
        answers.acks.push(ack.try_into()?);
    }
    answers.missing = stream.missing();
    answers.receipt = stream.receipt();
    Ok(answers)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    emits: Vec<EmitBody>,
}

/// How it went with one emit of a batch.
#[derive(Debug, Serialize)]
struct Outcome {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody>,
}

/// One after the other, so that each client hears them in their order. Nothing is emitted where the batch itself is wrong. Once the
/// broker is away, the rest are not tried: each might wait for it.
async fn batch(State(api): State<Api>, Json(Batch { emits }): Json<Batch>) -> Result<Response, ApiError> {
    if emits.len() > MAX_BATCH {
        return Err(ApiError::invalid(format!("emits: must have {MAX_BATCH} entries at most")).of("emits"));
    }
    let emits = emits.into_iter().enumerate();
    let emits = emits.map(|(index, emit)| emit.of_batch(index));
    let emits: Vec<Emit> = emits.collect::<Result<_, _>>()?;
    let mut away: Option<ApiError> = None;
    let mut results = Vec::with_capacity(emits.len());
    for emit in emits {
        let outcome = match &away {
            Some(error) => Err(error.clone()),
            None => api.manager.emit(emit).await.map_err(ApiError::from),
        };
        away = outcome.as_ref().err().filter(|error| error.is_unavailable()).cloned();
        results.push(Outcome {
            error: outcome.err().map(ApiError::into_body),
        });
    }
    Ok(axum::Json(json!({ "results": results })).into_response())
}
