//! Collecting the acks of clients, wherever they are.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::living::MAX_HOSTS;
use super::pending::{Entry, Pending};
use crate::{Ack, ManagerError, Receipt};

/// Acks that may lie unread before further ones are dropped.
const QUEUE: usize = 4096;

/// The acks to one emit, as they come, from all hosts.
///
/// It ends when every client that was asked has answered, and at the latest at its time-out. Hallporter hosts say how many clients
/// they asked; python-socketio hosts do not, so while one listens it ends at the time-out. Redis can tell whether one does;
/// with other brokers that is known once one has passed on an ack or asked for one.
#[derive(Debug)]
pub struct AckStream {
    /// What is asked of clients of this host, until all have answered or gone.
    here: Option<Here>,
    /// What clients of other hosts answer.
    acks: mpsc::Receiver<Ack>,
    expected: watch::Receiver<Expected>,
    foreign: Arc<ForeignHosts>,
    /// How many foreign hosts listen, where the broker can tell.
    foreign_listeners: Option<usize>,
    deadline: Instant,
    received: usize,
    /// Whether this host holds clients, and asked those that are meant.
    asked_here: bool,
    /// Clients of this host that have gone or taken too long.
    lost_here: usize,
    over: bool,
    /// Makes the answers of other hosts find their way here.
    entry: Entry<Ask>,
}

/// Clients of this host that were asked.
#[derive(Debug)]
struct Here {
    answers: mpsc::Receiver<Ack>,
    /// How many have not answered.
    left: usize,
}

impl Here {
    /// The next answer; `None` when there will be no more.
    async fn next(here: &mut Option<Self>) -> Option<Ack> {
        match here {
            Some(here) => here
                .answers
                .recv()
                .await
                .inspect(|_| here.left = here.left.saturating_sub(1)),
            None => std::future::pending().await,
        }
    }
}

/// An emit whose acks are being waited for.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    acks: mpsc::Sender<Ack>,
    expected: watch::Sender<Expected>,
}

/// How many acks are to come.
#[derive(Debug)]
struct Expected {
    count: usize,
    /// Of those of other hosts, how many have gone or taken too long.
    lost: usize,
    /// Hosts that have not said yet how many clients they asked.
    unheard: HashSet<String>,
    /// Hosts that have; one that was not known when the asking began may be among them.
    heard: HashSet<String>,
}

/// What is known of hosts that are not Hallporter's.
#[derive(Debug, Default)]
pub(super) struct ForeignHosts {
    heard: AtomicBool,
    hold_clients: AtomicBool,
}

impl ForeignHosts {
    /// One published something; it may hold clients or only emit.
    pub(super) fn heard(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    fn were_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    fn hold_clients(&self) -> bool {
        self.hold_clients.load(Ordering::Relaxed)
    }

    /// One passed on an ack or asked for one, so it holds clients.
    pub(super) fn holds_clients(&self) {
        self.hold_clients.store(true, Ordering::Relaxed);
    }
}

impl Ask {
    /// An ack came from another host. Returns whether there was room for it.
    pub(super) fn answer(&self, ack: Ack) -> bool {
        !matches!(self.acks.try_send(ack), Err(mpsc::error::TrySendError::Full(_)))
    }

    /// Another host said how many clients it asked.
    pub(super) fn expect(&self, host: &str, count: usize) {
        self.expected.send_if_modified(|expected| {
            expected.unheard.remove(host);
            let first = expected.heard.len() < MAX_HOSTS && expected.heard.insert(host.to_owned());
            if first {
                expected.count = expected.count.saturating_add(count);
            }
            first
        });
    }

    /// Clients of another host that were asked will not answer.
    pub(super) fn lost(&self, count: usize) {
        self.expected
            .send_modify(|expected| expected.lost = expected.lost.saturating_add(count));
    }

