//! Flushing many outboxes: what a fan-out queued leaves in one write for each client.
//!
//! A fan-out only queues and leaves a list of the connections it touched here. One task, woken once, writes to them. What a handler
//! emits between two waits is left here [`together`], so a burst is one write for each client.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, counter};
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::connection::Connection;
use super::outbox::Pushed;
use super::outgoing::Outgoing;
use crate::metric;

/// Connections written to before other tasks get a turn.
const TURN: usize = 128;

/// Connections whose memory the list keeps while nothing is to be done.
const KEPT: usize = 16 * 1024;

/// The connections whose outboxes are to be flushed.
#[derive(Debug)]
pub(crate) struct Delivery {
    waiting: Mutex<Vec<Arc<Connection>>>,
    wake: Notify,
    dropped: Counter,
}

impl Delivery {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Notify::new(),
            dropped: counter!(metric::DELIVERIES_DROPPED, "reason" => "volatile"),
        }
    }

    /// Flushes for ever.
    pub(crate) async fn run(&self) {
        let mut batch = Vec::new();
        loop {
            self.wake.notified().await;
            loop {
                std::mem::swap(
                    &mut batch,
                    &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner),
                );
                if batch.is_empty() {
                    break;
                }
                for (index, connection) in batch.drain(..).enumerate() {
                    connection.flush();
                    if index % TURN == TURN - 1 {
                        tokio::task::yield_now().await;
                    }
                }
                batch.shrink_to(KEPT);
            }
        }
    }
}

thread_local! {
    /// What is touched on this thread while [`together`] runs.
    static TOUCHED: RefCell<Option<Vec<Arc<Connection>>>> = const { RefCell::new(None) };
}

/// What this queues, in however many fan-outs, is flushed once it has returned: not meanwhile, on another thread.
pub(crate) fn together<T>(emitting: impl FnOnce() -> T) -> T {
    let is_outermost = TOUCHED.with_borrow_mut(|touched| match touched {
        Some(_) => false,
        None => {
            *touched = Some(Vec::new());
            true
        }
    });
    let _flush = is_outermost.then_some(FlushTouched);
    emitting()
}

/// Ends [`together`], also when it panics.
struct FlushTouched;

impl Drop for FlushTouched {
    fn drop(&mut self) {
        let touched = TOUCHED.take().unwrap_or_default();
        for of_one_engine in touched.chunk_by(|one, other| Arc::ptr_eq(one.engine(), other.engine())) {
            schedule(of_one_engine);
        }
    }
}

/// Has connections of one engine flushed.
fn schedule(touched: &[Arc<Connection>]) {
    let Some(first) = touched.first() else {
        return;
    };
    let delivery = &first.engine().delivery;
    let mut waiting = delivery.waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let is_first = waiting.is_empty();
    waiting.extend_from_slice(touched);
    drop(waiting);
    if is_first {
        delivery.wake.notify_one();
    }
}

/// One fan-out; what it queues leaves soon after it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    touched: SmallVec<[Arc<Connection>; 1]>,
}

impl Batch {
    /// Queues for one client. A client that cannot keep up is disconnected, soon; a volatile packet is dropped instead.
    pub(crate) fn send(&mut self, connection: &Arc<Connection>, outgoing: &Outgoing, is_volatile: bool) {
        match connection.push(outgoing, is_volatile) {
            Pushed::First => self.touched.push(connection.clone()),
            Pushed::Queued | Pushed::Closed => {}
            Pushed::Dropped => connection.engine().delivery.dropped.increment(1),
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let is_held = TOUCHED.with_borrow_mut(|touched| match touched {
            Some(touched) => {
                touched.extend(self.touched.drain(..));
                true
            }
            None => false,
        });
        if !is_held {
            schedule(&self.touched);
        }
    }
}
