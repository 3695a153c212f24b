//! Handles what clients emit, outside of the gateways: a [`Worker`] takes events from the queue of its group and answers them.

mod answered;
mod desk;
mod error;
mod event;
mod group;
mod handlers;
mod instance;
mod lanes;
mod reply;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use hallporter_adapters::url::{BrokerUrl, Scheme, UrlError};
use hallporter_adapters::{ClientManager, ManagerOptions, NoSockets, Role, Status, manager};
use tokio::task::JoinSet;

use desk::Desk;
use handlers::Handlers;

pub use error::{HandlerError, WorkerError};
pub use event::{Call, Event};
pub use hallporter_adapters::servers::{Answers, CallError, Servers};
pub use reply::Reply;

/// Takes the events that routes of the gateways send to a group (`to = "worker:orders"`), answers them, and is an instance of the
/// cluster: it shows itself, its methods can be called, and events can be sent to it alone (`to = "worker:chat/{session.chat_server}"`).
///
/// ```no_run
/// use hallporter_emitter::worker::{Event, HandlerError, Reply, Worker};
///
/// async fn new_order(event: Event) -> Result<Reply, HandlerError> {
///     let (dish, table): (String, u32) = event.data()?;
///     Ok(Reply::ack(&"taken")?.emit_to("kitchen", "order", &(dish, table))?)
/// }
///
/// # async fn example() -> Result<(), hallporter_emitter::worker::WorkerError> {
/// Worker::new("redis://127.0.0.1:6379").group("orders").on("order.new", new_order).run(std::future::pending()).await
/// # }
/// ```
///
/// An event is handed out *at least once*: it stays in the queue until the worker has answered it, and goes to another when the worker dies or
/// loses its broker before. So what a handler does should be harmless the second time, or be marked with [`Event::id`](hallporter_adapters::envelope::Event::id); this worker itself
/// handles no event twice as long as it remembers the reply (the last 4096, 16 MiB at most), and repeats that. Events of one socket are handled one after the other, those of many at once.
///
/// What a handler answers, or its error or panic, is final: the event is done with. Only one that took a worker with it comes again, and after
/// [`tries`](Self::tries) goes to the dead-letter queue.
///
/// Metric (where a recorder of the crate `metrics` is installed): `hallporter_worker_events_total{group, outcome}`; the outcome is `answered`, `repeated`, `buried` or `unanswered`.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is run"]
pub struct Worker {
    url: String,
    options: ManagerOptions,
    groups: Vec<String>,
    in_hand: usize,
    tries: u32,
    handlers: Handlers,
}

impl Worker {
    /// For the broker at this URL, on the channel `socketio`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            options: ManagerOptions {
                role: Role::Worker,
                instance_type: "worker".into(),
                publish_wait: Duration::from_secs(5),
                ..ManagerOptions::default()
            },
            groups: Vec::new(),
            in_hand: 16,
            tries: 5,
            handlers: Handlers::default(),
        }
    }

    /// On another channel: that of the gateways' `manager.channel`.
    pub fn channel(mut self, channel: impl Into<String>) -> Self {
        self.options.channel = channel.into();
        self
    }

    /// Takes from the queue of this group, beside those named before.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.groups.push(group.into());
        self
    }

    /// The id and the type under which other servers know it. Default: an id that is new at each start, and the type `worker`.
    pub fn instance(mut self, id: impl Into<String>, kind: impl Into<String>) -> Self {
        self.options.instance = Some(id.into());
        self.options.instance_type = kind.into();
        self
    }

    /// How many events of each group may be in hand at once. Default 16.
    pub const fn in_hand(mut self, events: usize) -> Self {
        self.in_hand = events;
        self
    }

    /// How often an event is tried that takes its worker with it, before it goes to the dead-letter queue. Default 5.
    pub const fn tries(mut self, tries: u32) -> Self {
        self.tries = tries;
        self
    }

    /// Handles events. `event` may have the wildcards `*` and `?`, and the first handler that fits is called. The events `connect` and `disconnect`,
    /// which wildcards do not mean, tell of clients that come and go; the latter of many at once, in `event.disconnects`.
    pub fn on<F, R>(mut self, event: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Reply, HandlerError>> + Send + 'static,
    {
        self.handlers.on(event.into(), handler);
        self
    }

    /// Handles calls of a method by other servers, or over the HTTP API. Of the reply only the ack counts: the result.
    pub fn method<F, R>(mut self, name: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Reply, HandlerError>> + Send + 'static,
    {
        self.handlers.method(name.into(), handler);
        self
    }

    /// Works until `shutdown` ends, whatever the broker does meanwhile; then returns once what is in hand is answered. Nothing is lost
    /// by whoever does not wait for that.
    ///
    /// # Errors
    /// When the URL names no broker that the worker could use, or a name cannot be one.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), WorkerError> {
        let url = BrokerUrl::parse(&self.url)?;
        if url.scheme() == Scheme::Memory {
            return Err(UrlError::Memory.into());
        }
        self.check()?;
        let manager = manager(&url, self.options.clone())?;
        self.work(manager, shutdown).await;
        Ok(())
    }

    fn check(&self) -> Result<(), WorkerError> {
        let is_name = |name: &str, more: &[u8]| {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
            (1..=64).contains(&name.len()) && name.bytes().all(is_allowed)
        };
        if let Some(group) = self.groups.iter().find(|group| !is_name(group, b"_-")) {
            return Err(WorkerError::Group(group.clone()));
        }
        let mut names = self.options.instance.iter().chain([&self.options.instance_type]);
        match names.find(|name| !is_name(name, b"_.-")) {
            Some(name) => Err(WorkerError::Instance(name.clone())),
            None => Ok(()),
        }
    }

    async fn work(self, manager: Arc<dyn ClientManager>, shutdown: impl Future<Output = ()>) {
        let desk = Desk::new(manager.clone(), self.handlers, self.in_hand, self.tries);
        // The manager keeps what it is given, and the desk has the manager.
        let asked = Arc::downgrade(&desk);
        manager.start(Arc::new(NoSockets::new(move |asked_for| {
            if let Some(desk) = asked.upgrade() {
                desk.asked(asked_for);
            }
        })));
        let known = self.options.canary_interval / 2;
        let serve = |group| {
            let (desk, mut status) = (desk.clone(), manager.status());
            async move {
                // So that a handler finds the other servers, who show themselves as soon as they have heard of this one.
                let _ = status.wait_for(|status| *status == Status::Listening).await;
                tokio::time::sleep(known).await;
                desk.serve(group).await;
            }
        };
        let mut taking: JoinSet<()> = self.groups.into_iter().map(serve).collect();
        shutdown.await;
        taking.shutdown().await;
        desk.finish().await;
        manager.close().await;
    }
}
