//! What has to arrive, what arrived, and what went wrong.

use std::fmt;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// How long nothing may arrive before what is missing counts as lost.
const STALLED: Duration = Duration::from_secs(15);

/// What all clients of a crowd have received of the batch of events that is under way.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    missing: AtomicU64,
    complete: Notify,
    lost: AtomicU64,
    doubled: AtomicU64,
    disordered: AtomicU64,
    garbled: AtomicU64,
}

impl Tally {
    /// A batch begins, of this many deliveries.
    pub(crate) fn expect(&self, deliveries: u64) {
        self.missing.store(deliveries, Ordering::Release);
    }

    /// Waits until all has arrived, or nothing more does; returns whether it was all.
    pub(crate) async fn complete(&self) -> bool {
        let mut missing = self.missing.load(Ordering::Acquire);
        while missing > 0 {
            let stalled = tokio::time::timeout(STALLED, self.complete.notified()).await.is_err();
            let still = self.missing.load(Ordering::Acquire);
            if stalled && still == missing {
                self.lost.fetch_add(still, Ordering::Relaxed);
                return false;
            }
            missing = still;
        }
        true
    }

    /// What a client received at once.
    fn received(&self, events: u64) {
        let before = self.missing.fetch_sub(events, Ordering::AcqRel);
        if before == events {
            self.complete.notify_one();
        }
    }

    /// A client received what nobody sent, or was disconnected.
    pub(crate) fn garbled(&self) {
        self.garbled.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn faults(&self) -> Faults {
        Faults {
            lost: self.lost.load(Ordering::Relaxed),
            doubled: self.doubled.load(Ordering::Relaxed),
            disordered: self.disordered.load(Ordering::Relaxed),
            garbled: self.garbled.load(Ordering::Relaxed),
        }
    }
}

/// The numbers one client has seen; each event bears the number after that of the event before it.
#[derive(Debug)]
pub(crate) struct Ledger {
    highest: u64,
    /// Bit N stands for the number `highest - N`.
    seen: u128,
    /// Events the tally has not been told of.
    received: u64,
}

impl Ledger {
    /// Of a client that has been sent all up to this number, or need not have been.
    pub(crate) fn after(number: u64) -> Self {
        Self {
            highest: number,
            seen: u128::MAX,
            received: 0,
        }
    }

    pub(crate) fn enter(&mut self, number: u64, tally: &Tally) {
        if let Some(ahead) = number.checked_sub(self.highest).filter(|ahead| *ahead > 0) {
            self.seen = u32::try_from(ahead)
                .ok()
                .and_then(|ahead| self.seen.checked_shl(ahead))
                .unwrap_or(0)
                | 1;
            self.highest = number;
            self.received += 1;
            return;
        }
        let bit = u32::try_from(self.highest - number)
            .ok()
            .and_then(|behind| 1_u128.checked_shl(behind));
        match bit {
            Some(bit) if self.seen & bit == 0 => {
                self.seen |= bit;
                self.received += 1;
                tally.disordered.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                tally.doubled.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Tells the tally what was entered since the last time.
    pub(crate) fn close(&mut self, tally: &Tally) {
        let received = std::mem::take(&mut self.received);
        if received > 0 {
            tally.received(received);
        }
    }
}

/// What must not happen, and how often it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Deliveries that did not happen.
    pub(crate) lost: u64,
    /// Deliveries that happened again.
    pub(crate) doubled: u64,
    /// Deliveries that came after that of a later event.
    pub(crate) disordered: u64,
    /// Packets nobody sent, and connections that ended.
    pub(crate) garbled: u64,
}

impl Faults {
    pub(crate) fn any(self) -> bool {
        self != Self::default()
    }
}

impl AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.disordered += other.disordered;
        self.garbled += other.garbled;
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lost,
            doubled,
            disordered,
            garbled,
        } = self;
        write!(
            f,
            "{lost} lost, {doubled} doubled, {disordered} out of order, {garbled} garbled"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Faults, Ledger, Tally};

    fn faults(numbers: &[u64]) -> (Faults, bool) {
        let tally = Tally::default();
        tally.expect(5);
        let mut ledger = Ledger::after(10);
        for number in numbers {
            ledger.enter(*number, &tally);
        }
        ledger.close(&tally);
        let complete = tally.missing.load(std::sync::atomic::Ordering::Relaxed) == 0;
        (tally.faults(), complete)
    }

    #[test]
    fn events_in_order_are_no_fault() {
        assert_eq!(faults(&[11, 12, 13, 14, 15]), (Faults::default(), true));
    }

    #[test]
    fn a_late_event_is_out_of_order() {
        let disordered = Faults {
            disordered: 1,
            ..Faults::default()
        };
        assert_eq!(faults(&[11, 13, 12, 14, 15]), (disordered, true));
    }

    #[test]
    fn an_event_again_is_doubled_and_replaces_none() {
        let doubled = Faults {
            doubled: 2,
            ..Faults::default()
        };
        assert_eq!(faults(&[11, 12, 12, 14, 11]), (doubled, false));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_is_lost() {
        let tally = Tally::default();
        tally.expect(5);
        let mut ledger = Ledger::after(0);
        ledger.enter(1, &tally);
        ledger.close(&tally);
        assert!(!tally.complete().await);
        assert_eq!(tally.faults().lost, 4);
    }
}
