//! The transport WebSocket: one task a connection, which owns no buffer while nothing is read.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, request};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use sha1::{Digest, Sha1};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::Sleep;

use super::connection::{Closing, Connection};
use super::error::RequestError;
use super::messages::{Message, Messages};
use super::outbox::{Flushed, Sink};
use super::outgoing::Outgoing;
use super::packet::Packet;
use super::{Protocol, Session, Shared, frame};
use crate::tcp;

/// What is read in one call.
const READ_BUFFER: usize = 32 * 1024;

/// How long a client that is told to go may take to close its side.
const LINGER: Duration = Duration::from_secs(1);

/// What the key is hashed with (RFC 6455, section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Accepts a WebSocket: the answer, and what becomes the connection once it is sent.
///
/// # Errors
/// When the request asks for no WebSocket of version 13, or there are none.
pub(super) fn accept(parts: &mut request::Parts, engine: &Shared) -> Result<(Response, OnUpgrade), RequestError> {
    if engine.is_not_tcp.load(Ordering::Relaxed) {
        return Err(RequestError::NotTcp);
    }
    let headers = &parts.headers;
    let names = |header, word: &str| {
        let values = headers
            .get_all(header)
            .iter()
            .filter_map(|value: &HeaderValue| value.to_str().ok());
        values
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().eq_ignore_ascii_case(word))
    };
    // Sixteen bytes in base64 (RFC 6455, section 4.2.1).
    let is_key = |key: &&HeaderValue| BASE64_STANDARD.decode(key).is_ok_and(|key| key.len() == 16);
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(is_key);
    let is_valid = parts.method == Method::GET
        && names(CONNECTION, "upgrade")
        && names(UPGRADE, "websocket")
        && names(SEC_WEBSOCKET_VERSION, "13");
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let (Some(key), Some(upgrade), true) = (key, upgrade, is_valid) else {
        return Err(RequestError::BadRequest);
    };
    let digest = Sha1::new().chain_update(key.as_bytes()).chain_update(GUID).finalize();
    let accept = BASE64_STANDARD.encode(digest);
    let headers = [
        (CONNECTION, "upgrade"),
        (UPGRADE, "websocket"),
        (SEC_WEBSOCKET_ACCEPT, accept.as_str()),
    ];
    Ok(((StatusCode::SWITCHING_PROTOCOLS, headers).into_response(), upgrade))
}

/// Whether a request asks for a WebSocket.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
}

/// Takes the connection back from the HTTP server, of which nothing stays.
pub(super) async fn take_back(upgrade: OnUpgrade, engine: &Shared) -> Option<(WebSocket, OwnedWriteHalf)> {
    let (stream, read) = match upgrade.await.ok()?.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => (parts.io.into_inner(), parts.read_buf),
        // So it is with the HTTP server of axum.
        Err(upgraded) => match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(parts) => {
                let stream = parts.io.into_inner();
                // Ours is prepared by its listener. Where the system does not allow it, the connection works all the same.
                let _ = tcp::prepare(&SockRef::from(&stream), engine.options.write_stall);
                (stream, parts.read_buf)
            }
            Err(upgraded) => {
                decline(upgraded, engine).await;
                return None;
            }
        },
    };
    let (reader, writer) = stream.into_split();
    let mut messages = Messages::new(engine.options.max_payload);
    messages.keep(&read);
    let websocket = WebSocket {
        reader,
        messages,
        unread: !read.is_empty(),
    };
    Some((websocket, writer))
}

/// Lets go of a connection that is no TCP stream. That shows only now, once it is accepted, but no further one will be.
async fn decline(upgraded: Upgraded, engine: &Shared) {
    if !engine.is_not_tcp.swap(true, Ordering::Relaxed) {
        tracing::error!(
            "there are no WebSockets from now on, clients stay on polling: the connections of this HTTP server are not TcpStreams \
             and cannot be taken over; serve the router on a TcpListener, and end TLS before it"
        );
    }
    let mut stream = TokioIo::new(upgraded);
    let farewell = async {
        stream.write_all(&frame::close(1011)).await?;
        stream.shutdown().await
    };
    // Whether the client hears of it is its own affair.
    let _ = tokio::time::timeout(LINGER, farewell).await;
}

