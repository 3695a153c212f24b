//! What is told of an event: its envelope.

use hallporter_adapters::Args;
use hallporter_adapters::envelope::{Disconnect, Event, Handshake, VERSION, encode_args};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::error::RouteError;
use crate::app::{Error, Request};
use crate::socketio;

/// The envelope of what a client has sent, or of its wish to connect.
///
/// # Errors
/// Without a connection.
pub(super) fn of_request(request: &Request, gateway: &str, retry_of: Option<String>) -> Result<Event, RouteError> {
    let (args, attachments) = encode_args(request.args()).map_err(Error::from)?;
    let (session, session_version) = request.session().load()?;
    let is_connect = request.event() == "connect";
    Ok(Event {
        retry_of,
        sid: request.sid().map(str::to_owned),
        user: request.user(),
        attachments,
        session,
        session_version,
        handshake: request.handshake().filter(|_| is_connect).map(handshake),
        ..empty(gateway, request.namespace(), request.event(), args)
    })
}

/// The envelope of those who have gone from a namespace.
///
/// # Errors
/// None: no arguments are JSON.
pub(super) fn of_disconnects(
    gateway: &str,
    namespace: &str,
    disconnects: Vec<Disconnect>,
) -> Result<Event, serde_json::Error> {
    let (args, _) = encode_args(&Args::none())?;
    Ok(Event {
        disconnects,
        ..empty(gateway, namespace, "disconnect", args)
    })
}

fn empty(gateway: &str, namespace: &str, event: &str, args: Box<RawValue>) -> Event {
    Event {
        version: VERSION,
        id: Uuid::new_v4().to_string(),
        retry_of: None,
        gateway: gateway.to_owned(),
        namespace: namespace.to_owned(),
        event: event.to_owned(),
        sid: None,
        user: None,
        args,
        attachments: Vec::new(),
        session: Map::new(),
        session_version: 0,
        handshake: None,
        disconnects: Vec::new(),
        reply_to: None,
    }
}

fn handshake(handshake: &socketio::Handshake) -> Handshake {
    let mut headers = Map::new();
    for (name, value) in handshake.headers.iter() {
        let value = || Value::from(String::from_utf8_lossy(value));
        headers.entry(name).or_insert_with(value);
    }
    Handshake {
        headers,
        query: handshake.query.to_string(),
        address: handshake.address,
        auth: handshake.auth.clone(),
    }
}
