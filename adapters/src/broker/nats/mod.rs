//! NATS: the messages that python-socketio's format knows, on subjects named as the topics.

mod connection;
mod login;
mod queue;
mod streams;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use async_nats::{ConnectError, ConnectErrorKind, ConnectOptions, ReconnectToServer, ServerAddr, Subscriber};
use bytes::Bytes;
use futures_util::future::ready;
use futures_util::stream::{BoxStream, select_all};
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, timeout, timeout_at};

use self::connection::{Connection, Line};
use self::login::Login;
use super::inbox::{Inbox, inbox};
use super::slot::{Slot, TIMEOUT, within};
use super::tls::Ca;
use super::{Broker, BrokerError, Delivery, QueueLimits, Task};
use crate::url::BrokerUrl;

/// Messages between the connection and the listener's buffer; what comes while it is full is a slow-consumer notice.
const SUBSCRIPTION: usize = 65_536;

/// Other servers of the cluster that are remembered, for when the one of the URL is away.
const MAX_OTHERS: usize = 4;

/// The longest subject, in bytes. What does not fit into a line of the protocol (4 KiB) ends the connection.
const MAX_SUBJECT: usize = 1024;

/// An address where nobody can be: it ends the client library's attempts to connect by itself.
const NOWHERE: &str = "nats://127.0.0.1:0";

/// The [`Broker`] over NATS 2.2 or later.
///
/// One connection publishes and one listens, so that each can break alone. Each also subscribes to an inbox of its own
/// and publishes there: the server handles what a connection sends in order, so an echo proves that it has all that was sent before.
/// Users with restricted rights need `_INBOX.>` for both.
///
/// Queues are kept by JetStream, which has to be on. Each taker has a connection of its own.
#[derive(Debug)]
pub struct NatsBroker {
    url: BrokerUrl,
    server: ServerAddr,
    login: Login,
    ca: Ca,
    others: StdMutex<Vec<ServerAddr>>,
    publisher: Slot<Connection>,
    limits: QueueLimits,
}

impl NatsBroker {
    /// Names the server, and the channel that will be the subject; connects on first use.
    ///
    /// # Errors
    /// When the channel is no subject, the URL has unknown parameters, or a file that it names cannot be read.
    pub fn new(url: BrokerUrl, channel: &str) -> Result<Self, BrokerError> {
        check_subject(channel)?;
        let [nkey, creds, ca] = url.parameters([
            ("nkey", "the file of a seed"),
            ("creds", "a credentials file"),
            ("ca", "the file of the CA's certificates"),
        ])?;
        let login = Login::of(&url, nkey, creds);
        login.apply(ConnectOptions::new())?;
        Ok(Self {
            server: server(&url.address())?,
            ca: Ca::new(ca)?,
            url,
            login,
            others: StdMutex::default(),
            publisher: Slot::default(),
            limits: QueueLimits::default(),
        })
    }

    /// With other bounds for queues, which tests need.
    #[doc(hidden)]
    #[must_use]
    pub fn with_queue_limits(self, limits: QueueLimits) -> Self {
        Self { limits, ..self }
    }

    /// The server of the URL or, while it is away, another of its cluster.
    async fn open(&self) -> Result<Connection, BrokerError> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let patience = TIMEOUT / (1 + u32::try_from(others.len()).unwrap_or(u32::MAX - 1));
        let mut failed = None;
        for server in [self.server.clone()].into_iter().chain(others) {
            let opened = timeout(patience, self.open_at(&server)).await;
            match opened.unwrap_or(Err(BrokerError::TimedOut(patience))) {
                Ok(connection) => {
                    self.remember(&connection.others());
                    return Ok(connection);
                }
                Err(error @ BrokerError::Refused(_)) => return Err(error),
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        Err(failed.unwrap_or(BrokerError::TimedOut(TIMEOUT)))
    }

    async fn open_at(&self, server: &ServerAddr) -> Result<Connection, BrokerError> {
        let line = Line::default();
        let mut options = self.login.apply(ConnectOptions::new())?.name("hallporter");
        if let Some(ca) = self.ca.file() {
            options = options.add_root_certificates(ca.into());
        }
        let events = line.clone();
        let options = options.event_callback(move |event| {
            events.note(event);
            ready(())
        });
        // The library cannot be told not to reconnect: its first attempt to do so goes nowhere, and it may make only one.
        let nowhere = self::server(NOWHERE)?;
        let servers = vec![server.clone(), nowhere.clone()];
        let connected = Arc::new(AtomicBool::new(false));
        let (server, made) = (server.clone(), connected.clone());
        let options = options
            .max_reconnects(1)
            .ignore_discovered_servers()
            .reconnect_to_server_callback(move |_, _| {
                let addr = if made.load(Ordering::Relaxed) {
                    &nowhere
                } else {
                    &server
                };
                ready(Some(ReconnectToServer {
                    addr: addr.clone(),
                    delay: Some(Duration::ZERO),
                }))
            })
            .connection_timeout(TIMEOUT)
            .ping_interval(TIMEOUT)
            .subscription_capacity(SUBSCRIPTION);
        let client = options.connect(servers).await;
        let client = client.map_err(|error| self.ca.explain(connect_error(&error)))?;
        connected.store(true, Ordering::Relaxed);
        Connection::new(client, line).await
    }

    fn remember(&self, addresses: &[String]) {
        let scheme = self.server.scheme();
        let others = addresses
            .iter()
            .filter_map(|address| server(&format!("{scheme}://{address}")).ok());
        let others = others.filter(|other| *other != self.server).take(MAX_OTHERS);
        *self.others.lock().unwrap_or_else(PoisonError::into_inner) = others.collect();
    }
}

impl Broker for NatsBroker {
    fn url(&self) -> &str {
        self.url.masked()
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        self.publisher.get(|| self.open()).await.map(drop)
    }

