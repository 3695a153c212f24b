//! Why a socket is gone.

/// Why a socket is gone, in the words of Socket.IO servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The connection was closed.
    TransportClose,
    /// The connection broke.
    TransportError,
    /// The client did not answer a heartbeat in time.
    PingTimeout,
    /// The client sent what is no packet.
    ParseError,
    /// The client left the namespace.
    ClientNamespaceDisconnect,
    /// The socket was disconnected from here.
    ServerNamespaceDisconnect,
    /// The gateway is going.
    ServerShuttingDown,
}

impl DisconnectReason {
    /// The reason as Socket.IO servers name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TransportClose => "transport close",
            Self::TransportError => "transport error",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
            Self::ServerShuttingDown => "server shutting down",
        }
    }
}
