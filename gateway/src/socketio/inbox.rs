//! The events of one socket, handled one after the other.
//!
//! While there is nothing to do there is no task. What a client sends is handled by whoever read it, as far as that goes without waiting;
//! the rest becomes a task, and what follows queues up behind it. When the queue is full nothing more is read from the client.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use hallporter_adapters::Args;
use metrics::counter;
use tokio::time::Instant;

use super::socket::Socket;
use super::{Server, connect};
use crate::app::{Caller, DisconnectReason, Reply};
use crate::engine::together;
use crate::metric;

/// How long the events of a socket that is gone are still handled. What waits then for a slow handler is dropped.
const GRACE: Duration = Duration::from_secs(5);

/// An event of a client.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) args: Args,
    /// The number of the ack that the client waits for.
    pub(super) ack: Option<u64>,
}

/// The queue of a socket.
#[derive(Debug, Default)]
pub(super) struct Inbox(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Work>,
    /// Bytes of the events that wait.
    bytes: usize,
    /// Something is being done.
    is_busy: bool,
    /// Nothing is taken any more, since then.
    over: Option<Instant>,
}

/// What there is to do for a socket, in this order: it connects, it sends events, it is gone.
#[derive(Debug)]
enum Work {
    Connect,
    Event(Event),
    Disconnect(DisconnectReason),
}

impl Inbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins with the connect handlers.
    pub(super) fn open(&self, socket: &Socket) {
        self.state().is_busy = true;
        work_here(socket.clone(), Work::Connect);
    }

    /// Takes an event.
    pub(super) fn push(&self, socket: &Socket, event: Event) {
        let mut state = self.state();
        if state.over.is_some() {
            return;
        }
        if !std::mem::replace(&mut state.is_busy, true) {
            drop(state);
            return work_here(socket.clone(), Work::Event(event));
        }
        state.bytes += size(&event);
        state.waiting.push_back(Work::Event(event));
        if state.is_full(socket) {
            socket.client().set_full();
        }
    }

    /// Whether no further event should be read.
    pub(super) fn is_full(&self, socket: &Socket) -> bool {
        self.state().is_full(socket)
    }

    /// Takes nothing any more. Returns false when that was so already.
    pub(super) fn close(&self) -> bool {
        let mut state = self.state();
        let is_first = state.over.is_none();
        state.over.get_or_insert_with(Instant::now);
        is_first
    }

    /// Runs the disconnect handlers once what waits is done.
    pub(super) fn end(&self, socket: &Socket, reason: DisconnectReason) {
        let mut state = self.state();
        match std::mem::replace(&mut state.is_busy, true) {
            true => state.waiting.push_back(Work::Disconnect(reason)),
            false => {
                // Whoever ends a socket may be in the middle of something.
                let socket = socket.clone();
                let server = socket.client().server().clone();
                go_on(&server, Box::pin(work(socket, Work::Disconnect(reason))));
            }
        }
    }

    /// Runs `connected` unless the socket has gone meanwhile.
    pub(super) fn unless_over(&self, connected: impl FnOnce()) -> bool {
        let state = self.state();
        if state.over.is_none() {
            connected();
        }
        state.over.is_none()
    }

    /// Refused: nothing that waits is done. Returns false when nothing was taken any more.
    pub(super) fn discard(&self) -> bool {
        let mut state = self.state();
        state.waiting.clear();
        state.over.replace(Instant::now()).is_none()
    }

    fn next(&self) -> Option<Work> {
        let mut state = self.state();
        if state.over.is_some_and(|since| since.elapsed() > GRACE) {
            state.drop_events();
        }
        let next = state.waiting.pop_front();
        match &next {
            Some(Work::Event(event)) => state.bytes -= size(event),
            Some(_) => {}
            None => {
                state.is_busy = false;
                // An idle socket keeps no buffer.
                state.waiting = VecDeque::new();
            }
        }
        next
    }
}

impl State {
    fn drop_events(&mut self) {
        let before = self.waiting.len();
        self.waiting.retain(|work| !matches!(work, Work::Event(_)));
        self.bytes = 0;
        let dropped = before - self.waiting.len();
        if dropped > 0 {
            counter!(metric::EVENTS_DROPPED, "reason" => "socket_gone").increment(dropped as u64);
        }
    }

    fn is_full(&self, socket: &Socket) -> bool {
        let door = socket.space().door();
        self.waiting.len() >= door.waiting_events || self.bytes >= door.waiting_bytes
    }
}

fn size(event: &Event) -> usize {
    event.name.len()
        + event.args.as_json().len()
        + event.args.attachments().iter().map(|data| data.len()).sum::<usize>()
}

/// Works as long as it need not wait, and leaves the rest to a task.
fn work_here(socket: Socket, first: Work) {
    let server = socket.client().server().clone();
    let mut work = Box::pin(work(socket, first));
    if together(|| work.as_mut().now_or_never()).is_none() {
        go_on(&server, work);
    }
}

/// Works in a task.
fn go_on(server: &Server, mut work: Pin<Box<impl Future<Output = ()> + Send + 'static>>) {
    server.spawn(poll_fn(move |cx| together(|| work.as_mut().poll(cx))));
}

/// Works until nothing waits.
async fn work(socket: Socket, first: Work) {
    let mut next = Some(first);
    while let Some(work) = next {
        match work {
            // In boxes, for there is a work for every event, which shall be small.
            Work::Connect => Box::pin(connect::admit(&socket)).await,
            Work::Event(event) if socket.space().door().app.is_parallel(&event.name) => beside(&socket, event),
            Work::Event(event) => handle(&socket, event).await,
            Work::Disconnect(reason) => {
                counter!(metric::DISCONNECTS, "reason" => reason.as_str()).increment(1);
                let app = &socket.space().door().app;
                Box::pin(app.disconnect(Caller::Socket(socket.clone()), reason)).await;
            }
        }
        next = socket.inbox().next();
        socket.client().check_full();
    }
}

/// Hands an event over, and does not wait for the answer. The route that is for it bounds how many that may be.
fn beside(socket: &Socket, event: Event) {
    let of = socket.clone();
    let mut handling = Box::pin(async move { handle(&of, event).await });
    if handling.as_mut().now_or_never().is_none() {
        go_on(socket.client().server(), handling);
    }
}

/// Hands an event to the user's code, and its answer to the client.
async fn handle(socket: &Socket, Event { name, args, ack }: Event) {
    let door = socket.space().door();
    door.meters.events.increment(1);
    if !door.app.handles(&name) {
        door.meters.unhandled.increment(1);
    }
    let (answer, disconnects) = match door.app.handle(Caller::Socket(socket.clone()), name, args).await {
        Ok(Reply { ack, disconnects }) => (ack, disconnects),
        Err(error) => (Some(error.to_args()), false),
    };
    if let (Some(id), Some(args)) = (ack, answer) {
        socket.send_ack(id, &args);
    }
    if disconnects {
        socket.disconnect();
    }
}
