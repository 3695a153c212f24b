//! From polling to WebSocket (Engine.IO protocol 4, "Upgrade"): the client probes the new transport, then moves.
//!
//! Until it has moved, polling stays as it is: a probe that fails costs nothing but itself.

use std::sync::Arc;

use hyper::upgrade::OnUpgrade;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::timeout;

use super::connection::{Closing, Connection};
use super::frame;
use super::messages::Message;
use super::outbox::Sink;
use super::outgoing::Outgoing;
use super::packet::Packet;
use super::websocket::{self, Driver, WebSocket};

/// Serves a WebSocket a client tries for its session.
pub(super) async fn serve(connection: Arc<Connection>, upgrade: OnUpgrade) {
    let options = &connection.engine().options;
    let Some((mut websocket, writer)) = websocket::take_back(upgrade, connection.engine()).await else {
        return;
    };
    let probed = timeout(options.upgrade_timeout, probe(&connection, &mut websocket, &writer)).await;
    if probed != Ok(true) || !connection.outbox().upgrade(writer) {
        return;
    }
    // A poll that waits still is let go.
    connection.waker.wake();
    connection.flush();
    if let Some(session) = connection.session() {
        Driver::new(connection, session, websocket).run().await;
    }
}

/// Answers the probe and waits until the client has moved. Returns whether it has.
async fn probe(connection: &Connection, websocket: &mut WebSocket, writer: &OwnedWriteHalf) -> bool {
    if !is_wanted(connection) || expect(websocket, Packet::Ping("probe")).await.is_err() {
        return decline(writer);
    }
    let Some(_trying) = Trying::begin(connection) else {
        return decline(writer);
    };
    let pong = Outgoing::packet("3probe");
    // The first bytes of a connection always find room.
    writer.try_write(pong.frames(connection.protocol())).is_ok()
        && (expect(websocket, Packet::Upgrade).await.is_ok() || decline(writer))
}

/// Whether the session is on polling and no other WebSocket is being tried.
fn is_wanted(connection: &Connection) -> bool {
    matches!(
        connection.outbox().sink(),
        Sink::Polling {
            is_upgrading: false,
            ..
        }
    )
}

/// Closes the WebSocket that is not wanted, or did not say what it should.
fn decline(writer: &OwnedWriteHalf) -> bool {
    // Whether the client hears of it is its own affair.
    let _ = writer.try_write(&frame::close(1000));
    false
}

/// A WebSocket is being tried: no poll waits, until this is dropped.
struct Trying<'a>(&'a Connection);

impl<'a> Trying<'a> {
    /// `None` when another one is being tried, or the session has been upgraded or closed.
    fn begin(connection: &'a Connection) -> Option<Self> {
        match connection.outbox().sink() {
            Sink::Polling { is_upgrading, .. } if !*is_upgrading => *is_upgrading = true,
            _ => return None,
        }
        connection.waker.wake();
        Some(Self(connection))
    }
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        if let Sink::Polling { is_upgrading, .. } = self.0.outbox().sink() {
            *is_upgrading = false;
        }
    }
}

/// Waits for a packet, which has to be this one.
async fn expect(websocket: &mut WebSocket, expected: Packet<'_>) -> Result<(), Closing> {
    let is_expected = websocket.next(|message| match message {
        Message::Text(text) => Some(Packet::parse(text) == Ok(expected)),
        Message::Ping(_) => None,
        Message::Binary(_) | Message::Close => Some(false),
    });
    is_expected.await?.then_some(()).ok_or(Closing::ParseError)
}
