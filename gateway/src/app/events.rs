//! A type as the handlers of a namespace.

use std::sync::Arc;

use super::handler::MethodOf;
use super::namespace::Handlers;

/// A type whose methods handle the events of a namespace. They take `self: Arc<Self>`, then what any [`Handler`](super::Handler) may take.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use hallporter::{Data, Events, Namespace, On};
///
/// #[derive(Default)]
/// struct Counter(AtomicU64);
///
/// impl Events for Counter {
///     fn events(on: On<Self>) -> On<Self> {
///         on.event("add", Self::add)
///     }
/// }
///
/// impl Counter {
///     async fn add(self: Arc<Self>, Data(number): Data<u64>) -> u64 {
///         self.0.fetch_add(number, Ordering::Relaxed) + number
///     }
/// }
///
/// let namespace = Namespace::new("/counter").public().handler(Counter::default());
/// ```
pub trait Events: Send + Sync + Sized + 'static {
    /// Says which method is for what.
    fn events(on: On<Self>) -> On<Self>;
}

/// Collects the methods of a type that are handlers. Each name means what it means in [`Namespace`](super::Namespace).
#[derive(Debug)]
pub struct On<S> {
    this: Arc<S>,
    pub(super) handlers: Handlers,
}

impl<S: Send + Sync + 'static> On<S> {
    pub(super) fn new(this: S) -> Self {
        Self {
            this: Arc::new(this),
            handlers: Handlers::default(),
        }
    }

    /// Handles the connecting of a client.
    #[must_use]
    pub fn connect<M>(mut self, method: impl MethodOf<S, M>) -> Self {
        self.handlers.connect = Some(method.of(self.this.clone()));
        self
    }

    /// Handles that a client is gone.
    #[must_use]
    pub fn disconnect<M>(mut self, method: impl MethodOf<S, M>) -> Self {
        self.handlers.disconnect = Some(method.of(self.this.clone()));
        self
    }

    /// Handles an event.
    #[must_use]
    pub fn event<M>(mut self, event: impl Into<String>, method: impl MethodOf<S, M>) -> Self {
        let handler = method.of(self.this.clone());
        self.handlers.events.insert(event.into(), handler);
        self
    }

    /// Handles events that have no handler of their own.
    #[must_use]
    pub fn any<M>(mut self, method: impl MethodOf<S, M>) -> Self {
        self.handlers.any = Some(method.of(self.this.clone()));
        self
    }

    /// Is told of errors.
    #[must_use]
    pub fn error<M>(mut self, method: impl MethodOf<S, M>) -> Self {
        self.handlers.error = Some(method.of(self.this.clone()));
        self
    }

    /// Is told of users.
    #[must_use]
    pub fn user<M>(mut self, method: impl MethodOf<S, M>) -> Self {
        self.handlers.user = Some(method.of(self.this.clone()));
        self
    }

    /// Handles an event of other gateways' code.
    #[must_use]
    pub fn server_side<M>(mut self, event: impl Into<String>, method: impl MethodOf<S, M>) -> Self {
        let handler = method.of(self.this.clone());
        self.handlers.server_side.insert(event.into(), handler);
        self
    }

    /// Handles a method that can be called over HTTP too.
    #[must_use]
    pub fn method<M>(mut self, name: impl Into<String>, method: impl MethodOf<S, M>) -> Self {
        let name = name.into();
        self.handlers.methods.push(name.clone());
        self.event(name, method)
    }
}
