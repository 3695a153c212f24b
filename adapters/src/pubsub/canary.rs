//! Whether this host hears itself through the broker.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::gauge;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::ManagerError;
use crate::metric;

/// Canaries that may fail to come back before the subscription is made anew.
const MISSED: u32 = 2;

/// The message a host sends to itself, by the way all others take.
///
/// It is the heartbeat that shows the host to the others as well.
#[derive(Debug)]
pub(super) struct Canary {
    interval: Duration,
    heard: Mutex<Instant>,
    /// Why the newest could not be published.
    failure: Mutex<Option<String>>,
    subscribed: watch::Sender<bool>,
}

impl Canary {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            heard: Mutex::new(Instant::now()),
            failure: Mutex::default(),
            subscribed: watch::Sender::new(false),
        }
    }

    /// How often one is sent.
    pub(super) const fn interval(&self) -> Duration {
        self.interval
    }

    /// How long a subscription may be silent before it counts as deaf.
    pub(super) fn patience(&self) -> Duration {
        self.interval * MISSED
    }

    /// Whether there is a subscription that could hear one, and every change of it.
    pub(super) const fn subscribed(&self) -> &watch::Sender<bool> {
        &self.subscribed
    }

    /// One was sent, or could not be.
    pub(super) fn sent(&self, outcome: &Result<(), ManagerError>) {
        let failure = outcome.as_ref().err().map(ToString::to_string);
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// One came back.
    pub(super) fn heard(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.measure();
    }

    /// Whether one came back lately: within the patience.
    pub(super) fn is_heard(&self) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.elapsed() < self.patience()
    }

    /// Tells the metric how long ago the newest came back.
    fn measure(&self) {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        gauge!(metric::BROKER_CANARY_AGE).set(heard.elapsed().as_secs_f64());
    }

    /// Keeps the metric up to date while none comes back.
    pub(super) async fn keep_measuring(&self) {
        let mut ticks = tokio::time::interval(self.interval / 4);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.measure();
        }
    }

    /// Why none came back in time.
    pub(super) fn complaint(&self) -> String {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match &*failure {
            Some(failure) => format!("this host cannot publish, so it cannot hear itself: {failure}"),
            None => format!(
                "the subscription is silent: this host has not heard its own messages for {:?}",
                self.patience()
            ),
        }
    }
}
