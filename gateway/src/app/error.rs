//! What goes wrong in handlers, and what the caller is told of it.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use hallporter_adapters::envelope::ReplyError;
use hallporter_adapters::{Args, AskError, ManagerError};
use serde_json::{Value, json};

use super::{CallError, Refusal, SessionError, TalkError};
use crate::routes::RouteFailed;
use crate::token::TokenError;

/// Why a request was not handled.
///
/// The caller reads `{"error": {"code": …, "message": …}}`, with `data` where there is some. Any other error that a handler returns with `?` becomes the
/// code `internal`, of which the caller learns nothing more; `on_error` and the log do.
#[derive(Debug)]
pub struct Error(Box<Inner>);

/// In a box, for a result without an error shall be small.
#[derive(Debug)]
struct Inner {
    code: Cow<'static, str>,
    message: Cow<'static, str>,
    data: Option<Value>,
    source: Option<Source>,
}

type Source = Box<dyn StdError + Send + Sync>;

impl Error {
    /// An error that the caller may know: a code for programs, a message for people.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            code: code.into(),
            message: message.into(),
            data: None,
            source: None,
        }))
    }

    pub(crate) fn caused_by(mut self, source: Source) -> Self {
        self.0.source = Some(source);
        self
    }

    /// An error of which the caller learns nothing: the code `internal`.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new("internal", "internal error").caused_by(source.into())
    }

    /// `bad_request`: the arguments are not what the handler takes.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("bad_request", message)
    }

    /// `unauthenticated`: the caller is no known user.
    pub fn unauthenticated() -> Self {
        Self::new("unauthenticated", "only for users who are known")
    }

    /// `forbidden`: the caller may not do this.
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("forbidden", message)
    }

    /// `unauthenticated`: the token does not let the caller in.
    pub(crate) fn token(error: TokenError) -> Self {
        let Refusal { message, data } = error.into();
        Self::with_data("unauthenticated", message, data)
    }

    /// `no_connection`: this is of a connection, and the request came without one.
    pub(crate) fn no_connection(what: &str) -> Self {
        let message = format!("{what} belongs to a connection, and this call came without one");
        Self::new("no_connection", message)
    }

    /// `unhandled`: nobody handles this event.
    pub(crate) fn unhandled(event: &str) -> Self {
        Self::new("unhandled", format!("nobody handles the event {event:?}"))
    }

    pub(crate) fn panicked() -> Self {
        Self::internal("the handler panicked")
    }

    fn with_data(code: &'static str, message: String, data: Option<Value>) -> Self {
        let mut error = Self::new(code, message);
        error.0.data = data;
        error
    }

    /// With data for the caller.
    #[must_use]
    pub fn data(mut self, data: impl Into<Value>) -> Self {
        self.0.data = Some(data.into());
        self
    }

    /// The code that programs go by.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The message for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What it came from, where it did not begin with the handler.
    pub fn source(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }

    /// What the caller reads.
    pub(crate) fn to_json(&self) -> Value {
        let mut error = json!({"code": self.0.code, "message": self.0.message});
        if let Some(data) = &self.0.data {
            error["data"] = data.clone();
        }
        json!({ "error": error })
    }

    /// What another server reads that has called a method.
    pub(crate) fn to_reply(&self) -> ReplyError {
        ReplyError {
            code: self.0.code.clone().into_owned(),
            message: self.0.message.clone().into_owned(),
            data: self.0.data.clone(),
        }
    }

    /// The ack it is.
    pub(crate) fn to_args(&self) -> Args {
        // Strings and JSON: nothing in it can fail.
        Args::encode(&self.to_json()).unwrap_or_default()
    }

    /// What a client reads that may not connect because of it.
    pub(crate) fn to_refusal(&self) -> Refusal {
        let code = || (!self.is_refusal()).then(|| json!({"code": self.0.code}));
        Refusal {
            data: self.0.data.clone().or_else(code),
            message: self.0.message.clone().into_owned(),
        }
    }

    /// Whether it is nothing but a refusal, as a connect handler may give it.
    pub(crate) fn is_refusal(&self) -> bool {
        self.0.code == REFUSED
    }

    /// What the log counts it as.
    pub(crate) fn cause(&self) -> &'static str {
        let routed = self
            .0
            .source
            .as_ref()
            .and_then(|source| source.downcast_ref::<RouteFailed>());
        routed.map_or("handler", RouteFailed::code)
    }

    /// Whether the caller learns nothing of it.
    pub(crate) fn is_internal(&self) -> bool {
        self.0.source.is_some()
    }
}

/// The code of a refusal, which has none.
const REFUSED: &str = "refused";

impl From<Refusal> for Error {
    fn from(Refusal { message, data }: Refusal) -> Self {
        Self::with_data(REFUSED, message, data)
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let any: &dyn Any = &error;
        match any.downcast_ref() {
            Some(SessionError::TooLarge { .. }) => return Self::new("too_large", error.to_string()),
            Some(SessionError::Changed(_)) => return Self::new("changed", error.to_string()),
            None => {}
        }
        let is_unavailable = any.is::<ManagerError>()
            || matches!(any.downcast_ref(), Some(TalkError::Manager(_)))
            || matches!(any.downcast_ref(), Some(CallError::Ask(AskError::Manager(_))));
        match is_unavailable {
            true => Self::new("unavailable", "the broker cannot be reached").caused_by(Box::new(error)),
            false => Self::internal(error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.source {
            Some(source) => write!(f, "{}: {source}", self.0.code),
            None => write!(f, "{}: {}", self.0.code, self.0.message),
        }
    }
}

/// An error, and the request it came of: what `on_error` is told.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The namespace.
    pub namespace: String,
    /// The socket, where the request came by one.
    pub sid: Option<String>,
    /// The event or method; `connect` and `disconnect` for those handlers, the name of the job for a job.
    pub event: String,
    /// Its arguments.
    pub args: Args,
    /// What went wrong.
    pub error: std::sync::Arc<Error>,
}
