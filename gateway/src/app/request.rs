//! What a handler is asked.

use std::any::{Any, TypeId};
use std::sync::Arc;

use bytestring::ByteString;
use hallporter_adapters::Args;

use super::{App, DisconnectReason, Failure, Servers, Session, Talk};
use crate::config::{AppConfig, Transport};
use crate::socketio::{Handshake, Socket};
use crate::token::Identity;

/// A request: an event of a client, a call of a method, or whatever else handlers are called for. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Request(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    event: String,
    args: Args,
    caller: Caller,
    app: Arc<App>,
    about: About,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    Socket(Socket),
    /// Nobody who stays.
    Call {
        namespace: ByteString,
        /// Who calls; nobody for a job.
        session: Session,
    },
}

impl Caller {
    /// Nobody at all: the gateway itself.
    pub(crate) fn nobody(namespace: &str) -> Self {
        Self::Call {
            namespace: namespace.into(),
            session: Session::identity(Identity::default()),
        }
    }

    fn namespace(&self) -> &ByteString {
        match self {
            Self::Socket(socket) => socket.namespace(),
            Self::Call { namespace, .. } => namespace,
        }
    }

    pub(crate) fn session(&self) -> Session {
        match self {
            Self::Socket(socket) => Session::of(socket.clone()),
            Self::Call { session, .. } => session.clone(),
        }
    }
}

/// What some handlers are told beside.
#[derive(Clone, Debug, Default)]
pub(crate) enum About {
    #[default]
    Nothing,
    Disconnect(DisconnectReason),
    User(super::UserChange),
    Failure(Box<Failure>),
}

impl Request {
    pub(crate) fn new(app: Arc<App>, caller: Caller, event: impl Into<String>, args: Args) -> Self {
        Self::about(app, caller, event, args, About::Nothing)
    }

    pub(crate) fn about(app: Arc<App>, caller: Caller, event: impl Into<String>, args: Args, about: About) -> Self {
        Self(Arc::new(Inner {
            event: event.into(),
            args,
            caller,
            app,
            about,
        }))
    }

    /// The name of the event or method; `connect` and `disconnect` for those handlers.
    pub fn event(&self) -> &str {
        &self.0.event
    }

    /// Its arguments, as they came.
    pub fn args(&self) -> &Args {
        &self.0.args
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        self.0.caller.namespace()
    }

    /// The socket that asks; `None` for a call without a connection.
    pub fn sid(&self) -> Option<&str> {
        match &self.0.caller {
            Caller::Socket(socket) => Some(socket.sid()),
            Caller::Call { .. } => None,
        }
    }

    /// Whether the client is still there; false for a call without a connection.
    pub fn is_connected(&self) -> bool {
        match &self.0.caller {
            Caller::Socket(socket) => !socket.is_gone(),
            Caller::Call { .. } => false,
        }
    }

    /// What the client said when it connected; `None` for a call without a connection.
    pub fn handshake(&self) -> Option<&Handshake> {
        match &self.0.caller {
            Caller::Socket(socket) => Some(socket.handshake()),
            Caller::Call { .. } => None,
        }
    }

    /// How bytes move between the client and the gateway just now; `None` for a call without a connection.
    pub fn transport(&self) -> Option<Transport> {
        match &self.0.caller {
            Caller::Socket(socket) => Some(socket.transport()),
            Caller::Call { .. } => None,
        }
    }

    /// The user who asks.
    pub fn user(&self) -> Option<String> {
        self.session().user()
    }

    /// The session.
    pub fn session(&self) -> Session {
        self.0.caller.session()
    }

    /// The way to the clients of the namespace.
    pub fn talk(&self) -> Talk {
        self.0.app.talk(self.0.caller.namespace().clone())
    }

    /// The other servers of the cluster.
    pub fn servers(&self) -> Servers {
        self.0.app.servers()
    }

    /// The user's own values.
    pub fn config(&self) -> &AppConfig {
        self.0.app.config()
    }

    /// What [`Gateway::state`](crate::Gateway::state) was given of this type.
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let state = self.0.app.states().get(&TypeId::of::<T>())?;
        Arc::clone(state).downcast().ok()
    }

    /// Why the client is gone, in the handler of that.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        match self.told() {
            About::Disconnect(reason) => Some(reason.as_str()),
            _ => None,
        }
    }

    pub(super) fn told(&self) -> &About {
        &self.0.about
    }

    /// What `on_error` is told of an error.
    pub(super) fn failure(&self, error: Arc<super::Error>) -> Failure {
        Failure {
            namespace: self.namespace().to_owned(),
            sid: self.sid().map(str::to_owned),
            event: self.event().to_owned(),
            args: self.args().clone(),
            error,
        }
    }

    /// The same request, to be told of a failure.
    pub(super) fn with(&self, about: About) -> Self {
        let inner = &self.0;
        Self::about(
            inner.app.clone(),
            inner.caller.clone(),
            inner.event.clone(),
            inner.args.clone(),
            about,
        )
    }
}

/// The values of [`State`](super::State), by type.
pub(crate) type States = std::collections::HashMap<TypeId, Arc<dyn Any + Send + Sync>>;
