//! The user's code: handlers, and what they see of the gateway.
//!
//! A [`Namespace`] holds the handlers that the user gives; of it and of the configuration an [`App`] is made when the gateway starts. The
//! sockets, HTTP calls and jobs each ask it with a [`Request`], which is all that handlers see.

mod error;
mod events;
mod extract;
mod guard;
mod handler;
mod jobs;
mod namespace;
mod reason;
mod refusal;
mod reply;
mod request;
mod session;
mod talk;

use std::any::TypeId;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytestring::ByteString;
use futures_util::FutureExt;
use hallporter_adapters::{Args, ClientManager, LogLimit, UserPolicy};
use metrics::counter;

use crate::config::{AppConfig, Config};
use crate::metric;
use crate::routes::{Route, Routes};
use crate::token::{Identity, TokenConfigError, Tokens};
use namespace::Handlers;

pub use self::guard::{Guard, Middleware, Next, authenticated};
pub use error::{Error, Failure};
pub use events::{Events, On};
pub use extract::{Binary, Data, FromRequest, List, Sid, State, User};
pub use hallporter_adapters::servers::{Answers, CallError, Servers};
pub use handler::{BoxHandler, Handler, MethodOf, Outcome};
pub use namespace::Namespace;
pub use reason::DisconnectReason;
pub use refusal::Refusal;
pub use reply::{IntoReply, NoAck, Reply};
pub use request::Request;
pub use session::{Session, SessionError};
pub use talk::{Acks, Talk, TalkError};

pub(crate) use jobs::{Job, When};
pub(crate) use request::{About, Caller, States};
pub(crate) use session::Slot;
pub(crate) use talk::allowed;

/// A user came online, or went, anywhere in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserChange {
    /// The user.
    pub user: String,
    /// Whether the user is online now.
    pub is_online: bool,
}

/// What all handlers of a gateway share.
#[doc(hidden)]
#[derive(Debug)]
pub struct Shared {
    manager: Arc<dyn ClientManager>,
    config: AppConfig,
    states: States,
    tokens: Option<Tokens>,
    /// Sockets are disconnected when their token expires.
    disconnects_expired: bool,
    /// Is told of errors where the namespace has nobody for it.
    on_error: Option<BoxHandler>,
    errors: LogLimit,
    routes: Routes,
}

impl Shared {
    /// # Errors
    /// When the keys for tokens cannot be had.
    pub(crate) fn new(
        config: &Config,
        manager: Arc<dyn ClientManager>,
        states: States,
        on_error: Option<BoxHandler>,
        routes: Routes,
    ) -> Result<Self, TokenConfigError> {
        Ok(Self {
            manager,
            config: config.app.clone(),
            states,
            tokens: config.token.as_ref().map(Tokens::new).transpose()?,
            disconnects_expired: config.token.as_ref().is_some_and(|token| token.disconnect_expired),
            on_error,
            errors: LogLimit::default(),
            routes,
        })
    }

    pub(crate) const fn routes(&self) -> &Routes {
        &self.routes
    }

    /// # Errors
    /// When the handler of errors asks for what there is not.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.on_error.as_ref().and_then(|handler| handler.missing(self)) {
            Some(missing) => Err(format!("the handler \"on_error\" of the gateway {missing}")),
            None => Ok(()),
        }
    }

    fn has_state<T: 'static>(&self) -> bool {
        self.states.contains_key(&TypeId::of::<T>())
    }
}

/// The user's code for one namespace, or for all that one pattern names.
#[derive(Debug)]
pub(crate) struct App {
    name: String,
    is_public: bool,
    users: UserPolicy,
    handlers: Handlers,
    shared: Arc<Shared>,
}