/// The reading half of a WebSocket.
#[derive(Debug)]
pub(super) struct WebSocket {
    reader: OwnedReadHalf,
    messages: Messages,
    /// Something was read that has not been looked at.
    unread: bool,
}

thread_local! {
    /// All connections of a thread read into the same buffer.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn take_buffer() -> Vec<u8> {
    let mut buffer = BUFFER.take();
    buffer.resize(READ_BUFFER, 0);
    buffer
}

impl WebSocket {
    /// Reads into the thread's buffer, which is to be given back.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Vec<u8>, usize)>> {
        let mut buffer = take_buffer();
        let mut read = ReadBuf::new(&mut buffer);
        let polled = Pin::new(&mut self.reader).poll_read(cx, &mut read);
        let count = read.filled().len();
        match polled {
            Poll::Ready(Ok(())) => Poll::Ready(Ok((buffer, count))),
            Poll::Ready(Err(error)) => {
                BUFFER.replace(buffer);
                Poll::Ready(Err(error))
            }
            Poll::Pending => {
                BUFFER.replace(buffer);
                Poll::Pending
            }
        }
    }

    /// Reads until `on_message` has been given a message; used before the connection is driven.
    pub(super) async fn next<T>(&mut self, mut on_message: impl FnMut(Message<'_>) -> Option<T>) -> Result<T, Closing> {
        loop {
            let (mut buffer, count) = match std::mem::take(&mut self.unread) {
                true => (Vec::new(), 0),
                false => match poll_fn(|cx| self.poll_read(cx)).await {
                    Ok((_, 0)) | Err(_) => return Err(Closing::ByClient),
                    Ok(read) => read,
                },
            };
            let mut found = None;
            let outcome = self.messages.read(&mut buffer[..count], |message| {
                found = on_message(message);
                found.is_none()
            });
            BUFFER.replace(buffer);
            outcome.map_err(Closing::Frame)?;
            if let Some(found) = found {
                self.unread = true;
                return Ok(found);
            }
        }
    }
}

/// The task of a connection.
#[derive(Debug)]
pub(super) struct Driver {
    connection: Arc<Connection>,
    session: Arc<dyn Session>,
    websocket: WebSocket,
    /// The layer above takes nothing for now.
    is_paused: bool,
    /// While the kernel takes nothing: when that has lasted too long.
    stall: Option<Pin<Box<Sleep>>>,
}

/// What there is to do.
enum Turn {
    /// The client sent something; the buffer is the thread's.
    Read(io::Result<(Vec<u8>, usize)>),
    /// Something that was read before can be looked at now.
    Unread,
    /// The kernel takes something again.
    Write,
    Stalled,
    Ended,
}

impl Driver {
    pub(super) fn new(connection: Arc<Connection>, session: Arc<dyn Session>, websocket: WebSocket) -> Self {
        Self {
            connection,
            session,
            websocket,
            is_paused: false,
            stall: None,
        }
    }

