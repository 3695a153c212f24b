//! A connection that knows when the server has what was sent.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Client, Event, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use metrics::counter;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::BrokerError;
use super::super::slot::{Whole, within};
use super::streams::{Streams, stream_name};
use crate::metric;

/// Publishers that one echo tells that the server has their messages.
const MAX_WAITERS: usize = 1024;

/// A refusal is told beside the echo, not in order with it; so long it may come after.
const LATE_REFUSAL: Duration = Duration::from_millis(20);

/// Subjects that are remembered because nothing came after the echo of the first message.
const MAX_ALLOWED: usize = 1024;

/// A connection, with its inbox.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    client: Client,
    inbox: Subject,
    waiters: mpsc::Sender<Waiter>,
    /// Where this connection may publish; a server that takes rights away ends it.
    allowed: Arc<Mutex<HashSet<String>>>,
    streams: Streams,
    line: Line,
}

/// Who waits for the next echo.
type Waiter = oneshot::Sender<Result<(), BrokerError>>;

/// What is told of a connection beside its messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// The connection has ended, does not answer, or is about to be closed; whoever comes next makes another.
    broken: CancellationToken,
    /// The server's newest complaint.
    complaint: watch::Sender<String>,
}

impl Connection {
    /// The inbox is there when this returns, and the server has shown so.
    pub(super) async fn new(client: Client, line: Line) -> Result<Self, BrokerError> {
        let inbox = Subject::from(client.new_inbox());
        let echoes = client.subscribe(inbox.clone()).await.map_err(|_| ended())?;
        let (waiters, asked) = mpsc::channel(MAX_WAITERS);
        let connection = Self {
            streams: Streams::new(client.clone()),
            client,
            inbox,
            waiters,
            allowed: Arc::default(),
            line,
        };
        let (client, inbox, line) = (&connection.client, &connection.inbox, &connection.line);
        tokio::spawn(answer(client.clone(), inbox.clone(), line.clone(), echoes, asked));
        connection.echo().await?;
        Ok(connection)
    }

    /// Further addresses of the server's cluster.
    pub(super) fn others(&self) -> Vec<String> {
        self.client.server_info().connect_urls
    }

    /// Has whoever comes next make another connection.
    pub(super) fn give_up(&self) {
        self.line.broken.cancel();
    }

    /// Returns when the connection has ended.
    pub(super) async fn broken(&self) {
        self.line.broken.cancelled().await;
    }

    /// What JetStream keeps.
    pub(super) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Says something without waiting for the server to hear it.
    pub(super) async fn say(&self, subject: Subject, word: &'static [u8]) -> Result<(), BrokerError> {
        let said = self.client.publish(subject, Bytes::from_static(word)).await;
        said.map_err(|_| ended())
    }

    /// Says something, and returns when the server has answered.
    pub(super) async fn ask(&self, subject: Subject, word: &'static [u8]) -> Result<(), BrokerError> {
        let answer = self.client.request(subject, Bytes::from_static(word)).await;
        answer
            .map(drop)
            .map_err(|error| BrokerError::Unavailable(error.to_string()))
    }

    /// Does something with a queue for as long as the connection holds, and not too long. The server does not answer what a user has no right to
    /// ask; it complains.
    pub(super) async fn with_queue<T>(
        &self,
        queue: &str,
        action: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<T, BrokerError> {
        let mut complaint = self.line.complaint.subscribe();
        let stream = stream_name(queue);
        let complained = async {
            while complaint.changed().await.is_ok() {
                let said = complaint.borrow_and_update().clone();
                if said.contains(&stream) || said.contains(queue) {
                    return BrokerError::Refused(said);
                }
            }
            ended()
        };
        tokio::select! {
            biased;
            done = within(action) => done,
            () = self.broken() => Err(ended()),
            error = complained => Err(error),
        }
    }

    /// Returns when the server has the message.
    pub(super) async fn publish(&self, subject: Subject, body: Bytes) -> Result<(), BrokerError> {
        let (size, limit) = (body.len(), self.client.max_payload());
        if size > limit {
            let reason = format!("the message of {size} bytes is too large: the server's max_payload is {limit} bytes");
            return Err(BrokerError::Refused(reason));
        }
        let mut complaint = self.line.complaint.subscribe();
        self.client.publish(subject.clone(), body).await.map_err(|_| ended())?;
        self.echo().await?;
        if self.allowed().contains(subject.as_str()) {
            return Ok(());
        }
        let refused = async {
            while complaint.changed().await.is_ok() {
                complained(&complaint.borrow_and_update(), "Publish", &subject)?;
            }
            Ok(())
        };
        timeout(LATE_REFUSAL, refused).await.unwrap_or(Ok(()))?;
        let mut allowed = self.allowed();
        if allowed.len() >= MAX_ALLOWED {
            allowed.clear();
        }
        allowed.insert(subject.to_string());
        Ok(())
    }

    fn allowed(&self) -> MutexGuard<'_, HashSet<String>> {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the server has all that this connection has sent so far.
    async fn echo(&self) -> Result<(), BrokerError> {
        let (waiter, echo) = oneshot::channel();
        self.waiters.send(waiter).await.map_err(|_| ended())?;
        echo.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Returns when the server has the subscriptions.
    pub(super) async fn subscribe(&self, topics: &[String]) -> Result<Vec<Subscriber>, BrokerError> {
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

impl Whole for Connection {
    fn is_whole(&self) -> bool {
        !self.line.broken.is_cancelled()
    }
}

impl Line {
    pub(super) fn note(&self, event: Event) {
        match event {
            // A server in lame-duck mode closes its connections soon, and takes no new ones.
            Event::Disconnected | Event::Closed | Event::LameDuckMode => self.broken.cancel(),
            Event::SlowConsumer(_) => counter!(metric::BROKER_DROPPED, "reason" => "slow_consumer").increment(1),
            Event::ServerError(error) => drop(self.complaint.send_replace(error.to_string())),
            Event::Connected | Event::Draining | Event::ClientError(_) => {}
        }
    }
}

/// Tells all who wait, with one echo for those who came while the one before was under way.
async fn answer(client: Client, inbox: Subject, line: Line, mut echoes: Subscriber, mut asked: mpsc::Receiver<Waiter>) {
    let mut waiters = Vec::new();
    while asked.recv_many(&mut waiters, MAX_WAITERS).await > 0 {
        let echoed = within(echo(&client, &inbox, &line, &mut echoes)).await;
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

pub(super) fn ended() -> BrokerError {
    BrokerError::Unavailable("the connection ended".into())
}
