//! What the API answers when it did not do what was asked: always the same body.

use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use hallporter_adapters::envelope::ReplyError;
use hallporter_adapters::{AskError, ManagerError};
use metrics::counter;
use serde::Serialize;

use crate::metric;

/// Why a request was not carried out: `{"error": {"code": …, "message": …}}`.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    body: Box<ErrorBody>,
}

/// What the caller reads.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ErrorBody {
    /// What programs go by.
    code: &'static str,
    /// What people read.
    message: String,
    /// Which field of the body, or parameter, is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// What a method answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<ReplyError>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let body = ErrorBody {
            code,
            message: message.into(),
            field: None,
            cause: None,
        };
        Self {
            status,
            body: Box::new(body),
        }
    }

    pub(super) fn unauthenticated() -> Self {
        let message = "wrong or missing key; send the header \"authorization: Bearer KEY\"";
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// There is no such thing.
    pub(super) fn missing(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// The body is not JSON.
    pub(super) fn not_json(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "not_json", message)
    }

    /// A value is not what it has to be.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message)
    }

    /// Who was asked said no, or what nobody can use.
    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "refused", message)
    }

    /// A method answered with an error.
    pub(super) fn method_failed(cause: ReplyError) -> Self {
        let (status, code) = match cause.code.as_str() {
            "unhandled" => (StatusCode::NOT_FOUND, "no_method"),
            "busy" => (StatusCode::TOO_MANY_REQUESTS, "busy"),
            _ => (StatusCode::UNPROCESSABLE_ENTITY, "method_failed"),
        };
        let message = format!("the method answered with an error: {}", cause.message);
        let mut error = Self::new(status, code, message);
        error.body.cause = Some(cause);
        error
    }

    /// It is this field's fault.
    pub(super) fn of(mut self, field: impl Into<String>) -> Self {
        self.body.field = Some(field.into());
        self
    }

    #[cfg(test)]
    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// What the caller reads.
    pub(super) fn into_body(self) -> ErrorBody {
        *self.body
    }

    /// Whether the broker is away.
    pub(super) fn is_unavailable(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }
}

impl From<ManagerError> for ApiError {
    fn from(error: ManagerError) -> Self {
        let (status, code) = match &error {
            ManagerError::Encode(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            ManagerError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            ManagerError::RoomIsSid(_) => (StatusCode::CONFLICT, "room_is_sid"),
            ManagerError::QueueFull { .. } | ManagerError::TooManyPending { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "busy")
            }
            ManagerError::Unavailable { .. } | ManagerError::TimedOut { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
            ManagerError::Unanswered { .. } => (StatusCode::GATEWAY_TIMEOUT, "timed_out"),
            ManagerError::Refused { .. } | ManagerError::WriteOnly | ManagerError::Parser => {
                (StatusCode::BAD_GATEWAY, "refused")
            }
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<AskError> for ApiError {
    fn from(error: AskError) -> Self {
        let (status, code) = match error {
            AskError::Manager(error) => return error.into(),
            AskError::NoInstance(_) => (StatusCode::NOT_FOUND, "no_instance"),
            AskError::TimedOut(_) => (StatusCode::GATEWAY_TIMEOUT, "timed_out"),
            AskError::QueueFull(_) => (StatusCode::TOO_MANY_REQUESTS, "busy"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: ErrorBody,
        }
        counter!(metric::HTTP_REFUSED, "reason" => "api").increment(1);
        let challenge = (self.status == StatusCode::UNAUTHORIZED).then_some([(WWW_AUTHENTICATE, "Bearer")]);
        (self.status, challenge, axum::Json(Body { error: *self.body })).into_response()
    }
}

/// There is nothing at this path.
pub(super) async fn no_path(uri: Uri) -> ApiError {
    let message = format!(
        "there is no {}; GET /api/v1/openapi.yaml says what there is",
        uri.path()
    );
    ApiError::missing("not_found", message)
}

/// There is something at this path, for other methods; the header `Allow` names them.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} does not take {method}", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}
