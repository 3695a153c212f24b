//! A namespace and the handlers it has, put together by the user.

use std::collections::BTreeMap;
use std::sync::Arc;

use hallporter_adapters::UserPolicy;

use super::guard::{Guard, Middleware};
use super::{BoxHandler, Events, Handler, On, Shared};
use crate::config::EventPattern;
use crate::routes::{Route, To};

/// A namespace, and the user's code for it.
///
/// Beside what the code says, `[[namespace]]` of this name in the configuration says more: both `public`s count, and rooms that clients may join by themselves.
#[derive(Clone, Debug)]
pub struct Namespace {
    pub(super) name: String,
    pub(super) is_public: bool,
    pub(super) users: Option<UserPolicy>,
    pub(super) handlers: Handlers,
    /// What a type handles, which gives way to functions.
    pub(super) of_type: Handlers,
    pub(super) around: Vec<Around>,
}

/// Handlers by what they are for.
#[derive(Clone, Debug, Default)]
pub(super) struct Handlers {
    pub(super) connect: Option<BoxHandler>,
    pub(super) disconnect: Option<BoxHandler>,
    pub(super) error: Option<BoxHandler>,
    pub(super) user: Option<BoxHandler>,
    pub(super) any: Option<BoxHandler>,
    pub(super) events: BTreeMap<String, BoxHandler>,
    /// What comes before all of these for clients.
    routes: Vec<Routed>,
    /// Events of other gateways' code.
    pub(super) server_side: BTreeMap<String, BoxHandler>,
    /// The events that are methods.
    pub(super) methods: Vec<String>,
}

/// Events that a route takes.
#[derive(Clone, Debug)]
struct Routed {
    event: EventPattern,
    handler: BoxHandler,
    is_parallel: bool,
}

/// Something around every event's handler.
#[derive(Clone)]
pub(super) struct Around(Arc<dyn Fn(BoxHandler) -> BoxHandler + Send + Sync>);

impl std::fmt::Debug for Around {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Around")
    }
}

impl Namespace {
    /// A namespace by its name, such as `/chat`, or by a pattern, such as `/tenant-{id}`, whose braces stand for any characters but a slash.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            is_public: false,
            users: None,
            handlers: Handlers::default(),
            of_type: Handlers::default(),
            around: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Lets in clients without a token. Whoever shows one has to show a valid one.
    #[must_use]
    pub fn public(mut self) -> Self {
        self.is_public = true;
        self
    }

    /// How often a user may be here at once, over the whole cluster. Default [`UserPolicy::Many`].
    #[must_use]
    pub fn users(mut self, policy: UserPolicy) -> Self {
        self.users = Some(policy);
        self
    }

    /// Handles the connecting of a client, which is let in when this ends well. What it emits reaches the client once that is connected.
    /// An error, or a [`Refusal`](super::Refusal), is the client's `connect_error`.
    /// A namespace that has this handler and no `[token]` to ask for is open to whomever it lets in.
    #[must_use]
    pub fn on_connect<M>(mut self, handler: impl Handler<M>) -> Self {
        self.handlers.connect = Some(handler.boxed());
        self
    }

    /// Handles an event.
    #[must_use]
    pub fn on<M>(mut self, event: impl Into<String>, handler: impl Handler<M>) -> Self {
        self.handlers.events.insert(event.into(), handler.boxed());
        self
    }

    /// Handles events that have no handler of their own.
    #[must_use]
    pub fn on_any<M>(mut self, handler: impl Handler<M>) -> Self {
        self.handlers.any = Some(handler.boxed());
        self
    }

    /// Handles that a client is gone: once for every client that was let in. Takes a [`DisconnectReason`](super::DisconnectReason).
    #[must_use]
    pub fn on_disconnect<M>(mut self, handler: impl Handler<M>) -> Self {
        self.handlers.disconnect = Some(handler.boxed());
        self
    }

    /// Is told of errors and panics of the handlers, in place of the log. Takes a [`Failure`](super::Failure).
    #[must_use]
    pub fn on_error<M>(mut self, handler: impl Handler<M>) -> Self {
        self.handlers.error = Some(handler.boxed());
        self
    }

