//! Why a route gave no answer.

use std::borrow::Cow;

use hallporter_adapters::AskError;

use crate::app::Error;

/// Why a route gave no answer, for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    /// As many events are on their way as may be.
    #[error("as many events are on their way as in_flight allows")]
    Busy,
    /// The queue of the workers takes no more.
    #[error("{0}")]
    QueueFull(String),
    /// No reply came in time.
    #[error("no reply in time")]
    TimedOut,
    /// Whom the route leads to cannot be reached, or could not do it.
    #[error("{0}")]
    Unavailable(String),
    /// What came is no reply that can be carried out.
    #[error("{0}")]
    BadReply(String),
    /// The session names no instance, or one that is not there.
    #[error("{0}")]
    NoInstance(String),
    /// The session changed under each reply.
    #[error("the session has changed under each reply")]
    Changed,
    /// The reply says so, or carrying it out came to this.
    #[error("{0}")]
    Told(Error),
}

/// A route that failed: what stands behind the error that the client reads.
#[derive(Debug, thiserror::Error)]
#[error("route {route}: {cause}")]
pub(crate) struct RouteFailed {
    route: String,
    cause: RouteError,
}

impl RouteFailed {
    /// The code that the client reads.
    pub(crate) const fn code(&self) -> &'static str {
        self.cause.outcome()
    }
}

impl RouteError {
    /// The code that the client reads, and the outcome that is counted.
    pub(super) const fn outcome(&self) -> &'static str {
        match self {
            Self::Busy | Self::QueueFull(_) => "busy",
            Self::TimedOut => "timeout",
            Self::Unavailable(_) => "unavailable",
            Self::BadReply(_) => "bad_reply",
            Self::NoInstance(_) => "no_instance",
            Self::Changed => "changed",
            Self::Told(_) => "error",
        }
    }

    /// The error that the client reads of this route.
    pub(super) fn of(self, route: &str) -> Error {
        match self {
            Self::Told(error) => error,
            cause => Error::new(cause.outcome(), cause.message()).caused_by(Box::new(RouteFailed {
                route: route.to_owned(),
                cause,
            })),
        }
    }

    fn message(&self) -> Cow<'static, str> {
        let message = match self {
            Self::Busy | Self::QueueFull(_) => "too many events wait; try again later",
            Self::TimedOut => "no reply in time; the event may have been handled all the same",
            Self::Unavailable(_) => "who handles this event cannot be reached",
            Self::BadReply(_) => "who handles this event gave no proper reply",
            Self::Changed => "the session kept changing; try again",
            Self::NoInstance(why) => return why.clone().into(),
            Self::Told(error) => return error.message().to_owned().into(),
        };
        message.into()
    }
}

impl From<Error> for RouteError {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}

impl From<AskError> for RouteError {
    fn from(error: AskError) -> Self {
        let text = error.to_string();
        match error {
            AskError::NoInstance(_) => Self::NoInstance(text),
            AskError::TimedOut(_) => Self::TimedOut,
            AskError::QueueFull(_) => Self::QueueFull(text),
            AskError::Manager(_) => Self::Unavailable(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hallporter_adapters::ManagerError;

    use super::*;

    #[test]
    fn clients_read_what_became_of_their_event() {
        for (error, code) in [
            (AskError::NoInstance("chat-1".into()), "no_instance"),
            (AskError::TimedOut(Duration::from_secs(3)), "timeout"),
            (AskError::QueueFull("orders".into()), "busy"),
            (AskError::Manager(ManagerError::WriteOnly), "unavailable"),
        ] {
            let (why, error) = (error.to_string(), RouteError::from(error).of("1 worker:orders"));
            assert_eq!((error.code(), error.cause()), (code, code));
            // Only what is about the client's own session is told in detail.
            assert_eq!(error.message() == why, code == "no_instance", "{error:?}");
            assert!(error.to_string().contains("route 1 worker:orders: "), "{error}");
        }
        let told = Error::new("sold_out", "none is left");
        assert!(!RouteError::from(told).of("1 worker:orders").is_internal());
    }
}
