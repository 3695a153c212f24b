//! Engine.IO: sessions over HTTP long-polling and WebSocket, protocol versions 4 and 3. Knows nothing of Socket.IO.
//!
//! A request goes from [`Engine::handle`] to the transport it names; what a client sends goes from there to the [`Session`] of the layer
//! above, and what that emits goes to the [`Connection`]'s outbox.

mod connection;
mod delivery;
mod error;
pub(crate) mod frame;
mod handshake;
mod heartbeat;
pub(crate) mod messages;
mod outbox;
mod outgoing;
pub(crate) mod packet;
pub(crate) mod payload;
mod polling;
mod session_id;
mod sessions;
#[cfg(test)]
mod stress;
mod upgrade;
mod websocket;

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Method, request};
use axum::response::{IntoResponse, Response};
use hallporter_adapters::ClientManager;
use hyper::upgrade::OnUpgrade;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::config::{Config, Transport};
use delivery::Delivery;
use error::RequestError;
use handshake::Query;
use heartbeat::Heartbeat;
use outbox::Sink;
use session_id::{OwnerTag, SessionId};
use sessions::Sessions;
use websocket::Driver;

pub(crate) use connection::{Closing, Connection};
pub(crate) use delivery::{Batch, together};
pub use handshake::Headers;
pub(crate) use outgoing::Outgoing;

/// The engine of a gateway. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Engine(Arc<Shared>);

/// What all sessions share.
#[derive(Debug)]
pub(crate) struct Shared {
    options: Options,
    owner: OwnerTag,
    manager: Arc<dyn ClientManager>,
    application: Arc<dyn Application>,
    sessions: Sessions,
    delivery: Arc<Delivery>,
    heartbeat: Arc<Heartbeat>,
    ping: Outgoing,
    /// No sessions are opened any more.
    is_closed: AtomicBool,
    /// A connection could not be taken back from the HTTP server, so none can: there are no WebSockets.
    is_not_tcp: AtomicBool,
    tasks: [JoinHandle<()>; 2],
}

/// The layer above.
pub(crate) trait Application: Debug + Send + Sync + 'static {
    /// A client has opened a session.
    fn open(&self, connection: &Arc<Connection>) -> Arc<dyn Session>;
}

/// A client, as the layer above sees it. No call waits.
pub(crate) trait Session: Debug + Send + Sync + 'static {
    /// The session is open, and may be sent to.
    fn opened(&self);

    /// Takes a text message.
    ///
    /// # Errors
    /// When it makes no sense; the session ends.
    fn text(&self, text: &str) -> Result<(), Malformed>;

    /// Takes a binary message.
    ///
    /// # Errors
    /// When it makes no sense; the session ends.
    fn binary(&self, data: &[u8]) -> Result<(), Malformed>;

    /// Whether messages are taken. While they are not, none is read; [`Connection::resume`] ends that.
    fn is_ready(&self) -> bool;

    /// The time that was asked for by [`Connection::check_after`] is over.
    fn check(&self);

    /// The session is closed.
    fn closed(&self, why: Closing);
}

/// A message that makes no sense to the layer above.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("a message that makes no sense")]
pub(crate) struct Malformed;

/// A version of the Engine.IO protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// socket.io-client 2.x.
    V3,
    /// socket.io-client 3.x and later.
    V4,
}

/// What the engine is told.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) upgrade_timeout: Duration,
    pub(crate) write_stall: Duration,
    pub(crate) max_payload: usize,
    pub(crate) client_buffer: usize,
    pub(crate) connecting: usize,
    pub(crate) transports: Vec<Transport>,
    pub(crate) allow_eio3: bool,
    pub(crate) cookie: Option<String>,
}

impl Options {
    pub(crate) fn new(config: &Config) -> Self {
        let (engine, limits) = (&config.engine, &config.limits);
        Self {
            ping_interval: engine.ping_interval,
            ping_timeout: engine.ping_timeout,
            connect_timeout: engine.connect_timeout,
            upgrade_timeout: engine.upgrade_timeout,
            write_stall: limits.write_stall,
            max_payload: engine.max_payload,
            client_buffer: limits.client_buffer,
            connecting: limits.connecting,
            transports: engine.transports.clone(),
            allow_eio3: engine.allow_eio3,
            cookie: engine.cookie.clone(),
        }
    }
}

impl Engine {
    /// Needs a tokio runtime. The manager knows whose sessions others are.
    pub(crate) fn new(options: Options, manager: Arc<dyn ClientManager>, application: Arc<dyn Application>) -> Self {
        let delivery = Arc::new(Delivery::new());
        let heartbeat = Arc::new(Heartbeat::new(&options));
        let (flushing, beating) = (delivery.clone(), heartbeat.clone());
        Self(Arc::new(Shared {
            options,
            owner: OwnerTag::of(manager.host_id()),
            manager,
            application,
            sessions: Sessions::new(),
            delivery,
            heartbeat,
            ping: Outgoing::packet("2"),
            is_closed: AtomicBool::new(false),
            is_not_tcp: AtomicBool::new(false),
            tasks: [
                tokio::spawn(async move { flushing.run().await }),
                tokio::spawn(async move { beating.run().await }),
            ],
        }))
    }

