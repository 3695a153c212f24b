//! NATS: the messages that python-socketio's format knows, on subjects named as the topics.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ReconnectToServer, ServerAddr};
use async_nats::{Subject, Subscriber};
use bytes::Bytes;
use futures_util::future::ready;
use futures_util::stream::{poll_fn, select_all};
use futures_util::{Stream, StreamExt};
use metrics::counter;
use percent_encoding::percent_decode_str;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Broker, BrokerError, Delivery};
use crate::metric;
use crate::url::BrokerUrl;

/// How long to connect, and how long for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes a listener may be behind before messages are dropped (and counted).
const LISTEN_BUFFER: usize = 64 << 20;

/// What a message takes beside its topic and body, in bytes: even empty ones fill the memory some time.
const OVERHEAD: usize = 256;

/// Messages between the connection and the listener's buffer; what comes while it is full is a slow-consumer notice.
const SUBSCRIPTION: usize = 65_536;

/// Other servers of the cluster that are remembered, for when the one of the URL is away.
const MAX_OTHERS: usize = 4;

/// Publishers that one echo tells that the server has their messages.
const MAX_WAITERS: usize = 1024;

/// A refused subscription is told beside the echo, not in order with it; so long it may come after.
const LATE_REFUSAL: Duration = Duration::from_millis(5);

/// The longest subject, in bytes. What does not fit into a line of the protocol (4 KiB) ends the connection.
const MAX_SUBJECT: usize = 1024;

/// An address where nobody can be: it ends the client library's attempts to connect by itself.
const NOWHERE: &str = "nats://127.0.0.1:0";

/// The [`Broker`] over NATS 2.2 or later.
///
/// One connection publishes and one listens, so that each can break alone. Each also subscribes to an inbox of its own
/// and publishes there: the server handles what a connection sends in order, so an echo proves that it has all that was sent before.
/// Users with restricted rights need `_INBOX.>` for both.
#[derive(Debug)]
pub struct NatsBroker {
    url: BrokerUrl,
    server: ServerAddr,
    login: Login,
    others: StdMutex<Vec<ServerAddr>>,
    publisher: Mutex<Option<Connection>>,
}

/// How to show who one is.
enum Login {
    Nobody,
    User(String, String),
    Token(String),
    /// The file of a seed.
    Nkey(PathBuf),
    /// The file of a JWT and a seed.
    Credentials(PathBuf),
}

/// A connection, with its inbox.
#[derive(Clone, Debug)]
struct Connection {
    client: Client,
    inbox: Subject,
    waiters: mpsc::Sender<Waiter>,
    line: Line,
}

/// Who waits for the next echo.
type Waiter = oneshot::Sender<Result<(), BrokerError>>;

/// What is told of a connection beside its messages.
#[derive(Clone, Debug, Default)]
struct Line {
    /// The connection has ended, does not answer, or is about to be closed; whoever comes next makes another.
    broken: CancellationToken,
    /// The server's newest complaint.
    complaint: watch::Sender<String>,
}

impl NatsBroker {
    /// Names the server, and the channel that will be the subject; connects on first use.
    ///
    /// # Errors
    /// When the channel is no subject, the URL has unknown parameters, or a file that it names cannot be read.
    pub fn new(url: BrokerUrl, channel: &str) -> Result<Self, BrokerError> {
        check_subject(channel)?;
        let login = Login::of(&url)?;
        login.apply(ConnectOptions::new())?;
        if async_nats::rustls::crypto::CryptoProvider::get_default().is_none() {
            // Where rustls has several to choose from it would panic; that another was faster is all right.
            let _ = async_nats::rustls::crypto::ring::default_provider().install_default();
        }
        Ok(Self {
            server: server(&url.address())?,
            url,
            login,
            others: StdMutex::default(),
            publisher: Mutex::new(None),
        })
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
                    self.remember(&connection.client.server_info().connect_urls);
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
        let options = self.login.apply(ConnectOptions::new())?.name("hallporter");
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
        let client = options.connect(servers).await.map_err(|error| connect_error(&error))?;
        connected.store(true, Ordering::Relaxed);
        let connection = Connection::new(client, line).await?;
        connection.echo().await?;
        Ok(connection)
    }

    fn remember(&self, addresses: &[String]) {
        let scheme = self.server.scheme();
        let others = addresses
            .iter()
            .filter_map(|address| server(&format!("{scheme}://{address}")).ok());
        let others = others.filter(|other| *other != self.server).take(MAX_OTHERS);
        *self.others.lock().unwrap_or_else(PoisonError::into_inner) = others.collect();
    }

    /// Those who come while a connection is being made wait for it, but none longer than making one may take.
    async fn publisher(&self) -> Result<Connection, BrokerError> {
        let mut slot = self.publisher.lock().await;
        if let Some(publisher) = slot.as_ref().filter(|publisher| publisher.line.is_whole()) {
            return Ok(publisher.clone());
        }
        *slot = None;
        Ok(slot.insert(self.open().await?).clone())
    }
}

