//! The transport HTTP long-polling (Engine.IO protocol 4, "HTTP long-polling"): GET waits for packets, POST brings some.

use std::future::poll_fn;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, SET_COOKIE, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, request};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::StreamExt;
use smallvec::SmallVec;
use tokio::time::Sleep;

use super::connection::{Closing, Connection};
use super::error::RequestError;
use super::handshake::{Query, Request};
use super::outbox::Sink;
use super::outgoing::Outgoing;
use super::packet::Packet;
use super::payload::{self, Item};
use super::session_id::SessionId;
use super::{Engine, Session};

/// Answers shorter than this are not compressed.
const COMPRESS_FROM: usize = 1024;

/// How long a client that closes may take to poll, so that a poll it sent at the same time, over another connection, is answered.
const CLOSE_GRACE: Duration = Duration::from_millis(5);

/// How long a poll that begins during an upgrade waits for its end.
const UPGRADE_GRACE: Duration = Duration::from_millis(100);

/// Opens a session and answers with what the client is told first.
pub(super) fn open(engine: &Engine, parts: &request::Parts, query: &Query) -> Result<Response, RequestError> {
    let protocol = engine.protocol(query)?;
    engine.admit()?;
    let shared = &engine.0;
    let id = SessionId::new(shared.owner);
    let sink = Sink::Polling {
        is_waiting: false,
        is_upgrading: false,
    };
    let connection = Connection::new(shared.clone(), id, protocol, query.base64, Request::copy(parts), sink);
    connection.open();
    let packets = connection.outbox().take();
    let mut response = answer(&connection, &packets, &parts.headers);
    if let Some(name) = &shared.options.cookie {
        let cookie = format!("{name}={}; Path=/; HttpOnly; SameSite=Lax", connection.id().as_str());
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
    }
    Ok(response)
}

/// Serves a request of a session.
pub(super) async fn serve(
    connection: Arc<Connection>,
    parts: &request::Parts,
    body: Body,
) -> Result<Response, RequestError> {
    match parts.method {
        Method::GET => poll(connection, &parts.headers).await,
        Method::POST => post(connection, &parts.headers, body).await,
        _ => Err(RequestError::BadRequest),
    }
}

/// Waits until there is something for the client.
async fn poll(connection: Arc<Connection>, headers: &HeaderMap) -> Result<Response, RequestError> {
    let mut poll = PendingPoll::begin(connection.clone())?;
    let packets = poll_fn(|cx| poll.packets(cx)).await?;
    Ok(answer(&connection, &packets, headers))
}

/// A poll that waits. When it is dropped before it is answered, the client has gone.
struct PendingPoll {
    connection: Arc<Connection>,
    /// For a poll that begins during an upgrade, which should be over soon.
    grace: Option<Pin<Box<Sleep>>>,
}

impl PendingPoll {
    /// # Errors
    /// A second poll at the same time ends the session.
    fn begin(connection: Arc<Connection>) -> Result<Self, RequestError> {
        let mut outbox = connection.outbox();
        let Sink::Polling {
            is_waiting,
            is_upgrading,
        } = outbox.sink()
        else {
            return Err(RequestError::BadRequest);
        };
        let is_second = std::mem::replace(is_waiting, true);
        let grace = is_upgrading.then(|| Box::pin(tokio::time::sleep(UPGRADE_GRACE)));
        drop(outbox);
        if is_second {
            connection.close(Closing::TransportError);
            return Err(RequestError::BadRequest);
        }
        Ok(Self { connection, grace })
    }

    /// What there is for the client: a noop when an upgrade wants the poll to end.
    fn packets(&mut self, cx: &mut Context<'_>) -> Poll<Result<SmallVec<[Outgoing; 2]>, RequestError>> {
        let noop = || Poll::Ready(Ok(SmallVec::from_iter([Outgoing::packet("6")])));
        let grace = self.grace.as_mut().map(|grace| grace.as_mut().poll(cx));
        let mut outbox = self.connection.outbox();
        let is_empty = outbox.is_empty();
        match outbox.sink() {
            Sink::Polling { is_waiting, .. } if !is_empty => {
                *is_waiting = false;
                Poll::Ready(Ok(outbox.take()))
            }
            Sink::Polling {
                is_waiting,
                is_upgrading: true,
            } if grace.is_none_or(|grace| grace.is_ready()) => {
                *is_waiting = false;
                noop()
            }
            Sink::Polling { .. } => {
                // Under the lock, since the waker is the WebSocket's once the session is upgraded.
                self.connection.waker.register(cx.waker());
                Poll::Pending
            }
            Sink::WebSocket(_) | Sink::Ending(_) if self.grace.is_some() => Poll::Ready(Err(RequestError::BadRequest)),
            // The queue of a session that is upgraded is the WebSocket's.
            Sink::WebSocket(_) | Sink::Ending(_) => noop(),
            Sink::Closed if is_empty => Poll::Ready(Err(RequestError::SessionUnknown)),
            Sink::Closed => Poll::Ready(Ok(outbox.take())),
        }
    }
}

impl Drop for PendingPoll {
    fn drop(&mut self) {
        let is_cancelled = matches!(self.connection.outbox().sink(), Sink::Polling { is_waiting: true, .. });
        if is_cancelled {
            self.connection.close(Closing::TransportError);
        }
    }
}