    /// Serves a request on the engine's path.
    pub(crate) async fn handle(&self, request: Request) -> Response {
        let (mut parts, body) = request.into_parts();
        let served = async {
            let query = Query::parse(parts.uri.query().unwrap_or_default())?;
            if !self.0.options.transports.contains(&query.transport) {
                return Err(RequestError::TransportUnknown);
            }
            match &query.session {
                None => self.open(&mut parts, &query),
                Some(id) => {
                    let connection = self.session(id.clone()?)?;
                    if query.transport == Transport::Websocket {
                        return self.upgrade(connection, &mut parts);
                    }
                    connection.admits(query.transport)?;
                    polling::serve(connection, &parts, body).await
                }
            }
        };
        served.await.unwrap_or_else(IntoResponse::into_response)
    }

    /// Closes all sessions, and opens no more.
    pub(crate) fn close(&self) {
        self.0.is_closed.store(true, Ordering::SeqCst);
        for connection in self.0.sessions.all() {
            connection.close(Closing::ShuttingDown);
        }
    }

    fn open(&self, parts: &mut request::Parts, query: &Query) -> Result<Response, RequestError> {
        if parts.method != Method::GET {
            return Err(RequestError::HandshakeMethod);
        }
        if query.transport == Transport::Polling {
            if websocket::is_asked_for(&parts.headers) {
                return Err(RequestError::BadRequest);
            }
            return polling::open(self, parts, query);
        }
        let protocol = self.protocol(query)?;
        self.admit()?;
        let (response, upgrade) = websocket::accept(parts, &self.0)?;
        let request = handshake::Request::copy(parts);
        tokio::spawn(run(self.0.clone(), upgrade, protocol, request));
        Ok(response)
    }

    fn upgrade(&self, connection: Arc<Connection>, parts: &mut request::Parts) -> Result<Response, RequestError> {
        let (response, upgrade) = websocket::accept(parts, &self.0)?;
        tokio::spawn(upgrade::serve(connection, upgrade));
        Ok(response)
    }

    fn protocol(&self, query: &Query) -> Result<Protocol, RequestError> {
        let spoken = query
            .protocol
            .filter(|&protocol| protocol == Protocol::V4 || self.0.options.allow_eio3);
        spoken.ok_or(RequestError::ProtocolVersion)
    }

    /// # Errors
    /// When too many clients are connecting already, or the engine is closed.
    fn admit(&self) -> Result<(), RequestError> {
        if self.0.is_closed.load(Ordering::SeqCst) {
            return Err(RequestError::ShuttingDown);
        }
        match self.0.sessions.connecting() < self.0.options.connecting {
            true => Ok(()),
            false => Err(RequestError::TooManyConnecting),
        }
    }

    fn session(&self, id: SessionId) -> Result<Arc<Connection>, RequestError> {
        if let Some(connection) = self.0.sessions.get(&id) {
            if connection.pulse().is_late(self.0.heartbeat.now(), &self.0.options) {
                connection.close(Closing::PingTimeout);
                return Err(RequestError::SessionUnknown);
            }
            return Ok(connection);
        }
        let mut hosts = self.0.manager.hosts().into_iter();
        let owner = hosts.find(|host| id.owner() != self.0.owner && OwnerTag::of(host) == id.owner());
        Err(owner.map_or(RequestError::SessionUnknown, RequestError::SessionElsewhere))
    }
}

/// A session that is a WebSocket from the beginning.
async fn run(engine: Arc<Shared>, upgrade: OnUpgrade, protocol: Protocol, request: handshake::Request) {
    let Some((websocket, writer)) = websocket::take_back(upgrade, &engine).await else {
        return;
    };
    let id = SessionId::new(engine.owner);
    let connection = Connection::new(engine, id, protocol, false, request, Sink::WebSocket(writer));
    let session = connection.open();
    Driver::new(connection, session, websocket).run().await;
}

impl Shared {
    fn has_websockets(&self) -> bool {
        self.options.transports.contains(&Transport::Websocket) && !self.is_not_tcp.load(Ordering::Relaxed)
    }

    /// What a client is told first (Engine.IO protocol 4, "Handshake").
    fn open_packet(&self, id: &SessionId, transport: Transport) -> Outgoing {
        let upgrades: &[&str] = match transport == Transport::Polling && self.has_websockets() {
            true => &["websocket"],
            false => &[],
        };
        let handshake = json!({
            "sid": id.as_str(),
            "upgrades": upgrades,
            "pingInterval": millis(self.options.ping_interval),
            "pingTimeout": millis(self.options.ping_timeout),
            "maxPayload": self.options.max_payload,
        });
        Outgoing::packet(&format!("0{handshake}"))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
