//! Functions as handlers, and which of them an event is for.

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;
use hallporter_adapters::LogLimit;
use wildmatch::WildMatch;

use super::{Call, Event, HandlerError, Reply};

type Outcome = Pin<Box<dyn Future<Output = Result<Reply, HandlerError>> + Send>>;

/// A handler of one kind of request.
type BoxHandler<R> = Arc<dyn Fn(R) -> Outcome + Send + Sync>;

/// All handlers of a worker.
#[derive(Clone, Default)]
pub(super) struct Handlers {
    events: Vec<(String, BoxHandler<Event>)>,
    methods: HashMap<String, BoxHandler<Call>>,
    errors: Arc<LogLimit>,
}

impl Handlers {
    pub(super) fn on<F, R>(&mut self, event: String, handler: F)
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Reply, HandlerError>> + Send + 'static,
    {
        self.events
            .push((event, Arc::new(move |event| Box::pin(handler(event)))));
    }

    pub(super) fn method<F, R>(&mut self, name: String, handler: F)
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Reply, HandlerError>> + Send + 'static,
    {
        self.methods.insert(name, Arc::new(move |call| Box::pin(handler(call))));
    }

    /// Has the first handler that an event is for handle it.
    pub(super) async fn handle(&self, event: Event) -> Reply {
        let name = event.event.clone();
        let found = self.events.iter().find(|(pattern, _)| is_for(pattern, &name));
        self.guarded(&name, found.map(|(_, handler)| handler), event).await
    }

    /// Has the handler of a method handle a call.
    pub(super) async fn call(&self, call: Call) -> Reply {
        let name = call.method.clone();
        self.guarded(&name, self.methods.get(&name), call).await
    }

    /// A handler's panic costs this one request.
    async fn guarded<R>(&self, name: &str, handler: Option<&BoxHandler<R>>, request: R) -> Reply {
        let Some(handler) = handler else {
            let error = HandlerError::new("unhandled", format!("no worker handles {name:?}"));
            return error.into_reply();
        };
        let handled = AssertUnwindSafe(async { handler(request).await });
        let error = match handled.catch_unwind().await {
            Ok(Ok(reply)) => return reply,
            Ok(Err(error)) => error,
            Err(_) => HandlerError::internal("the handler panicked"),
        };
        if !error.is_internal() {
            tracing::debug!(name, %error, "a handler refused");
        } else if let Some(unlogged) = self.errors.allow("handler") {
            tracing::error!(name, unlogged, "a handler failed: {error}");
        }
        error.into_reply()
    }
}

/// Wildcards mean events that clients emit; that clients come and go is told to those who name it.
fn is_for(pattern: &str, event: &str) -> bool {
    match event {
        "connect" | "disconnect" => pattern == event,
        _ => WildMatch::new(pattern).matches(event),
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = self.events.iter().map(|(pattern, _)| pattern);
        f.debug_struct("Handlers")
            .field("events", &events.collect::<Vec<_>>())
            .field("methods", &self.methods.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::is_for;

    #[test]
    fn wildcards_mean_what_clients_emit() {
        for (pattern, event, expected) in [
            ("order.*", "order.new", true),
            ("order.*", "orders", false),
            ("*", "order.new", true),
            ("*", "connect", false),
            ("*", "disconnect", false),
            ("disconnect", "disconnect", true),
            ("order.?", "order.1", true),
        ] {
            assert_eq!(is_for(pattern, event), expected, "{pattern} {event}");
        }
    }
}