impl Login {
    fn of(url: &BrokerUrl) -> Result<Self, BrokerError> {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let mut login = match (url.user(), url.password()) {
            ("", None) => Self::Nobody,
            (token, None) => Self::Token(decode(token)),
            (user, Some(password)) => Self::User(decode(user), decode(password)),
        };
        for (name, value) in url.parameters() {
            login = match &*name {
                "nkey" => Self::Nkey(value.as_ref().into()),
                "creds" => Self::Credentials(value.as_ref().into()),
                _ => {
                    let known = "known are nkey (the file of a seed) and creds (a credentials file)";
                    return Err(BrokerError::Refused(format!("unknown parameter {name:?}; {known}")));
                }
            };
        }
        Ok(login)
    }

    /// Reads the file each time, so that it may be renewed while the process runs.
    fn apply(&self, options: ConnectOptions) -> Result<ConnectOptions, BrokerError> {
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path);
            text.map_err(|error| BrokerError::Refused(format!("cannot read {}: {error}", path.display())))
        };
        Ok(match self {
            Self::Nobody => options,
            Self::User(user, password) => options.user_and_password(user.clone(), password.clone()),
            Self::Token(token) => options.token(token.clone()),
            Self::Nkey(path) => options.nkey(read(path)?.trim().to_owned()),
            // The library's own error may quote the file.
            Self::Credentials(path) => options.credentials(&read(path)?).map_err(|_| {
                let path = path.display();
                BrokerError::Refused(format!(
                    "{path} is no credentials file: it should hold a user JWT and a seed"
                ))
            })?,
        })
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nobody => f.write_str("Nobody"),
            Self::User(user, _) => write!(f, "User({user:?}, ***)"),
            Self::Token(_) => f.write_str("Token(***)"),
            Self::Nkey(path) => write!(f, "Nkey({path:?})"),
            Self::Credentials(path) => write!(f, "Credentials({path:?})"),
        }
    }
}

impl Connection {
    async fn new(client: Client, line: Line) -> Result<Self, BrokerError> {
        let inbox = Subject::from(client.new_inbox());
        let echoes = client.subscribe(inbox.clone()).await.map_err(|_| ended())?;
        let (waiters, asked) = mpsc::channel(MAX_WAITERS);
        let connection = Self {
            client,
            inbox,
            waiters,
            line,
        };
        let (client, inbox, line) = (&connection.client, &connection.inbox, &connection.line);
        tokio::spawn(answer(client.clone(), inbox.clone(), line.clone(), echoes, asked));
        Ok(connection)
    }

    async fn publish(&self, subject: Subject, body: Bytes) -> Result<(), BrokerError> {
        let (size, limit) = (body.len(), self.client.max_payload());
        if size > limit {
            let reason = format!("the message of {size} bytes is too large: the server's max_payload is {limit} bytes");
            return Err(BrokerError::Refused(reason));
        }
        let mut complaint = self.line.complaint.subscribe();
        self.client.publish(subject.clone(), body).await.map_err(|_| ended())?;
        self.echo().await?;
        match complaint.has_changed() {
            Ok(true) => complained(&complaint.borrow_and_update(), "Publish", &subject),
            _ => Ok(()),
        }
    }

    /// Returns when the server has all that this connection has sent so far.
    async fn echo(&self) -> Result<(), BrokerError> {
        let (waiter, echo) = oneshot::channel();
        self.waiters.send(waiter).await.map_err(|_| ended())?;
        echo.await.unwrap_or_else(|_| Err(ended()))
    }

    async fn subscribe(&self, topics: &[String]) -> Result<Vec<Subscriber>, BrokerError> {
        let mut complaint = self.line.complaint.subscribe();
        let mut subscriptions = Vec::with_capacity(topics.len());
        for topic in topics {
            let subscription = self.client.subscribe(topic.clone()).await;
            subscriptions.push(subscription.map_err(|error| BrokerError::Refused(error.to_string()))?);
        }
        self.echo().await?;
        if let Ok(Ok(())) = timeout(LATE_REFUSAL, complaint.changed()).await {
            return Err(BrokerError::Refused(complaint.borrow_and_update().clone()));
        }
        Ok(subscriptions)
    }
}

impl Line {
    fn is_whole(&self) -> bool {
        !self.broken.is_cancelled()
    }

    fn note(&self, event: Event) {
        match event {
            // A server in lame-duck mode closes its connections soon, and takes no new ones.
            Event::Disconnected | Event::Closed | Event::LameDuckMode => self.broken.cancel(),
            Event::SlowConsumer(_) => counter!(metric::BROKER_DROPPED, "reason" => "slow_consumer").increment(1),
            Event::ServerError(error) => drop(self.complaint.send_replace(error.to_string())),
            Event::Connected | Event::Draining | Event::ClientError(_) => {}
        }
    }
}

impl Broker for NatsBroker {
    fn url(&self) -> &str {
        self.url.masked()
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        let connected = timeout(TIMEOUT, self.publisher()).await;
        connected.unwrap_or(Err(BrokerError::TimedOut(TIMEOUT))).map(drop)
    }