    /// Reads and writes until the session is closed.
    pub(super) async fn run(mut self) {
        loop {
            let outcome = match poll_fn(|cx| self.poll_turn(cx)).await {
                Turn::Read(Ok((buffer, 0))) => {
                    BUFFER.replace(buffer);
                    Err(Closing::ByClient)
                }
                Turn::Read(Ok((mut buffer, count))) => {
                    let outcome = self.take(&mut buffer[..count]);
                    BUFFER.replace(buffer);
                    outcome
                }
                Turn::Read(Err(_)) => Err(Closing::ByClient),
                Turn::Unread => self.take(&mut []),
                Turn::Write => self.write(),
                Turn::Stalled => Err(Closing::WriteStall),
                Turn::Ended => break,
            };
            if let Err(why) = outcome {
                self.connection.close(why);
            }
        }
        let _ = tokio::time::timeout(LINGER, self.linger()).await;
        self.connection.outbox().clear();
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        self.connection.waker.register(cx.waker());
        let mut outbox = self.connection.outbox();
        let is_blocked = outbox.is_blocked();
        if let Sink::Ending(_) | Sink::Closed = outbox.sink() {
            return Poll::Ready(Turn::Ended);
        }
        drop(outbox);
        if is_blocked {
            if let Poll::Ready(turn) = self.poll_write(cx) {
                return Poll::Ready(turn);
            }
        } else {
            self.stall = None;
        }
        if self.is_paused {
            if !self.session.is_ready() {
                return Poll::Pending;
            }
            self.pause(false);
            return Poll::Ready(Turn::Unread);
        }
        if std::mem::take(&mut self.websocket.unread) {
            return Poll::Ready(Turn::Unread);
        }
        self.websocket.poll_read(cx).map(Turn::Read)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        // An error shows when it is written.
        if self.websocket.reader.as_ref().poll_write_ready(cx).is_ready() {
            return Poll::Ready(Turn::Write);
        }
        let limit = self.connection.engine().options.write_stall;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Turn::Stalled)
    }

    fn write(&mut self) -> Result<(), Closing> {
        let flushed = self.connection.outbox().unblock(self.connection.protocol());
        match flushed {
            Flushed::Blocked(0) => Ok(()),
            Flushed::Broken => Err(Closing::TransportError),
            Flushed::Overflow => Err(Closing::ClientBufferFull),
            Flushed::Done | Flushed::Poll | Flushed::Blocked(_) => {
                self.stall = None;
                Ok(())
            }
        }
    }

    /// Takes the messages in what was read; what they bring about for this client leaves in one write.
    fn take(&mut self, input: &mut [u8]) -> Result<(), Closing> {
        self.connection.outbox().cork();
        let (connection, session) = (&self.connection, &*self.session);
        let mut outcome = Ok(());
        let mut is_paused = false;
        let read = self.websocket.messages.read(input, |message| {
            outcome = receive(connection, session, message);
            is_paused = !session.is_ready();
            outcome.is_ok() && !is_paused
        });
        self.connection.flush();
        if is_paused {
            self.pause(true);
        }
        read.map_err(Closing::Frame)?;
        outcome
    }

    fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
        let connection = &self.connection;
        connection.pulse().pause(is_paused, connection.engine().heartbeat.now());
    }

    /// Lets the farewell leave and the client close its side, so that it reads what was written.
    async fn linger(&mut self) {
        poll_fn(|cx| {
            let mut outbox = self.connection.outbox();
            if !matches!(outbox.sink(), Sink::Ending(_)) || outbox.is_empty() {
                return Poll::Ready(());
            }
            ready!(self.websocket.reader.as_ref().poll_write_ready(cx)).ok();
            match outbox.unblock(self.connection.protocol()) {
                Flushed::Blocked(_) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        })
        .await;
        // Closes the writing half, if it is open still.
        let is_ending = matches!(self.connection.outbox().sink(), Sink::Ending(_));
        self.connection.outbox().clear();
        if !is_ending {
            return;
        }
        while let Ok((buffer, count)) = poll_fn(|cx| self.websocket.poll_read(cx)).await {
            BUFFER.replace(buffer);
            if count == 0 {
                return;
            }
        }
    }
}

fn receive(connection: &Arc<Connection>, session: &dyn Session, message: Message<'_>) -> Result<(), Closing> {
    match message {
        Message::Text(text) => {
            let packet = Packet::parse(text).map_err(|_| Closing::ParseError)?;
            connection.receive(session, packet)
        }
        Message::Binary(data) => {
            let data = match connection.protocol() {
                Protocol::V4 => data,
                // A type stands before it, that of a message.
                Protocol::V3 => data.strip_prefix(&[4]).ok_or(Closing::ParseError)?,
            };
            session.binary(data).map_err(|_| Closing::ParseError)
        }
        Message::Ping(data) => {
            let mut pong = Vec::with_capacity(2 + data.len());
            frame::write_header(frame::Opcode::Pong, data.len(), &mut pong);
            pong.extend_from_slice(data);
            connection.send(&Outgoing::control(pong));
            Ok(())
        }
        Message::Close => Err(Closing::ByClient),
    }
}
