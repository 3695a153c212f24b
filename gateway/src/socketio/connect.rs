//! A client connects to a namespace.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::poll_immediate;
use serde_json::json;

use super::inbox::guarded;
use super::namespace::Door;
use super::socket::Socket;
use crate::{DisconnectReason, Refusal};

/// The time between the packet that connects a client and what handlers emit then. Clients that look at one message at a time
/// would miss what they read together with that packet; the protocol's own test suite is one.
const SETTLE: Duration = Duration::from_millis(1);

/// Asks every handler, and lets the client in when none refuses.
pub(super) async fn admit(socket: &Socket) {
    let door = socket.space().door();
    let mut accepted = 0;
    for handler in &door.handlers {
        let asked = guarded(handler.connect(socket)).await;
        match asked.unwrap_or_else(|| Err(Refusal::new("internal error"))) {
            Ok(()) => accepted += 1,
            Err(refusal) => return refuse(socket, door, accepted, &refusal).await,
        }
    }
    let is_connected = socket.inbox().unless_over(|| {
        door.meters.connects.increment(1);
        door.meters.sockets.increment(1.0);
        socket.set_connected();
    });
    if is_connected {
        connected(socket, door).await;
    }
}

/// Tells every handler that the client is connected. What they emit at once leaves a little later than the packet that says so.
async fn connected(socket: &Socket, door: &Arc<Door>) {
    let connection = socket.client().connection();
    connection.hold();
    let mut telling = pin!(async {
        for handler in &door.handlers {
            guarded(handler.connected(socket)).await;
        }
    });
    let told = poll_immediate(&mut telling).await;
    if connection.has_waiting() {
        tokio::time::sleep(SETTLE).await;
    }
    connection.release();
    if told.is_none() {
        telling.await;
    }
}

/// Tells the client why it may not connect, and those handlers that had let it in that it is gone.
async fn refuse(socket: &Socket, door: &Arc<Door>, accepted: usize, refusal: &Refusal) {
    door.meters.refused.increment(1);
    socket.inbox().discard();
    socket.space().remove(socket);
    socket.client().refused(socket, refusal);
    for handler in &door.handlers[..accepted] {
        guarded(handler.disconnect(socket, DisconnectReason::ServerNamespaceDisconnect)).await;
    }
}

impl Refusal {
    /// The payload of the CONNECT_ERROR packet.
    pub(super) fn to_json(&self) -> String {
        match &self.data {
            None => json!({"message": self.message}),
            Some(data) => json!({"message": self.message, "data": data}),
        }
        .to_string()
    }

    /// The payload of the ERROR packet of protocol 4: the data, or else the message.
    pub(super) fn to_json_v4(&self) -> String {
        self.data
            .clone()
            .unwrap_or_else(|| self.message.clone().into())
            .to_string()
    }
}
