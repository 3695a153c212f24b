//! The events of one socket, handled one after the other.
//!
//! socketioxide calls from the connection's reader, which must not wait; so events queue up, and a client that sends faster than
//! its handlers work is disconnected when the queue is full.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt;
use hallporter_adapters::socketioxide::{ClusterAdapter, args};
use metrics::counter;
use socketioxide::handler::{DisconnectHandler, MessageHandler};
use socketioxide::socket::{DisconnectReason as IoReason, Socket as IoSocket};
use socketioxide_core::Value;
use tokio::sync::{Notify, mpsc};

use super::connect::Shared;
use crate::handler::AckSender;
use crate::{DisconnectReason, Event, Socket, metric};

/// Where socketioxide leaves what concerns one socket.
#[derive(Clone, Debug)]
pub(super) struct Inbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    events: mpsc::Sender<Event>,
    signals: Arc<Signals>,
    socket: Socket,
    shared: Arc<Shared>,
}

impl Drop for Inner {
    /// The connection may break before the client is told that it is connected; then nobody calls.
    fn drop(&mut self) {
        self.signals.ended.notify_one();
    }
}

#[derive(Debug, Default)]
struct Signals {
    started: Notify,
    ended: Notify,
    reason: OnceLock<DisconnectReason>,
}

/// Begins to handle the events of a socket that its handlers have accepted.
pub(super) fn open(socket: Socket, shared: Arc<Shared>) -> Inbox {
    let (events, waiting) = mpsc::channel(shared.waiting_events);
    let signals = Arc::<Signals>::default();
    tokio::spawn(live(socket.clone(), shared.clone(), waiting, signals.clone()));
    Inbox(Arc::new(Inner {
        events,
        signals,
        socket,
        shared,
    }))
}

impl Inbox {
    /// The client has been told that it is connected.
    pub(super) fn start(&self) {
        self.0.signals.started.notify_one();
    }
}

impl Inner {
    fn take(&self, value: &Value, ack: Option<i64>) -> Result<(), &'static str> {
        let args = args(value).map_err(|_| "not_json")?;
        let (name, args) = args.split_event().ok_or("no_name")?;
        let ack = ack.map(|id| {
            let (socket, shared) = (self.socket.clone(), self.shared.clone());
            AckSender(Box::new(move |args| {
                shared.state.sockets().ack(socket.namespace(), socket.sid(), id, args);
            }))
        });
        let name = name.decode();
        self.shared.meters.events.increment(1);
        self.events
            .try_send(Event { name, args, ack })
            .map_err(|_| "queue_full")
    }
}

impl MessageHandler<ClusterAdapter, ()> for Inbox {
    fn call(&self, _: Arc<IoSocket<ClusterAdapter>>, value: Value, ack: Option<i64>) {
        if let Err(reason) = self.0.take(&value, ack) {
            counter!(metric::EVENTS_REJECTED, "reason" => reason).increment(1);
            self.0.socket.disconnect();
        }
    }
}

impl DisconnectHandler<ClusterAdapter, ()> for Inbox {
    fn call_with_defer(
        &self,
        io: Arc<IoSocket<ClusterAdapter>>,
        reason: IoReason,
        defer: fn(Arc<IoSocket<ClusterAdapter>>),
    ) {
        // The first reason is the one that counts.
        let _ = self.0.signals.reason.set(reason_of(reason));
        self.0.signals.ended.notify_one();
        defer(io);
    }
}

/// A socket from its acceptance to its end.
async fn live(socket: Socket, shared: Arc<Shared>, mut events: mpsc::Receiver<Event>, signals: Arc<Signals>) {
    let started = tokio::select! {
        () = signals.started.notified() => true,
        () = signals.ended.notified() => false,
    };
    if started {
        shared.meters.connects.increment(1);
        shared.meters.sockets.increment(1.0);
        for handler in &shared.handlers {
            guarded(handler.connected(&socket)).await;
        }
        loop {
            tokio::select! {
                biased;
                Some(event) = events.recv() => handle(&socket, &shared, event).await,
                () = signals.ended.notified() => break,
            }
        }
        shared.meters.sockets.decrement(1.0);
    }
    let reason = signals
        .reason
        .get()
        .copied()
        .unwrap_or(DisconnectReason::TransportClose);
    counter!(metric::DISCONNECTS, "reason" => reason.as_str()).increment(1);
    for handler in &shared.handlers {
        guarded(handler.disconnect(&socket, reason)).await;
    }
}

/// Asks one handler after the other until one takes the event.
async fn handle(socket: &Socket, shared: &Shared, event: Event) {
    let mut event = Some(event);
    for handler in &shared.handlers {
        let Some(unhandled) = event.take() else { return };
        event = guarded(handler.event(socket, unhandled)).await.flatten();
    }
    if let Some(unhandled) = event {
        shared.meters.unhandled.increment(1);
        let message = format!("nobody handles the event {:?}", unhandled.name);
        unhandled.ack_error("unhandled", &message);
    }
}

/// A handler's panic costs this one call.
async fn guarded<T>(call: impl Future<Output = T>) -> Option<T> {
    let outcome = AssertUnwindSafe(call).catch_unwind().await;
    if outcome.is_err() {
        counter!(metric::HANDLER_PANICS).increment(1);
    }
    outcome.ok()
}

const fn reason_of(reason: IoReason) -> DisconnectReason {
    match reason {
        IoReason::TransportClose | IoReason::MultipleHttpPollingError => DisconnectReason::TransportClose,
        IoReason::TransportError => DisconnectReason::TransportError,
        IoReason::HeartbeatTimeout => DisconnectReason::PingTimeout,
        IoReason::PacketParsingError => DisconnectReason::ParseError,
        IoReason::ClientNSDisconnect => DisconnectReason::ClientNamespaceDisconnect,
        IoReason::ServerNSDisconnect => DisconnectReason::ServerNamespaceDisconnect,
        IoReason::ClosingServer => DisconnectReason::ServerShuttingDown,
    }
}
