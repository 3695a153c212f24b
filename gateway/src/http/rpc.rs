//! Methods over HTTP: `POST /rpc/NAME` calls one, `GET /rpc` lists them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hallporter_adapters::Args;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::guard::{Guard, guard};
use crate::app::{App, Caller, Error, Reply, Session};
use crate::config::Config;
use crate::token;

/// The methods by name, each with the code of its namespace.
#[derive(Clone, Debug)]
struct Methods {
    by_name: Arc<BTreeMap<String, Arc<App>>>,
    /// What a call may bring, in bytes.
    max_body: usize,
}

/// The routes, for the pages that may connect too. None where there are no methods.
pub(super) fn router(apps: &[Arc<App>], config: &Config) -> Router {
    let names = |app: &Arc<App>| {
        let names = app.methods().iter().cloned();
        names.map(|name| (name, app.clone())).collect::<Vec<_>>()
    };
    let by_name = Arc::new(apps.iter().flat_map(names).collect::<BTreeMap<_, _>>());
    if by_name.is_empty() {
        return Router::new();
    }
    Router::new()
        .route("/rpc", get(list))
        .route("/rpc/{name}", post(call))
        .layer(from_fn_with_state(Arc::new(Guard::new(config)), guard))
        .with_state(Methods {
            by_name,
            max_body: config.engine.max_payload,
        })
}

async fn list(State(methods): State<Methods>) -> Json<Value> {
    let methods = methods.by_name.iter();
    let methods = methods.map(|(name, app)| json!({"name": name, "namespace": app.name()}));
    Json(methods.collect())
}

/// The body is the arguments: a JSON array holds each of them, anything else is the only one, and nothing is none. The answer is the ack's
/// arguments: one as it is, none as null, several as an array.
async fn call(
    State(methods): State<Methods>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failed> {
    let unknown = || format!("there is no method {name:?}; GET /rpc lists them");
    let app = methods.by_name.get(&name);
    let app = app.ok_or_else(|| Error::new("not_found", unknown()))?;
    let args = arguments(body, methods.max_body).await?;
    let identity = app.identify(token::of_call(&headers), false)?;
    let caller = Caller::Call {
        namespace: app.name().into(),
        session: Session::identity(identity.unwrap_or_default()),
    };
    let answer = app.handle(caller, name, args).await;
    let Reply { ack: answer, .. } = answer.map_err(|error| Failed(status(&error), error.to_json()))?;
    let answer = answer.unwrap_or_default();
    if !answer.attachments().is_empty() {
        return Err(Error::internal("a method answered with binary data, which JSON cannot hold").into());
    }
    let values = answer.values();
    let answer = match values.as_slice() {
        [] => "null".to_owned(),
        [one] => one.get().to_owned(),
        _ => answer.to_json_array(),
    };
    Ok(([("content-type", "application/json")], answer).into_response())
}

async fn arguments(body: Body, limit: usize) -> Result<Args, Error> {
    let too_large = |_| {
        Error::new(
            "too_large",
            format!("a call may bring {limit} bytes (engine.max_payload)"),
        )
    };
    let body = to_bytes(body, limit).await.map_err(too_large)?;
    let text = std::str::from_utf8(&body).map_err(|error| Error::bad_request(error.to_string()))?;
    let text = text.trim();
    let args = match text {
        "" => return Ok(Args::none()),
        array if array.starts_with('[') => Args::from_json_array(array, Vec::new()),
        value => {
            let one: &RawValue = serde_json::from_str(value).map_err(|error| Error::bad_request(error.to_string()))?;
            Args::from_json_array(&format!("[{one}]"), Vec::new())
        }
    };
    args.map_err(|error| Error::bad_request(error.to_string()))
}

/// A call that failed, and what the caller is told.
#[derive(Debug)]
struct Failed(StatusCode, Value);

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(status(&error), error.to_json())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

/// The status that goes with a code; one of the user's own is the caller's fault.
fn status(error: &Error) -> StatusCode {
    match error.code() {
        "bad_request" => StatusCode::BAD_REQUEST,
        "unauthenticated" => StatusCode::UNAUTHORIZED,
        "forbidden" => StatusCode::FORBIDDEN,
        "not_found" => StatusCode::NOT_FOUND,
        "no_connection" => StatusCode::CONFLICT,
        "too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        "internal" => StatusCode::INTERNAL_SERVER_ERROR,
        "unavailable" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}
