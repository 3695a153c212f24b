//! Events of other gateways' code, on their way to the handlers.

use std::sync::Arc;

use hallporter_adapters::Args;
use metrics::counter;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::App;
use crate::metric;

/// Bytes of events that may wait for their handlers.
const MAX_WAITING: usize = 64 << 20;

/// What an event takes beside its name and arguments, so that empty ones fill the queue some time, too.
const OVERHEAD: usize = 256;

/// The events that wait for their handlers, which take one after the other.
#[derive(Debug)]
pub(super) struct ServerSide {
    /// Bounded by `room`.
    queue: UnboundedSender<Waiting>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
struct Waiting {
    app: Arc<App>,
    namespace: String,
    event: String,
    args: Args,
    _room: OwnedSemaphorePermit,
}

impl ServerSide {
    /// Needs a tokio runtime.
    pub(super) fn new() -> Self {
        Self::bounded(MAX_WAITING)
    }

    fn bounded(bytes: usize) -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        // It ends with the queue, so nobody has to wait for it.
        tokio::spawn(hand_over(waiting));
        let room = Arc::new(Semaphore::new(bytes));
        Self { queue, room }
    }

    /// Returns at once; drops what finds no room.
    pub(super) fn push(&self, app: &Arc<App>, namespace: &str, event: &str, args: Args) {
        let attachments: usize = args.attachments().iter().map(|bytes| bytes.len()).sum();
        let size = OVERHEAD + namespace.len() + event.len() + args.as_json().len() + attachments;
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let Ok(room) = self.room.clone().try_acquire_many_owned(size) else {
            counter!(metric::SERVER_SIDE_EVENTS_DROPPED).increment(1);
            return;
        };
        // The other end is there as long as the runtime is.
        let _ = self.queue.send(Waiting {
            app: app.clone(),
            namespace: namespace.to_owned(),
            event: event.to_owned(),
            args,
            _room: room,
        });
    }
}

async fn hand_over(mut waiting: UnboundedReceiver<Waiting>) {
    while let Some(Waiting {
        app,
        namespace,
        event,
        args,
        ..
    }) = waiting.recv().await
    {
        app.server_side_event(&namespace, &event, args).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{Data, Namespace, Shared, States};
    use crate::config::Config;
    use crate::routes::Routes;

    fn app(namespace: Namespace) -> Arc<App> {
        let config = Config::default();
        let manager = hallporter_adapters::manager(&config.manager.url, config.manager.options()).unwrap();
        let shared = Shared::new(&config, manager, States::default(), None, Routes::default()).unwrap();
        Arc::new(App::new(namespace, &[], Arc::new(shared)).unwrap())
    }

    #[tokio::test]
    async fn what_finds_no_room_is_dropped_and_the_rest_is_handled_in_order() {
        let (handled, mut done) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let opened = gate.clone();
        let handle = async move |Data((number, _)): Data<(u32, String)>| {
            let _ = opened.acquire().await;
            let _ = handled.send(number);
        };
        let app = app(Namespace::new("/").on_server_side("news", handle));
        let events = ServerSide::bounded(10_000);
        let push = |number: u32, size: usize| {
            let args = Args::encode(&(number, "x".repeat(size))).unwrap();
            events.push(&app, "/", "news", args);
        };
        push(1, 6_000);
        push(2, 6_000);
        push(3, 1_000);
        gate.add_permits(1_000);
        assert_eq!((done.recv().await, done.recv().await), (Some(1), Some(3)));
        // Its room is free again once it is handled.
        let _ = events.room.acquire_many(10_000).await.unwrap();
        push(4, 6_000);
        assert_eq!(done.recv().await, Some(4));
    }
}