    /// Another host left. What it had not said yet it will not say.
    pub(super) fn gone(&self, host: &str) {
        self.expected.send_if_modified(|expected| expected.unheard.remove(host));
    }
}

impl AckStream {
    /// Opens a stream, and the ask that feeds it.
    ///
    /// # Errors
    /// When too many are open.
    pub(super) fn open(
        asks: &Pending<Ask>,
        foreign: Arc<ForeignHosts>,
        others: HashSet<String>,
        timeout: Duration,
    ) -> Result<(Self, Ask), ManagerError> {
        let (sender, acks) = mpsc::channel(QUEUE);
        let expected = watch::Sender::new(Expected {
            count: 0,
            lost: 0,
            unheard: others,
            heard: HashSet::new(),
        });
        let ask = Ask { acks: sender, expected };
        let stream = Self {
            here: None,
            acks,
            expected: ask.expected.subscribe(),
            entry: asks.insert(ask.clone())?,
            foreign,
            foreign_listeners: None,
            deadline: Instant::now() + timeout,
            received: 0,
            asked_here: false,
            lost_here: 0,
            over: false,
        };
        Ok((stream, ask))
    }

    /// Asks clients of this host: `deliver` is given where their answers go, and tells how many are asked.
    pub(super) fn ask_here(&mut self, ask: &Ask, deliver: impl FnOnce(mpsc::Sender<Ack>) -> usize) {
        let (sender, answers) = mpsc::channel(QUEUE);
        let left = deliver(sender);
        ask.expected.send_modify(|expected| expected.count += left);
        self.here = Some(Here { answers, left });
        self.asked_here = true;
    }

    /// Only clients of this host are asked.
    pub(super) fn nobody_else(&mut self, ask: &Ask) {
        ask.expected.send_modify(|expected| expected.unheard.clear());
        self.foreign_listeners = Some(0);
    }

    /// So many foreign hosts listen, where the broker can tell.
    pub(super) const fn expect_foreign(&mut self, listeners: Option<usize>) {
        self.foreign_listeners = listeners;
    }

    /// Nobody is asked.
    pub(super) fn end(mut self) -> Self {
        self.over = true;
        self
    }

    /// The number other hosts give their answers.
    pub(super) const fn id(&self) -> u64 {
        self.entry.id()
    }

    /// The next ack; `None` when there will be no more.
    pub async fn next(&mut self) -> Option<Ack> {
        while !self.over {
            if let Ok(ack) = self.acks.try_recv() {
                self.received += 1;
                return Some(ack);
            }
            if self.complete() {
                self.over = true;
                break;
            }
            tokio::select! {
                ack = Here::next(&mut self.here) => match ack {
                    Some(ack) => {
                        self.received += 1;
                        return Some(ack);
                    }
                    None => self.lost_here = self.here.take().map_or(0, |here| here.left),
                },
                Some(ack) = self.acks.recv() => {
                    self.received += 1;
                    return Some(ack);
                }
                Ok(()) = self.expected.changed() => {}
                () = tokio::time::sleep_until(self.deadline) => self.over = true,
            }
        }
        None
    }

    /// All acks and how many are missing, once no more will come.
    pub async fn all(mut self) -> (Vec<Ack>, usize) {
        let mut acks = Vec::new();
        while let Some(ack) = self.next().await {
            acks.push(ack);
        }
        (acks, self.missing())
    }

    /// How many of the clients that were asked, as far as is known, have not answered.
    pub fn missing(&self) -> usize {
        self.expected.borrow().count.saturating_sub(self.received)
    }

    /// Where the emit has gone, as far as hosts have said by now; its `sockets` are the clients that were asked.
    pub fn receipt(&self) -> Receipt {
        let expected = self.expected.borrow();
        let mut missing: Vec<String> = expected.unheard.iter().cloned().collect();
        missing.sort();
        Receipt {
            sockets: expected.count,
            gateways: expected.heard.len() + usize::from(self.asked_here),
            missing,
        }
    }

    fn complete(&self) -> bool {
        let expected = self.expected.borrow();
        let foreign_may_answer = match self.foreign_listeners {
            Some(count) => count > 0,
            None => self.foreign.hold_clients() || (expected.count == 0 && self.foreign.were_heard()),
        };
        let settled = self.received + self.lost_here + expected.lost;
        expected.unheard.is_empty() && settled >= expected.count && !foreign_may_answer
    }
}
