//! Reading what comes, and saying what is wrong with it.

use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use hallporter_adapters::is_reserved;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};

use super::Api;
use super::error::ApiError;

/// A body of JSON.
pub(super) struct Json<T>(pub(super) T);

/// The parameters behind the question mark.
pub(super) struct Query<T>(pub(super) T);

/// The last part of the path.
pub(super) struct Path(pub(super) String);

/// A body that is said to be JSON.
pub(super) struct Body(pub(super) Bytes);

impl FromRequest<Api> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let content_type = request.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        // A page of another origin cannot send this type without asking first, which is not answered.
        if !media_type.eq_ignore_ascii_case("application/json") {
            let message = "the content-type must be application/json";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", message));
        }
        let limit = api.max_body;
        let body = to_bytes(request.into_body(), limit).await;
        body.map(Self).map_err(|_| {
            let message = format!("the body is larger than manager.max_message, {limit} bytes");
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
        })
    }
}

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let Body(body) = Body::from_request(request, api).await?;
        let mut json = serde_json::Deserializer::from_slice(&body);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            match error.into_inner() {
                inner if inner.is_data() => wrong(&path, without_place(&inner.to_string())),
                inner => not_json(&inner),
            }
        })?;
        json.end().map_err(|error| not_json(&error))?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned> FromRequestParts<Api> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let query = serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(query.as_bytes()));
        let value = serde_path_to_error::deserialize(query);
        let value = value.map_err(|error| wrong(&error.path().to_string(), &error.inner().to_string()))?;
        Ok(Self(value))
    }
}

impl FromRequestParts<Api> for Path {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let path = axum::extract::Path::from_request_parts(parts, api).await;
        let path =
            path.map_err(|error: PathRejection| ApiError::new(StatusCode::BAD_REQUEST, "bad_path", error.body_text()))?;
        Ok(Self(path.0))
    }
}

fn not_json(error: &serde_json::Error) -> ApiError {
    ApiError::not_json(format!("the body is not JSON: {error}"))
}

/// What serde_json says, without line and column: the field is named.
fn without_place(problem: &str) -> &str {
    problem.rsplit_once(" at line ").map_or(problem, |(problem, _)| problem)
}

/// A value that is not what it has to be. `path` is where serde stood, a dot for the whole.
fn wrong(path: &str, problem: &str) -> ApiError {
    match path {
        "." => ApiError::invalid(problem),
        field => ApiError::invalid(format!("{field}: {problem}")).of(field),
    }
}

/// Names in one list.
const MAX_NAMES: usize = 1000;

/// The longest that an answer may be waited for.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// A room, a sid, a user or the like: a text that is not empty.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Name(pub(super) String);

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        // python-socketio takes an empty room for everybody.
        match name.is_empty() {
            true => Err("must not be empty"),
            false => Ok(Self(name)),
        }
    }
}

/// The name of a room or socket that may be changed: not a user's room.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Name")]
pub(super) struct FreeName(pub(super) String);

impl TryFrom<Name> for FreeName {
    type Error = &'static str;

    fn try_from(Name(name): Name) -> Result<Self, Self::Error> {
        match is_reserved(&name) {
            true => Err("is reserved: rooms that begin with hallporter: belong to users"),
            false => Ok(Self(name)),
        }
    }
}

/// A value that may be left out, but is none when it is null.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A list of names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "Vec<Name>")]
pub(super) struct Names(pub(super) Vec<String>);

impl TryFrom<Vec<Name>> for Names {
    type Error = String;

    fn try_from(names: Vec<Name>) -> Result<Self, Self::Error> {
        match names.len() > MAX_NAMES {
            true => Err(format!("must have {MAX_NAMES} entries at most")),
            false => Ok(Self(names.into_iter().map(|Name(name)| name).collect())),
        }
    }
}

/// The name of a namespace; `/` unless it is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Namespace(pub(super) String);

impl Default for Namespace {
    fn default() -> Self {
        Self("/".into())
    }
}

impl TryFrom<String> for Namespace {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.starts_with('/') && !name.contains([',', '?']) {
            true => Ok(Self(name)),
            false => Err("must begin with a slash, and contain neither a comma nor a question mark"),
        }
    }
}

/// How long to wait for an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeout(pub(super) Duration);

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match humantime::parse_duration(&text) {
            Ok(Duration::ZERO) => Err(D::Error::custom("must be longer than nothing")),
            Ok(timeout) if timeout > MAX_TIMEOUT => Err(D::Error::custom("must be 60s at most")),
            Ok(timeout) => Ok(Self(timeout)),
            Err(_) => Err(D::Error::custom("is no duration; write it like \"2s\" or \"300ms\"")),
        }
    }
}

/// The query of what needs no more than a namespace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Where {
    #[serde(default)]
    pub(super) namespace: Namespace,
}
