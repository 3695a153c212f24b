//! An Engine.IO session, whatever transport it is on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use metrics::counter;

use super::Shared;
use super::delivery::Batch;
use super::error::RequestError;
use super::frame;
use super::handshake::Request;
use super::heartbeat::{Check, Pulse};
use super::outbox::{Flushed, Outbox, Pushed, Sink};
use super::outgoing::Outgoing;
use super::packet::Packet;
use super::session_id::SessionId;
use super::{Protocol, Session};
use crate::config::Transport;
use crate::{DisconnectReason, metric};

/// The connection of one client: its id, its outbox, its heartbeat, and the session of the layer above.
///
/// A WebSocket has one task (see `websocket.rs`), polling has none. Whoever holds a reference to a closed connection holds neither its
/// file descriptor nor what waited for it.
#[derive(Debug)]
pub(crate) struct Connection {
    id: SessionId,
    protocol: Protocol,
    /// An Engine.IO 3 client that reads text only.
    base64: bool,
    request: Request,
    engine: Arc<Shared>,
    outbox: Mutex<Outbox>,
    /// Wakes the task of the WebSocket, or the poll that waits.
    pub(super) waker: AtomicWaker,
    /// Wakes the request that brings packets.
    pub(super) post_waker: AtomicWaker,
    pulse: Pulse,
    /// The layer above has claimed the session.
    is_confirmed: AtomicBool,
    /// A request brings packets.
    is_posting: AtomicBool,
    session: Mutex<Option<Arc<dyn Session>>>,
}

/// Why a session is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The client closed, or went.
    ByClient,
    /// The connection broke, or brought what is not of the transport.
    TransportError,
    /// What came over a WebSocket is no frame.
    Frame(frame::FrameError),
    /// The client did not answer a heartbeat.
    PingTimeout,
    /// The client sent what is no packet.
    ParseError,
    /// The client connected to no namespace in time.
    ConnectTimeout,
    /// More waited for the client than its buffer holds.
    ClientBufferFull,
    /// The client took nothing for too long.
    WriteStall,
    /// The layer above asked for it.
    ByServer,
    /// The gateway is going.
    ShuttingDown,
}

impl Closing {
    /// The word it is counted under.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::ByClient => "transport_close",
            Self::TransportError | Self::Frame(_) => "transport_error",
            Self::PingTimeout => "ping_timeout",
            Self::ParseError => "parse_error",
            Self::ConnectTimeout => "connect_timeout",
            Self::ClientBufferFull => "client_buffer_full",
            Self::WriteStall => "write_stall",
            Self::ByServer => "by_server",
            Self::ShuttingDown => "server_shutting_down",
        }
    }

    /// What handlers are told.
    pub(crate) const fn reason(self) -> DisconnectReason {
        match self {
            Self::ByClient | Self::ConnectTimeout => DisconnectReason::TransportClose,
            Self::TransportError | Self::Frame(_) | Self::ClientBufferFull | Self::WriteStall => {
                DisconnectReason::TransportError
            }
            Self::PingTimeout => DisconnectReason::PingTimeout,
            Self::ParseError => DisconnectReason::ParseError,
            Self::ByServer => DisconnectReason::ServerNamespaceDisconnect,
            Self::ShuttingDown => DisconnectReason::ServerShuttingDown,
        }
    }

    /// The WebSocket status code that takes leave of the client; none where it hears nothing any more.
    const fn close_code(self) -> Option<u16> {
        match self {
            Self::ByClient | Self::ByServer | Self::ConnectTimeout => Some(1000),
            Self::ShuttingDown => Some(1001),
            Self::ParseError => Some(1002),
            Self::Frame(error) => Some(error.close_code()),
            Self::TransportError | Self::PingTimeout | Self::ClientBufferFull | Self::WriteStall => None,
        }
    }
}

impl Connection {
    pub(super) fn new(
        engine: Arc<Shared>,
        id: SessionId,
        protocol: Protocol,
        base64: bool,
        request: Request,
        sink: Sink,
    ) -> Arc<Self> {
        let pulse = Pulse::new(engine.heartbeat.now());
        Arc::new(Self {
            id,
            protocol,
            base64,
            request,
            engine,
            outbox: Mutex::new(Outbox::new(sink)),
            waker: AtomicWaker::new(),
            post_waker: AtomicWaker::new(),
            pulse,
            is_confirmed: AtomicBool::new(false),
            is_posting: AtomicBool::new(false),
            session: Mutex::default(),
        })
    }

    /// Tells the client of its session, and the layer above of the client.
    pub(super) fn open(self: &Arc<Self>) -> Arc<dyn Session> {
        let engine = &self.engine;
        let transport = self.transport();
        self.send(&engine.open_packet(&self.id, transport));
        let session = engine.application.open(self);
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(session.clone());
        engine.sessions.insert(self);
        engine
            .heartbeat
            .watch(self, engine.options.ping_interval.min(engine.options.connect_timeout));
        session.opened();
        // Those who were there have been closed already.
        if engine.is_closed.load(Ordering::SeqCst) {
            self.close(Closing::ShuttingDown);
        }
        session
    }

