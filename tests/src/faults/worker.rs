//! Workers that emit numbered events and keep book.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use hallporter_emitter::{EmitError, Emitter};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::crowd::{END, ROOMS, TICK, room};

/// How fast workers emit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// One event every 40 ms, each fifth to everyone.
    Steady,
    /// One event after the other without a pause, each hundredth to everyone.
    Storm,
}

impl Pace {
    const fn to_everyone(self) -> u64 {
        match self {
            Self::Steady => 5,
            Self::Storm => 100,
        }
    }
}

/// A worker with an [`Emitter`] of its own. What is not for everyone goes to one room after the other.
#[derive(Debug)]
pub struct Worker {
    name: &'static str,
    emitter: Emitter,
    /// The number of the event it emits next.
    next: Arc<AtomicU64>,
}

/// An event a worker emitted, or tried to.
#[derive(Debug)]
pub struct Sent {
    /// The room it was for; everyone without one.
    pub room: Option<usize>,
    /// When the worker began to emit it.
    pub begun: Instant,
    /// Whether the broker took it.
    pub outcome: Result<(), EmitError>,
}

/// What a worker emitted, by number.
pub type Book = BTreeMap<u64, Sent>;

/// A worker at work.
#[derive(Debug)]
pub struct Shift {
    name: &'static str,
    next: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    task: JoinHandle<(Worker, Book)>,
}

impl Worker {
    /// Connects one to the broker at this URL.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn connect(name: &'static str, url: &str) -> Result<Self> {
        let emitter = Emitter::connect(url).await?;
        let next = Arc::default();
        Ok(Self { name, emitter, next })
    }

    /// Puts it to work.
    #[must_use]
    pub fn start(self, pace: Pace) -> Shift {
        let (stop, stopped) = watch::channel(false);
        Shift {
            name: self.name,
            next: self.next.clone(),
            stop,
            task: tokio::spawn(self.work(pace, stopped)),
        }
    }

    async fn work(self, pace: Pace, stopped: watch::Receiver<bool>) -> (Self, Book) {
        let mut book = Book::new();
        let mut ticks = interval(Duration::from_millis(40));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*stopped.borrow() {
            if pace == Pace::Steady {
                ticks.tick().await;
            }
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let everyone = number.is_multiple_of(pace.to_everyone());
            let room = (!everyone).then_some(number as usize % ROOMS);
            let sent = Sent {
                room,
                begun: Instant::now(),
                outcome: self.emit(TICK, number, room).await,
            };
            book.insert(number, sent);
        }
        (self, book)
    }

    async fn emit(&self, event: &str, number: u64, to: Option<usize>) -> Result<(), EmitError> {
        let data = (self.name, number);
        match to {
            Some(to) => self.emitter.to(room(to)).emit(event, &data).await,
            None => self.emitter.emit(event, &data).await,
        }
    }

    /// Tells everyone that nothing more is coming from it.
    ///
    /// # Errors
    /// The broker does not take it.
    pub async fn end(&self) -> Result<()> {
        Ok(self.emit(END, self.next.load(Ordering::Relaxed), None).await?)
    }
}

impl Shift {
    /// The worker's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The lowest number of an event the worker has not begun to emit.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Waits until the worker has done what it began; returns it and its book.
    ///
    /// # Errors
    /// It panicked.
    pub async fn stop(self) -> Result<(Worker, Book)> {
        self.stop.send_replace(true);
        Ok(self.task.await?)
    }
}