    async fn publish(&self, topic: &str, body: Bytes) -> Result<(), BrokerError> {
        check_subject(topic)?;
        let late = |_| BrokerError::TimedOut(TIMEOUT);
        let deadline = Instant::now() + TIMEOUT;
        let connection = timeout_at(deadline, self.publisher()).await.map_err(late)??;
        let published = timeout_at(deadline, connection.publish(topic.into(), body)).await;
        published.map_err(late).unwrap_or_else(|error| {
            connection.line.broken.cancel();
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
        let subscribed = timeout(TIMEOUT, subscribed).await;
        let (connection, subscriptions) = subscribed.unwrap_or(Err(BrokerError::TimedOut(TIMEOUT)))?;
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let behind = Arc::new(AtomicUsize::new(0));
        let inbox = Inbox {
            sender,
            behind: behind.clone(),
        };
        // Without a budget: what is not taken over before the connection is read again may be dropped.
        tokio::spawn(tokio::task::unconstrained(inbox.fill(connection, subscriptions)));
        Ok(poll_fn(move |context| {
            receiver.poll_recv(context).map(|item: Option<Delivery>| {
                let delivery = item?;
                behind.fetch_sub(cost(&delivery.topic, &delivery.body), Ordering::Relaxed);
                Some(delivery)
            })
        }))
    }
}

/// Takes messages from the connection. Bounded in bytes, which the subscriptions before it are not.
struct Inbox {
    sender: mpsc::UnboundedSender<Delivery>,
    behind: Arc<AtomicUsize>,
}

impl Inbox {
    /// Until the connection breaks or nobody listens any more.
    async fn fill(self, connection: Connection, subscriptions: Vec<Subscriber>) {
        let mut messages = select_all(subscriptions);
        loop {
            let message = tokio::select! {
                biased;
                message = messages.next() => message,
                () = connection.line.broken.cancelled() => return,
                () = self.sender.closed() => return,
            };
            let Some(message) = message else {
                return;
            };
            self.take(Delivery {
                topic: Bytes::copy_from_slice(message.subject.as_bytes()),
                body: message.payload,
            });
        }
    }

    fn take(&self, delivery: Delivery) {
        let size = cost(&delivery.topic, &delivery.body);
        if self.behind.fetch_add(size, Ordering::Relaxed) + size > LISTEN_BUFFER {
            self.behind.fetch_sub(size, Ordering::Relaxed);
            counter!(metric::BROKER_DROPPED, "reason" => "listen_buffer_full").increment(1);
            return;
        }
        // Whoever does not listen any more needs no message.
        let _ = self.sender.send(delivery);
    }
}

/// Tells all who wait, with one echo for those who came while the one before was under way.
async fn answer(client: Client, inbox: Subject, line: Line, mut echoes: Subscriber, mut asked: mpsc::Receiver<Waiter>) {
    let mut waiters = Vec::new();
    while asked.recv_many(&mut waiters, MAX_WAITERS).await > 0 {
        let echoed = timeout(TIMEOUT, echo(&client, &inbox, &line, &mut echoes)).await;
        let echoed = echoed.unwrap_or(Err(BrokerError::TimedOut(TIMEOUT)));
        if echoed.is_err() {
            line.broken.cancel();
        }
        for waiter in waiters.drain(..) {
            // Who has given up need not be told.
            let _ = waiter.send(echoed.clone());
        }
        if echoed.is_err() {
            return;
        }
    }
}

async fn echo(client: &Client, inbox: &Subject, line: &Line, echoes: &mut Subscriber) -> Result<(), BrokerError> {
    let mut complaint = line.complaint.subscribe();
    complaint.mark_changed();
    client.publish(inbox.clone(), Bytes::new()).await.map_err(|_| ended())?;
    loop {
        tokio::select! {
            biased;
            echo = echoes.next() => return echo.map(drop).ok_or_else(ended),
            changed = complaint.changed() => {
                changed.map_err(|_| ended())?;
                complained(&complaint.borrow_and_update(), "", inbox)?;
            }
        }
    }
}

/// Whether the server complained of this subject.
fn complained(complaint: &str, action: &str, subject: &str) -> Result<(), BrokerError> {
    match complaint.contains(action) && complaint.contains(&format!("\"{subject}\"")) {
        true => Err(BrokerError::Refused(complaint.to_owned())),
        false => Ok(()),
    }
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

fn server(address: &str) -> Result<ServerAddr, BrokerError> {
    let server = address.parse::<ServerAddr>();
    server.map_err(|error| BrokerError::Refused(error.to_string()))
}

const fn cost(topic: &[u8], body: &[u8]) -> usize {
    topic.len() + body.len() + OVERHEAD
}

fn ended() -> BrokerError {
    BrokerError::Unavailable("the connection ended".into())
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
    fn a_listener_that_is_behind_is_bounded_even_in_empty_messages() {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let inbox = Inbox {
            sender,
            behind: Arc::default(),
        };
        let most = LISTEN_BUFFER / OVERHEAD;
        for _ in 0..=most {
            inbox.take(Delivery {
                topic: Bytes::new(),
                body: Bytes::new(),
            });
        }
        let mut taken = 0;
        while receiver.try_recv().is_ok() {
            taken += 1;
        }
        assert_eq!(taken, most);
    }

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
