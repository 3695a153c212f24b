//! What goes wrong in handlers, and before anything is handled.

use std::error::Error as StdError;
use std::fmt;

use hallporter_adapters::envelope::{ReplyError, ReplyRefusal};
use hallporter_adapters::url::UrlError;
use serde_json::Value;

use super::Reply;

/// Why a worker does not begin.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The URL names no broker.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// What cannot be the name of a group.
    #[error("{0:?} cannot be a group: take up to 64 of the characters A-Z a-z 0-9 _ -")]
    Group(String),
    /// What cannot be the id or type of an instance.
    #[error("{0:?} cannot be an instance's id or type: take up to 64 of the characters A-Z a-z 0-9 _ . -")]
    Instance(String),
}

/// Why a handler did not do what it was asked.
///
/// The client or caller reads `{"error": {"code": …, "message": …}}`, with `data` where there is some; with the event `connect`, the client
/// is refused. Any other error that a handler returns with `?` becomes the code `internal`, of which only the log learns more.
#[derive(Debug)]
pub struct HandlerError(Box<Inner>);

/// In a box, for a result without an error shall be small.
#[derive(Debug)]
struct Inner {
    answer: Answer,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

#[derive(Debug)]
enum Answer {
    Error(ReplyError),
    Refusal(ReplyRefusal),
}

impl HandlerError {
    /// An error that the client may know: a code for programs, a message for people.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::answering(Answer::Error(ReplyError {
            code: code.into(),
            message: message.into(),
            data: None,
        }))
    }

    /// `bad_request`: the arguments are not what the handler takes.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new("bad_request", message)
    }

    /// The client may not connect, and reads this as its `connect_error`.
    pub fn refusal(message: impl Into<String>) -> Self {
        Self::answering(Answer::Refusal(ReplyRefusal {
            message: message.into(),
            data: None,
        }))
    }

    /// An error of which the client learns nothing: the code `internal`.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let mut error = Self::new("internal", "internal error");
        error.0.source = Some(source.into());
        error
    }

    fn answering(answer: Answer) -> Self {
        Self(Box::new(Inner { answer, source: None }))
    }

    /// With data for the client.
    #[must_use]
    pub fn data(mut self, data: impl Into<Value>) -> Self {
        match &mut self.0.answer {
            Answer::Error(error) => error.data = Some(data.into()),
            Answer::Refusal(refusal) => refusal.data = Some(data.into()),
        }
        self
    }

    /// Whether the client learns nothing of it.
    pub(super) fn is_internal(&self) -> bool {
        self.0.source.is_some()
    }

    pub(super) fn into_reply(self) -> Reply {
        match self.0.answer {
            Answer::Error(error) => Reply::error(error),
            Answer::Refusal(refusal) => Reply::refusal(refusal),
        }
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::internal(error)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.source, &self.0.answer) {
            (Some(source), _) => write!(f, "{source}"),
            (None, Answer::Error(error)) => write!(f, "{}: {}", error.code, error.message),
            (None, Answer::Refusal(refusal)) => write!(f, "refused: {}", refusal.message),
        }
    }
}
