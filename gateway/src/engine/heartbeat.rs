//! Heartbeats and time-outs of all sessions, by one sweep: a session owns no timer.
//!
//! Time is cut into ticks, and each tick has a list of the sessions it concerns. With Engine.IO 4 the gateway pings, for the first time once
//! the interval is over, and the client answers; with Engine.IO 3 it is the other way round.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::connection::{Closing, Connection};
use super::{Options, Protocol};

/// The longest tick.
const MAX_TICK: Duration = Duration::from_millis(250);
/// The shortest tick.
const MIN_TICK: Duration = Duration::from_millis(5);
/// Ticks in the shortest of the times that are kept.
const PRECISION: u32 = 32;
/// Lists: longer times come round several times.
const SLOTS: usize = 512;

/// The sessions by the time of their next beat.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    start: Instant,
    tick: Duration,
    slots: Mutex<Vec<Vec<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    /// In milliseconds since the start.
    due: u64,
    connection: Weak<Connection>,
    check: Check,
}

/// What is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// The heartbeat, again and again.
    Pulse,
    /// What the layer above waits for, once.
    Session,
}

impl Heartbeat {
    pub(crate) fn new(options: &Options) -> Self {
        let shortest = options
            .ping_interval
            .min(options.ping_timeout)
            .min(options.connect_timeout);
        Self {
            start: Instant::now(),
            tick: Duration::from_millis(millis((shortest / PRECISION).clamp(MIN_TICK, MAX_TICK))),
            slots: Mutex::new((0..SLOTS).map(|_| Vec::new()).collect()),
        }
    }