impl App {
    /// # Errors
    /// Names the handler that asks for what there is not.
    pub(crate) fn new(namespace: Namespace, routes: &[Arc<Route>], shared: Arc<Shared>) -> Result<Self, String> {
        let name = namespace.name;
        let (mut handlers, lost) = namespace.handlers.or(namespace.of_type);
        for lost in lost {
            tracing::warn!(
                namespace = name,
                handler = lost,
                "a function was registered for what the type handles too; the function wins"
            );
        }
        if let Some((handler, missing)) = handlers.missing(&shared) {
            return Err(format!("{name}: the handler {handler:?} {missing}"));
        }
        let routed = handlers.route(routes, &namespace.around);
        routed.map_err(|problem| format!("{name}: {problem}"))?;
        Ok(Self {
            name,
            is_public: namespace.is_public,
            users: namespace.users.unwrap_or_default(),
            handlers,
            shared,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn tokens(&self) -> Option<&Tokens> {
        self.shared.tokens.as_ref()
    }

    pub(crate) fn disconnects_expired(&self) -> bool {
        self.shared.disconnects_expired
    }

    /// The identity of who shows this token, or none. `has_other` when somebody else decides about those that cannot show one.
    ///
    /// # Errors
    /// When the token is wrong, or missing where it is needed.
    pub(crate) fn identify(&self, token: Option<&str>, has_other: bool) -> Result<Option<Identity>, Error> {
        match &self.shared.tokens {
            Some(tokens) => tokens.identify(token, !self.is_public).map_err(Error::token),
            None if self.is_public || has_other => Ok(None),
            None => Err(Error::new("unauthenticated", "this namespace is not public")),
        }
    }

    /// Whether the user's code, here or where a route leads, decides who connects.
    pub(crate) const fn decides(&self) -> bool {
        self.handlers.connect.is_some()
    }

    pub(crate) const fn user_policy(&self) -> UserPolicy {
        self.users
    }

    pub(crate) fn methods(&self) -> &[String] {
        &self.handlers.methods
    }

    pub(crate) fn talk(&self, namespace: ByteString) -> Talk {
        Talk::new(self.shared.manager.clone(), namespace)
    }

    pub(crate) fn servers(&self) -> Servers {
        Servers::new(self.shared.manager.clone())
    }

    fn config(&self) -> &AppConfig {
        &self.shared.config
    }

    fn states(&self) -> &States {
        &self.shared.states
    }

    /// Asks whether a client may connect.
    pub(crate) async fn connect(self: &Arc<Self>, caller: Caller) -> Result<(), Refusal> {
        let Some(handler) = &self.handlers.connect else {
            return Ok(());
        };
        let request = Request::new(self.clone(), caller, "connect", Args::none());
        let asked = self.ask(handler, request).await;
        asked.map(drop).map_err(|error| error.to_refusal())
    }

    /// Tells that a client is gone.
    pub(crate) async fn disconnect(self: &Arc<Self>, caller: Caller, reason: DisconnectReason) {
        if let Some(handler) = &self.handlers.disconnect {
            let about = About::Disconnect(reason);
            let request = Request::about(self.clone(), caller, "disconnect", Args::none(), about);
            let _ = self.ask(handler, request).await;
        }
    }

    /// Whether the user's code wants to know of users.
    pub(crate) const fn watches_users(&self) -> bool {
        self.handlers.user.is_some()
    }

    /// Tells that a user came or went.
    pub(crate) async fn user_changed(self: &Arc<Self>, namespace: &str, change: UserChange) {
        if let Some(handler) = &self.handlers.user {
            let caller = Caller::nobody(namespace);
            let request = Request::about(self.clone(), caller, "user", Args::none(), About::User(change));
            let _ = self.ask(handler, request).await;
        }
    }

    /// Whether the user's code wants to know of this event of other gateways' code.
    pub(crate) fn hears_server_side(&self, event: &str) -> bool {
        self.handlers.server_side.contains_key(event)
    }

    /// Hands over an event of another gateway's code.
    pub(crate) async fn server_side_event(self: &Arc<Self>, namespace: &str, event: &str, args: Args) {
        if let Some(handler) = self.handlers.server_side.get(event) {
            let request = Request::new(self.clone(), Caller::nobody(namespace), event, args);
            let _ = self.ask(handler, request).await;
        }
    }

    /// Whether somebody handles this event of a client.
    pub(crate) fn handles(&self, event: &str) -> bool {
        self.handlers.of_client(event).is_some()
    }

    /// Whether the next event of a client need not wait for this one.
    pub(crate) fn is_parallel(&self, event: &str) -> bool {
        self.handlers.is_parallel(event)
    }

    /// The routes of all namespaces.
    pub(crate) fn routes(&self) -> &Routes {
        &self.shared.routes
    }

    /// Handles an event or a call.
    pub(crate) async fn handle(
        self: &Arc<Self>,
        caller: Caller,
        event: String,
        args: Args,
    ) -> Result<Reply, Arc<Error>> {
        let handler = match &caller {
            Caller::Socket(_) => self.handlers.of_client(&event),
            // Routes are for clients.
            Caller::Call { .. } => self.handlers.of(&event),
        };
        match handler {
            Some(handler) => self.ask(handler, Request::new(self.clone(), caller, event, args)).await,
            None => Err(Arc::new(Error::unhandled(&event))),
        }
    }

    /// Asks a handler. A panic costs this one request.
    async fn ask(&self, handler: &BoxHandler, request: Request) -> Result<Reply, Arc<Error>> {
        let asked = guarded(async { handler.call(request.clone()).await }).await;
        let error = match asked {
            Some(Ok(reply)) => return Ok(reply),
            Some(Err(error)) => Arc::new(error),
            None => Arc::new(Error::panicked()),
        };
        if !error.is_refusal() {
            // In a box, for it is rare and large.
            Box::pin(self.tell(request.failure(error.clone()), &request)).await;
        }
        Err(error)
    }

    /// Tells of an error whoever is there for it.
    async fn tell(&self, failure: Failure, request: &Request) {
        counter!(metric::HANDLER_ERRORS, "namespace" => self.name.clone()).increment(1);
        let Some(handler) = self.handlers.error.as_ref().or(self.shared.on_error.as_ref()) else {
            return self.log(&failure, &failure.error);
        };
        let told = request.with(About::Failure(Box::new(failure.clone())));
        match guarded(async { handler.call(told).await }).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => self.log(
                &failure,
                &format_args!("{}; and on_error failed: {error}", failure.error),
            ),
            None => self.log(&failure, &format_args!("{}; and on_error panicked", failure.error)),
        }
    }

    fn log(&self, failure: &Failure, what: &dyn std::fmt::Display) {
        let Failure {
            namespace,
            sid,
            event,
            error,
            ..
        } = failure;
        if !error.is_internal() {
            // The caller has been told, and may repeat it as often as it likes.
            tracing::debug!(namespace, sid, event, "a handler refused: {what}");
        } else if let Some(unlogged) = self.shared.errors.allow(error.cause()) {
            tracing::error!(namespace, sid, event, unlogged, "a handler failed: {what}");
        }
    }
}

/// A handler's panic costs this one call.
pub(crate) async fn guarded<T>(call: impl Future<Output = T>) -> Option<T> {
    let outcome = AssertUnwindSafe(call).catch_unwind().await;
    if outcome.is_err() {
        counter!(metric::HANDLER_PANICS).increment(1);
    }
    outcome.ok()
}
