//! What a gateway does again and again.

use std::sync::Arc;
use std::time::Duration;

use hallporter_adapters::{Args, ClientManager, Status};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{App, BoxHandler, Caller, Request};

/// A handler that is called again and again.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) when: When,
    pub(crate) handler: BoxHandler,
}

/// When a job is due.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// At intervals.
    Every(Duration),
    /// At intervals, on the one gateway of the cluster that leads it.
    EveryOncePerCluster(Duration),
    /// When messages of the broker come in, for the first time or again.
    Listening,
}

impl Job {
    /// What the log and `on_error` call it.
    fn name(&self) -> String {
        match self.when {
            When::Every(interval) | When::EveryOncePerCluster(interval) => {
                format!("every {}", humantime::format_duration(interval))
            }
            When::Listening => "listening".into(),
        }
    }

    /// # Errors
    /// When there is no time between calls, or the handler asks for what there is not.
    pub(crate) fn check(&self, app: &App) -> Result<(), String> {
        let no_interval = || {
            let none = Duration::ZERO;
            let is_none =
                matches!(self.when, When::Every(interval) | When::EveryOncePerCluster(interval) if interval == none);
            is_none.then(|| "has no interval".to_owned())
        };
        match self.handler.missing(&app.shared).or_else(no_interval) {
            Some(problem) => Err(format!("the job {:?} {problem}", self.name())),
            None => Ok(()),
        }
    }

    /// Calls the handler until the gateway closes, one call after the other: a call that takes longer than the interval puts off the next.
    pub(crate) async fn run(self, app: Arc<App>, manager: Arc<dyn ClientManager>, closing: CancellationToken) {
        let mut turns = Turns::new(self.when, manager.as_ref());
        let name = self.name();
        while let Some(Some(())) = closing.run_until_cancelled(turns.next()).await {
            let request = Request::new(app.clone(), Caller::nobody(app.name()), name.clone(), Args::none());
            let _ = app.ask(&self.handler, request).await;
        }
    }
}

/// The times at which a job is due.
enum Turns {
    At(Interval),
    AtWhileLeading(Interval, watch::Receiver<bool>),
    Listening(watch::Receiver<Status>),
}

impl Turns {
    fn new(when: When, manager: &dyn ClientManager) -> Self {
        let at = |interval| {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        match when {
            When::Every(interval) => Self::At(at(interval)),
            When::EveryOncePerCluster(interval) => Self::AtWhileLeading(at(interval), manager.leads()),
            When::Listening => {
                let mut status = manager.status();
                // It may be listening already.
                status.mark_changed();
                Self::Listening(status)
            }
        }
    }

    /// Waits for the next; `None` when there is none any more.
    async fn next(&mut self) -> Option<()> {
        loop {
            let is_due = match self {
                Self::At(ticks) => {
                    ticks.tick().await;
                    true
                }
                Self::AtWhileLeading(ticks, leads) => {
                    leads.wait_for(|leads| *leads).await.ok()?;
                    ticks.tick().await;
                    // It may have been another's turn meanwhile.
                    *leads.borrow()
                }
                Self::Listening(status) => {
                    status.changed().await.ok()?;
                    *status.borrow_and_update() == Status::Listening
                }
            };
            if is_due {
                return Some(());
            }
        }
    }
}