    /// Is told, on every gateway, when a user comes online or goes, anywhere in the cluster. Takes a [`UserChange`](super::UserChange). What it
    /// emits with [`Talk::local`](super::Talk::local) reaches every client once.
    #[must_use]
    pub fn on_user<M>(mut self, handler: impl Handler<M>) -> Self {
        self.handlers.user = Some(handler.boxed());
        self
    }

    /// Handles an event that the code of another gateway has emitted by [`Talk::server_side_emit`](super::Talk::server_side_emit), one after the
    /// other. Guards and middleware of the namespace are not asked, for no client has sent it.
    #[must_use]
    pub fn on_server_side<M>(mut self, event: impl Into<String>, handler: impl Handler<M>) -> Self {
        self.handlers.server_side.insert(event.into(), handler.boxed());
        self
    }

    /// Handles a method: an event of this name, and `POST /rpc/NAME` over HTTP. One name is one method in all namespaces.
    /// Over HTTP, `on_connect` is not asked, and a call whose caller goes is dropped where it waits.
    #[must_use]
    pub fn method<M>(mut self, name: impl Into<String>, handler: impl Handler<M>) -> Self {
        let name = name.into();
        self.handlers.methods.push(name.clone());
        self.on(name, handler)
    }

    /// Handles what this type handles. A handler given by function wins over the type's.
    #[must_use]
    pub fn handler<S: Events>(mut self, this: S) -> Self {
        self.of_type = S::events(On::new(this)).handlers;
        self
    }

    /// Handles an event that the user's code has no handler for.
    pub(crate) fn or_on<M>(mut self, event: &str, handler: impl Handler<M>) -> Self {
        let is_handled = |handlers: &Handlers| handlers.events.contains_key(event);
        match is_handled(&self.handlers) || is_handled(&self.of_type) {
            true => self,
            false => {
                self.handlers.events.insert(event.to_owned(), handler.boxed());
                self
            }
        }
    }

    /// Handles only events that this guard lets pass.
    #[must_use]
    pub fn guard(mut self, guard: impl Guard) -> Self {
        let guard = Arc::new(guard);
        self.around.push(Around(Arc::new(move |handler| {
            let guard = guard.clone();
            handler.guard(move |request: &_| guard.check(request))
        })));
        self
    }

    /// Puts something around the handlers of all events. What comes first is outermost.
    #[must_use]
    pub fn with(mut self, middleware: impl Middleware) -> Self {
        let middleware = Arc::new(middleware);
        self.around.push(Around(Arc::new(move |handler| {
            let middleware = middleware.clone();
            handler.with(move |request, next| middleware.call(request, next))
        })));
        self
    }
}

impl Handlers {
    /// These, and of others those that are missing here. Says which give way.
    pub(super) fn or(mut self, others: Self) -> (Self, Vec<String>) {
        let mut lost = Vec::new();
        let mut or = |kept: &mut Option<BoxHandler>, other: Option<BoxHandler>, name: &str| {
            if kept.is_some() && other.is_some() {
                lost.push(name.to_owned());
            }
            *kept = kept.take().or(other);
        };
        or(&mut self.connect, others.connect, "on_connect");
        or(&mut self.disconnect, others.disconnect, "on_disconnect");
        or(&mut self.error, others.error, "on_error");
        or(&mut self.user, others.user, "on_user");
        or(&mut self.any, others.any, "on_any");
        for (name, handler) in others.server_side {
            let mut kept = self.server_side.remove(&name);
            or(&mut kept, Some(handler), &name);
            self.server_side.extend(kept.map(|handler| (name, handler)));
        }
        for (name, handler) in others.events {
            let is_method = others.methods.contains(&name);
            if self.events.contains_key(&name) {
                lost.push(name);
                continue;
            }
            if is_method {
                self.methods.push(name.clone());
            }
            self.events.insert(name, handler);
        }
        (self, lost)
    }