/// Takes the packets of the body.
async fn post(connection: Arc<Connection>, headers: &HeaderMap, body: Body) -> Result<Response, RequestError> {
    let session = connection.session().ok_or(RequestError::SessionUnknown)?;
    if !connection.begin_post() {
        connection.close(Closing::TransportError);
        return Err(RequestError::BadRequest);
    }
    let mut posting = Posting {
        connection: &connection,
        is_broken: true,
    };
    let body = read(&connection, headers, body).await;
    posting.is_broken = matches!(body, Err(RequestError::BadRequest));
    let body = body?;
    let octets = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/octet-stream");
    let items = payload::decode(connection.protocol(), octets, &body);
    let items = items.map_err(|_| {
        connection.close(Closing::ParseError);
        RequestError::BadRequest
    })?;
    for item in items {
        let taken = take(&connection, &*session, item);
        connection.flush();
        if let Err(why) = taken {
            let has_poll = matches!(connection.outbox().sink(), Sink::Polling { is_waiting: true, .. });
            if why == Closing::ByClient && !has_poll {
                tokio::time::sleep(CLOSE_GRACE).await;
            }
            connection.close(why);
            if why != Closing::ByClient {
                return Err(RequestError::BadRequest);
            }
            break;
        }
        if !session.is_ready() {
            wait_until_ready(&connection, &*session).await;
        }
    }
    Ok(([(CONTENT_TYPE, "text/html"), (CACHE_CONTROL, "no-store")], "ok").into_response())
}

fn take(connection: &Arc<Connection>, session: &dyn Session, item: Item<'_>) -> Result<(), Closing> {
    connection.outbox().cork();
    match item {
        Item::Text(text) => {
            let packet = Packet::parse(text).map_err(|_| Closing::ParseError)?;
            connection.receive(session, packet)
        }
        Item::Binary(data) => session.binary(&data).map_err(|_| Closing::ParseError),
    }
}

/// A request that brings packets, until it is dropped.
struct Posting<'a> {
    connection: &'a Arc<Connection>,
    /// It ends before its body does, as far as is known.
    is_broken: bool,
}

impl Drop for Posting<'_> {
    fn drop(&mut self) {
        let connection = self.connection;
        connection.end_post();
        connection.pulse().pause(false, connection.engine().heartbeat.now());
        if self.is_broken {
            connection.close(Closing::TransportError);
        }
    }
}

/// Waits until the session takes packets again, or is closed.
async fn wait_until_ready(connection: &Connection, session: &dyn Session) {
    connection.pulse().pause(true, connection.engine().heartbeat.now());
    poll_fn(|cx| {
        connection.post_waker.register(cx.waker());
        match session.is_ready() || is_closed(connection) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    connection.pulse().pause(false, connection.engine().heartbeat.now());
}

/// Reads the body, as long as the session is open.
async fn read(connection: &Connection, headers: &HeaderMap, body: Body) -> Result<Vec<u8>, RequestError> {
    let limit = connection.engine().options.max_payload;
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(RequestError::TooLarge);
    }
    let mut stream = body.into_data_stream();
    let mut body = Vec::new();
    loop {
        let next = poll_fn(|cx| {
            connection.post_waker.register(cx.waker());
            match is_closed(connection) {
                true => Poll::Ready(Err(RequestError::SessionUnknown)),
                false => stream.poll_next_unpin(cx).map(Ok),
            }
        });
        match next.await? {
            None => return Ok(body),
            Some(Err(_)) => return Err(RequestError::BadRequest),
            Some(Ok(chunk)) if body.len() + chunk.len() > limit => return Err(RequestError::TooLarge),
            Some(Ok(chunk)) => body.extend_from_slice(&chunk),
        }
    }
}

fn is_closed(connection: &Connection) -> bool {
    matches!(connection.outbox().sink(), Sink::Closed | Sink::Ending(_))
}

fn answer(connection: &Connection, packets: &[Outgoing], request: &HeaderMap) -> Response {
    let items = packets.iter().flat_map(Outgoing::items);
    let payload = payload::encode(connection.protocol(), connection.base64(), items);
    let kind = match payload.octets {
        true => "application/octet-stream",
        false => "text/plain; charset=UTF-8",
    };
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")];
    match compress(&payload.body, request) {
        Some(body) => (headers, [(CONTENT_ENCODING, "gzip"), (VARY, "accept-encoding")], body).into_response(),
        None => (headers, payload.body).into_response(),
    }
}

/// The body with gzip, when it is worth it and the client can read it.
fn compress(body: &[u8], request: &HeaderMap) -> Option<Vec<u8>> {
    let accepted = request
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut accepted = accepted.flat_map(|value| value.split(','));
    let is_gzip = |coding: &str| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let is_refused = quality
            .trim()
            .strip_prefix("q=")
            .is_some_and(|quality| quality.parse() == Ok(0.0));
        name.trim() == "gzip" && !is_refused
    };
    if body.len() < COMPRESS_FROM || !accepted.any(is_gzip) {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn long_answers_are_compressed_for_those_who_accept_it() {
        let long = vec![b'x'; COMPRESS_FROM];
        for (accepted, body, compressed) in [
            ("gzip, deflate", &long[..], true),
            ("br;q=1.0, gzip;q=0.8", &long, true),
            ("gzip;q=0", &long, false),
            ("br", &long, false),
            ("gzip", &long[1..], false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, accepted.parse().unwrap())]);
            let result = compress(body, &headers);
            assert_eq!(result.is_some(), compressed, "{accepted}");
            if let Some(result) = result {
                let mut text = Vec::new();
                flate2::read::GzDecoder::new(&result[..])
                    .read_to_end(&mut text)
                    .unwrap();
                assert_eq!(text, body);
            }
        }
    }
}
