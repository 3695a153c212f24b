//! A client connects to a namespace.

use std::time::{Duration, SystemTime};

use super::socket::Socket;
use crate::app::{Caller, Error, Refusal};

/// The time between the packet that connects a client and what was emitted to it before. Clients that look at one message at a time
/// would miss what they read together with that packet; the protocol's own test suite is one.
const SETTLE: Duration = Duration::from_millis(1);

/// Lets a client in, or tells it why not.
pub(super) async fn admit(socket: &Socket) {
    let door = socket.space().door();
    let expires = match identify(socket).await {
        Ok(expires) => expires,
        Err(error) => return refuse(socket, &error.to_refusal()),
    };
    if let Err(refusal) = door.app.connect(Caller::Socket(socket.clone())).await {
        return refuse(socket, &refusal);
    }
    let is_connected = socket.inbox().unless_over(|| {
        door.meters.connects.increment(1);
        door.meters.sockets.increment(1.0);
        socket.set_connected();
    });
    if !is_connected {
        return;
    }
    if let Some(expires) = expires {
        disconnect_at(socket, expires);
    }
    if socket.has_early() {
        socket.client().connection().flush();
        tokio::time::sleep(SETTLE).await;
    }
    socket.open();
}

/// Takes over what the client's token says. Returns when the socket is to be disconnected for its age.
async fn identify(socket: &Socket) -> Result<Option<SystemTime>, Error> {
    let app = &socket.space().door().app;
    let handshake = socket.handshake();
    let token = app
        .tokens()
        .and_then(|tokens| tokens.find(&handshake.auth, &handshake.query));
    let Some(identity) = app.identify(token.as_deref(), app.decides())? else {
        return Ok(None);
    };
    for room in &identity.rooms {
        crate::app::allowed(room).map_err(|error| Error::forbidden(error.to_string()))?;
        socket.join(room)?;
    }
    let (user, expires) = (identity.user.clone(), identity.expires);
    socket.session().identify(identity, socket.session_limit())?;
    if let Some(user) = user {
        Caller::Socket(socket.clone()).session().bind_user(&user).await?;
    }
    Ok(expires.filter(|_| app.disconnects_expired()))
}

/// Disconnects a socket when its token expires, unless it has gone by then.
#[expect(clippy::disallowed_methods, reason = "a token expires at a time of day")]
fn disconnect_at(socket: &Socket, expires: SystemTime) {
    let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
    let weak = socket.downgrade();
    socket.client().server().runtime().spawn(async move {
        tokio::time::sleep(left).await;
        if let Some(socket) = weak.upgrade() {
            socket.disconnect();
        }
    });
}

/// Tells the client why it may not connect.
fn refuse(socket: &Socket, refusal: &Refusal) {
    socket.space().door().meters.refused.increment(1);
    if !socket.inbox().discard() {
        // It has left, and is nobody to be told: the client may be connecting again.
        return;
    }
    socket.space().remove(socket);
    socket.let_go();
    socket.client().refused(socket, refusal);
}

impl Refusal {
    /// The payload of the CONNECT_ERROR packet.
    pub(super) fn to_json(&self) -> String {
        match &self.data {
            None => serde_json::json!({"message": self.message}),
            Some(data) => serde_json::json!({"message": self.message, "data": data}),
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
