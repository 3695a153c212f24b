//! Which server a URL means, and how to reach it.

use redis::aio::MultiplexedConnection;
use redis::sentinel::{Sentinel, SentinelNodeConnectionInfo};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    TlsCertificates,
};

use super::super::BrokerError;
use super::super::slot::{TIMEOUT, within};
use super::super::tls::Ca;
use super::broker_error;
use crate::url::BrokerUrl;

/// Where Redis listens unless told otherwise.
const PORT: u16 = 6379;

/// Where Sentinels listen unless told otherwise.
const SENTINEL_PORT: u16 = 26379;

/// The parameters that redis-py and redis-rs have for what a URL with a host says elsewhere.
const DATABASE: (&str, &str) = ("db", "the database of queues; channels are common to all");
const CA: (&str, &str) = ("ca", "the file of the CA's certificates");

/// A server as a URL names it.
#[derive(Debug)]
pub(super) struct Server {
    place: Place,
    login: RedisConnectionInfo,
}

/// Where a server is.
#[derive(Debug)]
enum Place {
    Plain(ConnectionAddr),
    Tls(ConnectionAddr, Ca),
    /// Wherever the Sentinels say that the master of this service is.
    Sentinels(Vec<ConnectionAddr>, String),
}

impl Server {
    /// Reads it from the URL. Sentinels are asked for a service named as the channel unless the URL names another, as
    /// python-socketio does.
    pub(super) fn new(url: &BrokerUrl, channel: &str) -> Result<Self, BrokerError> {
        if url.is_socket() {
            return Self::socket(url);
        }
        let (place, database) = match () {
            () if url.is_sentinel() => (Self::sentinels(url, channel)?, None),
            () if url.is_tls() => {
                let [ca, database] = url.parameters([CA, DATABASE])?;
                let (host, port) = (url.host().to_owned(), url.port_or(PORT));
                let address = ConnectionAddr::TcpTls {
                    host,
                    port,
                    insecure: false,
                    tls_params: None,
                };
                (Place::Tls(address, Ca::new(ca)?), database)
            }
            () => {
                let [database] = url.parameters([DATABASE])?;
                let address = ConnectionAddr::Tcp(url.host().to_owned(), url.port_or(PORT));
                (Place::Plain(address), database)
            }
        };
        let database = database.or_else(|| url.path().next()).unwrap_or_default();
        let user = Some(url.user()).filter(|user| !user.is_empty());
        let login = login(user, url.password(), &database)?;
        Ok(Self { place, login })
    }

    fn socket(url: &BrokerUrl) -> Result<Self, BrokerError> {
        let [user, username, pass, password, database] = url.parameters([
            ("user", "the ACL user"),
            ("username", "the same"),
            ("pass", "its password"),
            ("password", "the same"),
            DATABASE,
        ])?;
        let path = url.file().ok_or_else(|| {
            BrokerError::Refused("a URL of a socket names its path alone: unix:///path/to/socket".to_owned())
        })?;
        Ok(Self {
            place: Place::Plain(ConnectionAddr::Unix(path)),
            login: login(user.or(username), pass.or(password), &database.unwrap_or_default())?,
        })
    }

    fn sentinels(url: &BrokerUrl, channel: &str) -> Result<Place, BrokerError> {
        let [] = url.parameters([])?;
        let sentinels = url
            .hosts(SENTINEL_PORT)
            .map(|(host, port)| ConnectionAddr::Tcp(host, port));
        // In front of the service stands the database.
        let service = url.path().nth(1).filter(|name| !name.is_empty());
        let service = service.unwrap_or_else(|| channel.to_owned());
        Ok(Place::Sentinels(sentinels.collect(), service))
    }

    /// Connects; where there are Sentinels, to whichever server is the master now, and says so itself when asked for its
    /// role: what is published on a replica never reaches those who listen at the master. When the Sentinels make a
    /// server a replica later, they end its connections.
    pub(super) async fn connect(&self, config: AsyncConnectionConfig) -> Result<MultiplexedConnection, BrokerError> {
        let config = config
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        within(async {
            let client = self.client().await?;
            let connection = client.get_multiplexed_async_connection_with_config(&config).await;
            connection.map_err(|error| self.explain(broker_error(&error)))
        })
        .await
    }

    async fn client(&self) -> Result<Client, BrokerError> {
        let info = |address: &ConnectionAddr| {
            let info = address.clone().into_connection_info()?;
            Ok(info.set_redis_settings(self.login.clone()))
        };
        let client = match &self.place {
            Place::Plain(address) => info(address).and_then(Client::open),
            Place::Tls(address, ca) => {
                let certificates = TlsCertificates {
                    client_tls: None,
                    root_cert: ca.pem()?,
                };
                info(address).and_then(|info| Client::build_with_tls(info, certificates))
            }
            Place::Sentinels(sentinels, service) => {
                let node = SentinelNodeConnectionInfo::default().set_redis_connection_info(self.login.clone());
                match Sentinel::build(sentinels.clone()) {
                    Ok(mut sentinels) => sentinels.async_master_for(service, Some(&node)).await,
                    Err(error) => Err(error),
                }
            }
        };
        client.map_err(|error| match (error.kind(), &self.place) {
            (ErrorKind::MasterNameNotFoundBySentinel, Place::Sentinels(_, service)) => {
                BrokerError::Unavailable(format!("the Sentinels know of no master of {service:?} that is up"))
            }
            _ => broker_error(&error),
        })
    }

    fn explain(&self, error: BrokerError) -> BrokerError {
        match &self.place {
            Place::Tls(_, ca) => ca.explain(error),
            Place::Plain(_) | Place::Sentinels(..) => error,
        }
    }
}

/// The first database needs not be selected.
fn login(user: Option<String>, password: Option<String>, database: &str) -> Result<RedisConnectionInfo, BrokerError> {
    let number = match database {
        "" => 0,
        text => text.parse::<u16>().map_err(|_| {
            BrokerError::Refused(format!(
                "{text:?} is no database of Redis: these have numbers, such as 0"
            ))
        })?,
    };
    // Messages come as pushes, a part of RESP3, so that they can be taken over without a copy.
    let mut login = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_db(number.into());
    if let Some(user) = user {
        login = login.set_username(user);
    }
    if let Some(password) = password {
        login = login.set_password(password);
    }
    Ok(login)
}