    /// Milliseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        millis(self.start.elapsed())
    }

    /// Watches a new session, for the first time after `after`.
    pub(crate) fn watch(&self, connection: &Arc<Connection>, after: Duration) {
        self.insert(connection, Check::Pulse, self.now() + millis(after));
    }

    /// Has the layer above look after its session once.
    pub(crate) fn check(&self, connection: &Arc<Connection>, after: Duration) {
        self.insert(connection, Check::Session, self.now() + millis(after));
    }

    fn insert(&self, connection: &Arc<Connection>, check: Check, due: u64) {
        let entry = Entry {
            due,
            connection: Arc::downgrade(connection),
            check,
        };
        let slot = self.slot(due);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots[slot].push(entry);
    }

    /// The list of the first tick at or after this time.
    fn slot(&self, due: u64) -> usize {
        (due.div_ceil(millis(self.tick)) % SLOTS as u64) as usize
    }

    /// Sweeps for ever.
    pub(crate) async fn run(&self) {
        let mut ticks = tokio::time::interval_at(self.start + self.tick, self.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for tick in 1u64.. {
            ticks.tick().await;
            self.sweep(tick);
        }
    }

    fn sweep(&self, tick: u64) {
        let slot = (tick % SLOTS as u64) as usize;
        let entries = std::mem::take(&mut self.slots.lock().unwrap_or_else(PoisonError::into_inner)[slot]);
        let now = tick * millis(self.tick);
        let mut later = Vec::new();
        for entry in entries {
            if entry.due > now {
                later.push(entry);
            } else if let Some(connection) = entry.connection.upgrade()
                && let Some(next) = connection.beat(entry.check)
            {
                self.insert(&connection, entry.check, next.max(now + 1));
            }
        }
        if !later.is_empty() {
            self.slots.lock().unwrap_or_else(PoisonError::into_inner)[slot].append(&mut later);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

/// The heartbeat of one session. Times are milliseconds since the start.
#[derive(Debug)]
pub(crate) struct Pulse {
    opened: u64,
    /// When the client last kept the heartbeat.
    heard: AtomicU64,
    /// When the gateway last pinged.
    pinged: AtomicU64,
    /// The gateway does not read from the client for now, so its answer may lie unread.
    is_paused: AtomicBool,
}

/// What a beat comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    pub(crate) ping: bool,
    pub(crate) next: u64,
}

impl Pulse {
    pub(crate) const fn new(now: u64) -> Self {
        Self {
            opened: now,
            heard: AtomicU64::new(now),
            pinged: AtomicU64::new(0),
            is_paused: AtomicBool::new(false),
        }
    }

    /// The client kept the heartbeat.
    pub(crate) fn heard(&self, now: u64) {
        self.heard.store(now, Ordering::Relaxed);
    }

    /// Reading from the client stops, or goes on.
    pub(crate) fn pause(&self, is_paused: bool, now: u64) {
        if self.is_paused.swap(is_paused, Ordering::Relaxed) != is_paused {
            self.heard(now);
        }
    }

    /// Whether a request comes after the time the client had, which the sweep may not have noticed yet.
    pub(crate) fn is_late(&self, now: u64, options: &Options) -> bool {
        let patience = millis(options.ping_interval) + millis(options.ping_timeout);
        !self.is_paused.load(Ordering::Relaxed) && now >= self.heard.load(Ordering::Relaxed) + patience
    }

    /// What is to be done now, and when to look again.
    pub(crate) fn beat(
        &self,
        now: u64,
        protocol: Protocol,
        options: &Options,
        is_confirmed: bool,
    ) -> Result<Beat, Closing> {
        let connect_by = self.opened + millis(options.connect_timeout);
        if !is_confirmed && now >= connect_by {
            return Err(Closing::ConnectTimeout);
        }
        if self.is_paused.load(Ordering::Relaxed) {
            self.heard(now);
        }
        let beat = match protocol {
            Protocol::V4 => self.beat_v4(now, options),
            Protocol::V3 => self.beat_v3(now, options),
        };
        beat.map(|beat| match is_confirmed {
            true => beat,
            false => Beat {
                next: beat.next.min(connect_by),
                ..beat
            },
        })
    }

    fn beat_v4(&self, now: u64, options: &Options) -> Result<Beat, Closing> {
        let (interval, timeout) = (millis(options.ping_interval), millis(options.ping_timeout));
        let (heard, pinged) = (self.heard.load(Ordering::Relaxed), self.pinged.load(Ordering::Relaxed));
        if pinged > heard {
            let answer_by = pinged + timeout;
            return match now >= answer_by {
                true => Err(Closing::PingTimeout),
                false => Ok(Beat {
                    ping: false,
                    next: answer_by.min(now + interval),
                }),
            };
        }
        let due = heard + interval;
        if now < due {
            return Ok(Beat { ping: false, next: due });
        }
        // An answer within the same millisecond has to count.
        self.pinged.store(now.max(heard + 1), Ordering::Relaxed);
        Ok(Beat {
            ping: true,
            next: now + interval.min(timeout),
        })
    }

    fn beat_v3(&self, now: u64, options: &Options) -> Result<Beat, Closing> {
        let patience = millis(options.ping_interval) + millis(options.ping_timeout);
        let due = self.heard.load(Ordering::Relaxed) + patience;
        match now >= due {
            true => Err(Closing::PingTimeout),
            false => Ok(Beat { ping: false, next: due }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn options() -> Options {
        let mut config = Config::default();
        config.engine.ping_interval = Duration::from_millis(1000);
        config.engine.ping_timeout = Duration::from_millis(400);
        config.engine.connect_timeout = Duration::from_millis(500);
        Options::new(&config)
    }

    fn beat(pulse: &Pulse, now: u64) -> Result<(bool, u64), Closing> {
        let beat = pulse.beat(now, Protocol::V4, &options(), true)?;
        Ok((beat.ping, beat.next))
    }

    #[test]
    fn a_client_is_pinged_after_the_interval_and_has_the_time_out_to_answer() {
        let pulse = Pulse::new(0);
        assert_eq!(beat(&pulse, 999), Ok((false, 1000)));
        assert_eq!(beat(&pulse, 1000), Ok((true, 1400)));
        pulse.heard(1010);
        assert_eq!(beat(&pulse, 1400), Ok((false, 2010)));
        assert_eq!(beat(&pulse, 2010), Ok((true, 2410)));
        assert_eq!(beat(&pulse, 2409), Ok((false, 2410)));
        assert_eq!(beat(&pulse, 2410), Err(Closing::PingTimeout));
    }

    #[test]
    fn a_client_that_is_not_read_from_is_not_late() {
        let pulse = Pulse::new(0);
        assert_eq!(beat(&pulse, 1000), Ok((true, 1400)));
        pulse.pause(true, 1100);
        assert_eq!(beat(&pulse, 5000), Ok((false, 6000)));
        pulse.pause(false, 5500);
        assert_eq!(beat(&pulse, 6000), Ok((false, 6500)));
    }

    #[test]
    fn a_session_nobody_uses_ends_and_old_clients_ping_by_themselves() {
        let pulse = Pulse::new(0);
        let unused = |now| pulse.beat(now, Protocol::V4, &options(), false);
        assert_eq!(unused(100), Ok(Beat { ping: false, next: 500 }));
        assert_eq!(unused(500), Err(Closing::ConnectTimeout));
        let old = |now| pulse.beat(now, Protocol::V3, &options(), true);
        assert_eq!(
            old(1399),
            Ok(Beat {
                ping: false,
                next: 1400
            })
        );
        pulse.heard(1399);
        assert_eq!(
            old(1400),
            Ok(Beat {
                ping: false,
                next: 2799
            })
        );
        assert_eq!(old(2799), Err(Closing::PingTimeout));
    }
}