    /// The secret session id.
    pub(super) const fn id(&self) -> &SessionId {
        &self.id
    }

    /// The client's version of the protocol.
    pub(crate) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(super) const fn base64(&self) -> bool {
        self.base64
    }

    /// The request that opened the session.
    pub(crate) const fn request(&self) -> &Request {
        &self.request
    }

    pub(super) const fn engine(&self) -> &Arc<Shared> {
        &self.engine
    }

    /// How bytes move now.
    pub(crate) fn transport(&self) -> Transport {
        match self.outbox().is_websocket() {
            true => Transport::Websocket,
            false => Transport::Polling,
        }
    }

    pub(super) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn session(&self) -> Option<Arc<dyn Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The session is used, so it does not end when the connect time-out is over.
    pub(crate) fn confirm(&self) {
        if !self.is_confirmed.swap(true, Ordering::Relaxed) {
            self.engine.sessions.confirmed();
        }
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.is_confirmed.load(Ordering::Relaxed)
    }

    /// Calls [`Session::check`] once, when this time is over, unless the session is closed by then.
    pub(crate) fn check_after(self: &Arc<Self>, after: Duration) {
        self.engine.heartbeat.check(self, after);
    }

    pub(super) const fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Queues for this client alone.
    pub(crate) fn send(self: &Arc<Self>, outgoing: &Outgoing) {
        Batch::default().send(self, outgoing, false);
    }

    pub(super) fn push(&self, outgoing: &Outgoing, is_volatile: bool) -> Pushed {
        let limit = self.engine.options.client_buffer;
        self.outbox().push(outgoing, is_volatile, limit, self.protocol)
    }

    /// Writes what waits.
    pub(crate) fn flush(self: &Arc<Self>) {
        let flushed = self.outbox().flush(self.protocol);
        match flushed {
            Flushed::Done => {}
            Flushed::Poll | Flushed::Blocked(_) => self.waker.wake(),
            Flushed::Broken => self.close(Closing::TransportError),
            Flushed::Overflow => self.close(Closing::ClientBufferFull),
        }
    }

    /// The layer above takes packets again.
    pub(crate) fn resume(&self) {
        self.waker.wake();
        self.post_waker.wake();
    }

    /// Takes the right to bring packets by a request, which one may have at a time.
    pub(super) fn begin_post(&self) -> bool {
        !self.is_posting.swap(true, Ordering::Acquire)
    }

    pub(super) fn end_post(&self) {
        self.is_posting.store(false, Ordering::Release);
    }

    /// Takes a packet of the client.
    pub(super) fn receive(self: &Arc<Self>, session: &dyn Session, packet: Packet<'_>) -> Result<(), Closing> {
        match packet {
            Packet::Message(text) => session.text(text).map_err(|_| Closing::ParseError),
            Packet::Pong if self.protocol == Protocol::V4 => {
                self.pulse.heard(self.engine.heartbeat.now());
                Ok(())
            }
            Packet::Ping(data) if self.protocol == Protocol::V3 => {
                self.pulse.heard(self.engine.heartbeat.now());
                self.send(&Outgoing::packet(&format!("3{data}")));
                Ok(())
            }
            Packet::Close => Err(Closing::ByClient),
            Packet::Noop => Ok(()),
            Packet::Ping(_) | Packet::Pong | Packet::Upgrade => Err(Closing::ParseError),
        }
    }

    /// Closes the session; the first reason is the one that counts. Returns at once.
    pub(crate) fn close(self: &Arc<Self>, why: Closing) {
        let farewell = |is_websocket| match is_websocket {
            true => why.close_code().map(|code| Outgoing::control(frame::close(code))),
            // The client that closes is let go with a noop, as the reference server does.
            false if why == Closing::ByClient => Some(Outgoing::packet("6")),
            false => Some(Outgoing::packet("1")),
        };
        let mut outbox = self.outbox();
        let farewell = farewell(outbox.is_websocket());
        if !outbox.close(farewell) {
            return;
        }
        drop(outbox);
        self.engine.sessions.remove(self);
        counter!(metric::SESSIONS_CLOSED, "reason" => why.label()).increment(1);
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.flush();
        self.resume();
        if let Some(session) = session {
            session.closed(why);
        }
    }

    /// Does what the heartbeat asks.
    pub(super) fn beat(self: &Arc<Self>, check: Check) -> Option<u64> {
        let engine = &self.engine;
        if check == Check::Session {
            if let Some(session) = self.session() {
                session.check();
            }
            return None;
        }
        let options = &engine.options;
        let now = engine.heartbeat.now();
        match self.pulse.beat(now, self.protocol, options, self.is_confirmed()) {
            Ok(beat) => {
                if beat.ping {
                    self.send(&engine.ping);
                }
                (!matches!(self.outbox().sink(), Sink::Closed | Sink::Ending(_))).then_some(beat.next)
            }
            Err(why) => {
                self.close(why);
                None
            }
        }
    }

    /// What stands in the way of a request of this transport.
    pub(super) fn admits(&self, transport: Transport) -> Result<(), RequestError> {
        match self.transport() == transport {
            true => Ok(()),
            false => Err(RequestError::BadRequest),
        }
    }
}