    /// The handler of an event.
    pub(super) fn of(&self, event: &str) -> Option<&BoxHandler> {
        self.events.get(event).or(self.any.as_ref())
    }

    /// The handler of an event that a client has sent.
    pub(super) fn of_client(&self, event: &str) -> Option<&BoxHandler> {
        self.routed(event)
            .map(|routed| &routed.handler)
            .or_else(|| self.of(event))
    }

    /// Whether the next event of a client need not wait for this one.
    pub(super) fn is_parallel(&self, event: &str) -> bool {
        self.routed(event).is_some_and(|routed| routed.is_parallel)
    }

    fn routed(&self, event: &str) -> Option<&Routed> {
        self.routes.iter().find(|routed| routed.event.matches(event))
    }

    /// The user's own handler of this name.
    fn named(&self, name: &str) -> Option<&BoxHandler> {
        match name {
            "connect" => self.connect.as_ref(),
            "disconnect" => self.disconnect.as_ref(),
            event => self.events.get(event),
        }
    }

    /// Puts these routes before the handlers, and what is around those around the routes too.
    ///
    /// # Errors
    /// When a route names a handler that is not there.
    pub(super) fn route(&mut self, routes: &[Arc<Route>], around: &[Around]) -> Result<(), String> {
        let code = self.clone();
        self.wrap(around);
        for (number, route) in routes.iter().enumerate() {
            let event = route.event();
            if routes[..number].iter().any(|earlier| earlier.event() == event) {
                continue;
            }
            let named = |name: &String| {
                code.named(name)
                    .ok_or_else(|| missing_handler(route, name, &code))
                    .cloned()
            };
            let handler = match (event.as_str(), route.to()) {
                ("connect", To::Handler(name)) => self.connect.insert(named(name)?),
                ("connect", To::Remote(remote)) => self.connect.insert(remote.bounded(remote.asks())),
                ("disconnect", To::Handler(name)) => self.disconnect.insert(named(name)?),
                ("disconnect", To::Remote(remote)) => self.disconnect.insert(remote.notes()),
                (_, To::Handler(name)) => &mut wrapped(named(name)?, around),
                // What is around it takes its time in flight, too.
                (_, To::Remote(remote)) => &mut remote.bounded(wrapped(remote.asks(), around)),
            };
            // Clients send neither `connect` nor `disconnect`.
            self.routes.push(Routed {
                event: event.clone(),
                handler: handler.clone(),
                is_parallel: route.is_parallel(),
            });
        }
        Ok(())
    }

    /// The first handler that asks for what there is not, and what that is.
    pub(super) fn missing(&self, shared: &Shared) -> Option<(&str, String)> {
        let named = [
            ("on_connect", &self.connect),
            ("on_disconnect", &self.disconnect),
            ("on_error", &self.error),
            ("on_user", &self.user),
            ("on_any", &self.any),
        ];
        let named = named
            .into_iter()
            .filter_map(|(name, handler)| Some((name, handler.as_ref()?)));
        let events = self.events.iter().chain(&self.server_side);
        let events = events.map(|(event, handler)| (event.as_str(), handler));
        named
            .chain(events)
            .find_map(|(name, handler)| Some((name, handler.missing(shared)?)))
    }

    /// Puts these around the handlers of events.
    fn wrap(&mut self, around: &[Around]) {
        for handler in self.events.values_mut().chain(&mut self.any) {
            *handler = wrapped(handler.clone(), around);
        }
    }
}

/// With these around it, the first outermost.
fn wrapped(handler: BoxHandler, around: &[Around]) -> BoxHandler {
    around.iter().rev().fold(handler, |handler, around| (around.0)(handler))
}

fn missing_handler(route: &Route, name: &str, code: &Handlers) -> String {
    let known: Vec<&str> = code.events.keys().map(String::as_str).collect();
    match known.is_empty() {
        true => format!("route {route} names the handler {name:?}, and there is no handler"),
        false => format!(
            "route {route} names the handler {name:?}; there are {}",
            known.join(", ")
        ),
    }
}