    async fn publish(&self, topic: &str, body: Bytes) -> Result<(), BrokerError> {
        check_subject(topic)?;
        let late = |_| BrokerError::TimedOut(TIMEOUT);
        let deadline = Instant::now() + TIMEOUT;
        let connection = self.publisher.get(|| self.open()).await?;
        let published = timeout_at(deadline, connection.publish(topic.into(), body)).await;
        published.map_err(late).unwrap_or_else(|error| {
            connection.give_up();
            Err(error)
        })
    }

    async fn listeners(&self, _topics: [&str; 2]) -> Option<[usize; 2]> {
        None
    }

    async fn listen(
        &self,
        topics: &[String],
    ) -> Result<impl Stream<Item = Delivery> + Send + Unpin + 'static, BrokerError> {
        let subscribed = async {
            let connection = self.open().await?;
            let subscriptions = connection.subscribe(topics).await?;
            Ok((connection, subscriptions))
        };
        let (connection, subscriptions) = within(subscribed).await?;
        let (inbox, messages) = inbox();
        // Without a budget: what is not taken over before the connection is read again may be dropped.
        tokio::spawn(tokio::task::unconstrained(fill(inbox, connection, subscriptions)));
        Ok(messages)
    }

    async fn put(&self, queue: &str, body: Bytes) -> Result<(), BrokerError> {
        let connection = self.publisher.get(|| self.open()).await?;
        let put = connection.streams().put(queue, body, self.limits);
        let put = connection.with_queue(queue, put).await;
        if let Err(BrokerError::TimedOut(_)) = put {
            connection.give_up();
        }
        put
    }

    async fn take(&self, queue: &str, in_hand: usize) -> Result<BoxStream<'static, Task>, BrokerError> {
        let connection = within(self.open()).await?;
        Box::pin(queue::take(connection, queue, in_hand, self.limits)).await
    }
}

/// Takes messages from the connection until it breaks or nobody listens any more.
async fn fill(inbox: Inbox, connection: Connection, subscriptions: Vec<Subscriber>) {
    let mut messages = select_all(subscriptions);
    loop {
        let message = tokio::select! {
            biased;
            message = messages.next() => message,
            () = connection.broken() => return,
            () = inbox.closed() => return,
        };
        let Some(message) = message else {
            return;
        };
        inbox.take(Delivery {
            topic: Bytes::copy_from_slice(message.subject.as_bytes()),
            body: message.payload,
        });
    }
}

fn server(address: &str) -> Result<ServerAddr, BrokerError> {
    let server = address.parse::<ServerAddr>();
    server.map_err(|error| BrokerError::Refused(error.to_string()))
}

/// What may be a subject: tokens between dots, without white space and wildcards.
fn check_subject(subject: &str) -> Result<(), BrokerError> {
    let wrong = |character: char| character.is_whitespace() || character.is_control() || "*>".contains(character);
    if subject.len() > MAX_SUBJECT {
        return Err(BrokerError::Refused(format!(
            "a NATS subject of {} bytes is too long: {MAX_SUBJECT} are allowed",
            subject.len()
        )));
    }
    if subject.contains(wrong) || subject.split('.').any(str::is_empty) {
        return Err(BrokerError::Refused(format!(
            "{subject:?} cannot be a NATS subject: no white space, no * and >, and no dot but between other characters"
        )));
    }
    Ok(())
}

fn connect_error(error: &ConnectError) -> BrokerError {
    match error.kind() {
        ConnectErrorKind::TimedOut => BrokerError::TimedOut(TIMEOUT),
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            BrokerError::Refused(error.to_string())
        }
        _ => BrokerError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_subject_is_no_channel() {
        let url = BrokerUrl::parse("nats://h").unwrap();
        for channel in ["socketio", "a.b-c_d", "é", "a/b"] {
            NatsBroker::new(url.clone(), channel).unwrap();
        }
        for channel in [
            "", ".", "a b", "a\tb", "a\n", "a.*", "a.>", ">", "a*", ".a", "a.", "a..b",
        ] {
            let error = NatsBroker::new(url.clone(), channel).unwrap_err().to_string();
            assert!(error.contains(&format!("{channel:?}")), "{error}");
        }
    }

    #[test]
    fn what_stands_in_the_url_is_understood_or_named_and_never_shown() {
        let broker = |url: &str| NatsBroker::new(BrokerUrl::parse(url).unwrap(), "c");
        let shown = format!("{:?}", broker("nats://s3cret@h").unwrap());
        assert!(!shown.contains("s3cret"), "{shown}");
        let shown = format!("{:?}", broker("tls://me:s3cret@h:1").unwrap());
        assert!(!shown.contains("s3cret"), "{shown}");
        for (url, named) in [
            ("nats://h?nkey=/nowhere/seed", "/nowhere/seed"),
            ("nats://h?creds=/nowhere/user.creds", "/nowhere/user.creds"),
            ("nats://h?credentials=x", "credentials"),
        ] {
            let error = broker(url).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
