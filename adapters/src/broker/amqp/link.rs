//! A connection to RabbitMQ whose socket is closed in any case.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use lapin::runtime::default_runtime;
use lapin::tcp::{AsyncTcpStream, RustlsConnector, RustlsConnectorConfig};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::BrokerError;
use super::super::slot::TIMEOUT;
use super::super::tls::Ca;
use super::broker_error;
use crate::url::BrokerUrl;

/// How often both sides of an idle connection show that they are there, in seconds, unless the URL says otherwise.
const HEARTBEAT: u16 = 10;

/// A connection and the one AMQP channel on it.
pub(super) struct Link {
    pub(super) connection: Connection,
    pub(super) channel: Channel,
    _socket: DropGuard,
}

/// Where RabbitMQ is, as the URL names it.
pub(super) struct Server {
    uri: AMQPUri,
    /// Who vouches for it, with TLS.
    ca: Option<Ca>,
}

impl Server {
    /// Reads it from the URL.
    pub(super) fn new(url: &BrokerUrl) -> Result<Self, BrokerError> {
        let heartbeat = ("heartbeat", "seconds between two signs of life");
        let ca = match url.is_tls() {
            true => {
                let [_, ca] = url.parameters([heartbeat, ("ca", "the file of the CA's certificates")])?;
                Some(Ca::new(ca)?)
            }
            false => url.parameters([heartbeat]).map(|[_]| None)?,
        };
        let mut uri: AMQPUri = url.as_amqp().parse().map_err(BrokerError::Refused)?;
        // lapin takes an IPv6 address for no host, and the path `/` for a virtual host without a name.
        uri.authority.host = url.host().to_owned();
        if uri.vhost.is_empty() {
            uri.vhost = "/".to_owned();
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        Ok(Self { uri, ca })
    }

    /// Connects and opens a channel.
    ///
    /// lapin serves each connection by a thread, which waits for the server without end when the handshake or the closing
    /// is given up. So the socket is made here and closed here.
    pub(super) async fn connect(&self) -> Result<Link, BrokerError> {
        let unavailable = |error: io::Error| BrokerError::Unavailable(error.to_string());
        let runtime = default_runtime().map_err(|error| broker_error(&error))?;
        let (host, port) = (self.uri.authority.host.clone(), self.uri.authority.port);
        let addresses = tokio::net::lookup_host((host.as_str(), port))
            .await
            .map_err(unavailable)?;
        let addresses = addresses.collect::<Vec<_>>();
        let mut stream = AsyncTcpStream::connect(&runtime, addresses)
            .await
            .map_err(unavailable)?;
        let socket = match &stream {
            AsyncTcpStream::Plain(plain) => plain.get_ref().as_fd().try_clone_to_owned().map_err(unavailable)?,
            _ => return Err(BrokerError::Unavailable("no TCP connection was made".into())),
        };
        let guard = close_when_dropped(socket.into());
        if let Some(ca) = &self.ca {
            let secured = stream.into_rustls(&connector(ca)?, &host).await;
            stream = secured.map_err(|error| ca.explain(unavailable(error)))?;
        }
        let stream = Mutex::new(Some(stream));
        let connect = async move |_, _| {
            let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
            // lapin would connect again by itself.
            stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected).into())
        };
        let properties = ConnectionProperties::default().with_connection_name("hallporter".into());
        let connection = Connection::connector(self.uri.clone(), runtime, connect, properties).await;
        let connection = connection.map_err(|error| broker_error(&error))?;
        let channel = connection.create_channel().await;
        Ok(Link {
            channel: channel.map_err(|error| broker_error(&error))?,
            connection,
            _socket: guard,
        })
    }
}

fn connector(ca: &Ca) -> Result<RustlsConnector, BrokerError> {
    let refused = |error: io::Error| BrokerError::Refused(error.to_string());
    let config = match ca.certificates()? {
        Some(certificates) => RustlsConnectorConfig::default().with_parsable_certificates(certificates),
        None => RustlsConnectorConfig::new_with_native_certs().map_err(refused)?,
    };
    config.connector_with_no_client_auth().map_err(refused)
}

/// Leaves lapin the time to take its leave of the server, and no more.
fn close_when_dropped(socket: TcpStream) -> DropGuard {
    let dropped = CancellationToken::new();
    let guard = dropped.clone().drop_guard();
    tokio::spawn(async move {
        dropped.cancelled().await;
        sleep(TIMEOUT).await;
        // Fails where the connection has ended.
        let _ = socket.shutdown(Shutdown::Both);
    });
    guard
}
