//! What a worker works with.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hallporter_adapters::envelope::{self, Reply};
use hallporter_adapters::{ClientManager, LogLimit};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::answered::Answered;
use super::handlers::Handlers;
use super::lanes::{Lanes, Place};
use super::{Event, HandlerError};

/// Bytes of replies that are remembered.
const REMEMBERED: usize = 16 << 20;

/// Calls and events for this instance that may be handled at once; they wait nowhere else.
const MAX_CALLS: usize = 1024;

#[derive(Debug)]
pub(super) struct Desk {
    pub(super) manager: Arc<dyn ClientManager>,
    pub(super) handlers: Handlers,
    pub(super) in_hand: usize,
    pub(super) tries: u32,
    pub(super) at_work: TaskTracker,
    pub(super) room: Arc<Semaphore>,
    pub(super) buried: LogLimit,
    lanes: Mutex<Lanes>,
    answered: Mutex<Answered>,
}

impl Desk {
    pub(super) fn new(manager: Arc<dyn ClientManager>, handlers: Handlers, in_hand: usize, tries: u32) -> Arc<Self> {
        Arc::new(Self {
            manager,
            handlers,
            in_hand,
            tries,
            at_work: TaskTracker::new(),
            room: Arc::new(Semaphore::new(MAX_CALLS)),
            buried: LogLimit::default(),
            lanes: Mutex::default(),
            answered: Mutex::new(Answered::new(REMEMBERED)),
        })
    }

    /// Has an event handled.
    pub(super) async fn handle(&self, event: envelope::Event, attempt: u32) -> Reply {
        let (id, version) = (event.id.clone(), event.session_version);
        let reply = match Event::new(event, attempt, self.manager.clone()) {
            Ok(event) => self.handlers.handle(event).await,
            Err(error) => HandlerError::bad_request(error.to_string()).into_reply(),
        };
        reply.to(&id, attempt, version)
    }

    /// A place behind the events of the same socket.
    pub(super) fn enter(&self, event: &envelope::Event) -> Place {
        let lane = event.sid.as_ref().unwrap_or(&event.id);
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).enter(lane)
    }

    pub(super) fn answered(&self) -> MutexGuard<'_, Answered> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes no more calls, and returns when all that is in hand is answered.
    pub(super) async fn finish(&self) {
        self.room.close();
        self.at_work.close();
        self.at_work.wait().await;
    }
}
