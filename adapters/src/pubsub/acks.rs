//! Collecting the acks of clients, wherever they are.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::hosts::MAX_HOSTS;
use super::pending::{Entry, Pending};
use crate::{Ack, ManagerError};

/// Acks that may lie unread before further ones are dropped.
const QUEUE: usize = 4096;

/// The acks to one emit, as they come, from all hosts.
///
/// It ends when every client that was asked has answered, and at the latest at its time-out. Hallporter hosts say how many clients
/// they asked; python-socketio hosts do not, so while one listens it ends at the time-out. Redis can tell whether one does;
/// with other brokers that is known once one has passed on an ack or asked for one.
#[derive(Debug)]
pub struct AckStream {
    acks: mpsc::Receiver<Ack>,
    expected: watch::Receiver<Expected>,
    foreign: Arc<ForeignHosts>,
    /// How many foreign hosts listen, where the broker can tell.
    foreign_listeners: Option<usize>,
    deadline: Instant,
    received: usize,
    over: bool,
    /// Makes the answers of other hosts find their way here.
    entry: Entry<Ask>,
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
    pub(super) fn sender(&self) -> mpsc::Sender<Ack> {
        self.acks.clone()
    }

    /// So many clients of this host were asked.
    pub(super) fn asked(&self, count: usize) {
        self.expected.send_modify(|expected| expected.count += count);
    }

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
            unheard: others,
            heard: HashSet::new(),
        });
        let ask = Ask { acks: sender, expected };
        let stream = Self {
            acks,
            expected: ask.expected.subscribe(),
            entry: asks.insert(ask.clone())?,
            foreign,
            foreign_listeners: None,
            deadline: Instant::now() + timeout,
            received: 0,
            over: false,
        };
        Ok((stream, ask))
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

    fn complete(&self) -> bool {
        let expected = self.expected.borrow();
        let foreign_may_answer = match self.foreign_listeners {
            Some(count) => count > 0,
            None => self.foreign.hold_clients() || (expected.count == 0 && self.foreign.were_heard()),
        };
        expected.unheard.is_empty() && self.received >= expected.count && !foreign_may_answer
    }
}
