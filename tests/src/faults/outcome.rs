//! What a fault cost: books of the workers against what the clients received.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

use super::crowd::{Heard, ROOMS};
use super::worker::{Book, Sent};

/// KiB a gateway may have grown by, in a build without optimisation.
const GROWTH: u64 = 30 << 10;

/// Lines the gateways may log: one each when the broker goes and one when it is back, and that twice at most.
const LINES: usize = 8;

/// A line of the table. Emits are counted once, whatever the number of their receivers.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Emits the broker took.
    pub accepted: usize,
    /// Emits that failed; some of them may have reached clients all the same.
    pub refused: usize,
    /// Of the accepted, those that reached every client they were for.
    pub delivered: usize,
    /// Of the accepted, those that some client did not receive.
    pub lost: usize,
    /// Of the lost, those that were begun after recovery.
    pub lost_after: usize,
    /// Deliveries of an event to a client that had it.
    pub doubled: usize,
    /// Deliveries of an event after a later one of the same worker.
    pub disordered: usize,
    /// From the end of the fault (of a connection that is not given back: its beginning) to recovery.
    pub recovery: Duration,
    /// KiB of memory the gateway that grew most takes more than before the first fault.
    pub growth: u64,
    /// Lines both gateways logged.
    pub lines: usize,
}

impl Outcome {
    /// Compares. What each client heard stands in the order of their indexes.
    ///
    /// # Errors
    /// A client received what it was not meant to.
    pub fn of(books: &[(&str, Book)], heard: &[Heard], recovered: Instant) -> Result<Self> {
        let mut outcome = Self::default();
        for (worker, book) in books {
            let mut lost = BTreeSet::new();
            for (client, heard) in heard.iter().enumerate() {
                let numbers = heard.get(*worker).map_or(&[][..], Vec::as_slice);
                let received = outcome.received(numbers);
                for number in &received {
                    let sent = book
                        .get(number)
                        .with_context(|| format!("{number} of {worker} is old"))?;
                    ensure!(sent.is_for(client), "client {client} received {sent:?}");
                }
                let meant = book
                    .iter()
                    .filter(|(_, sent)| sent.is_for(client) && sent.outcome.is_ok());
                lost.extend(
                    meant
                        .map(|(number, _)| *number)
                        .filter(|number| !received.contains(number)),
                );
            }
            let accepted = book.values().filter(|sent| sent.outcome.is_ok()).count();
            outcome.accepted += accepted;
            outcome.refused += book.len() - accepted;
            outcome.delivered += accepted - lost.len();
            outcome.lost += lost.len();
            outcome.lost_after += lost.iter().filter(|number| book[number].begun > recovered).count();
        }
        Ok(outcome)
    }

    /// Notes what came twice or late, and returns what came.
    fn received(&mut self, numbers: &[u64]) -> BTreeSet<u64> {
        let mut received = BTreeSet::new();
        for number in numbers {
            let newest = received.last().is_none_or(|last| last < number);
            if !received.insert(*number) {
                self.doubled += 1;
            } else if !newest {
                self.disordered += 1;
            }
        }
        received
    }

    /// What no fault may cost.
    ///
    /// # Errors
    /// It did.
    pub fn is_tolerable(&self) -> Result<()> {
        ensure!(self.delivered > 0, "nothing was delivered");
        ensure!(
            self.lost_after == 0,
            "{} emits were lost after recovery",
            self.lost_after
        );
        ensure!(self.doubled == 0, "{} deliveries were doubled", self.doubled);
        ensure!(self.disordered == 0, "{} deliveries were out of order", self.disordered);
        ensure!(self.growth <= GROWTH, "a gateway grew by {} KiB", self.growth);
        ensure!(self.lines <= LINES, "the gateways logged {} lines", self.lines);
        Ok(())
    }
}

impl Sent {
    fn is_for(&self, client: usize) -> bool {
        self.room.is_none_or(|room| client % ROOMS == room)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            accepted,
            refused,
            delivered,
            lost,
            doubled,
            disordered,
            recovery,
            growth,
            ..
        } = self;
        write!(
            f,
            "{accepted} | {refused} | {delivered} | {lost} | {doubled} | {disordered} | {:.1} s | {} MiB",
            recovery.as_secs_f64(),
            growth >> 10
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(room: Option<usize>, begun: Instant) -> Sent {
        Sent {
            room,
            begun,
            outcome: Ok(()),
        }
    }

    fn outcome(of_first: &[u64], of_second: &[u64]) -> Result<Outcome> {
        let recovered = Instant::now();
        let later = recovered + Duration::from_secs(1);
        let book = Book::from([
            (1, sent(None, recovered)),
            (2, sent(Some(1), recovered)),
            (3, sent(None, later)),
        ]);
        let heard = [of_first, of_second].map(|numbers| Heard::from([("w".to_owned(), numbers.to_vec())]));
        Outcome::of(&[("w", book)], &heard, recovered)
    }

    #[test]
    fn all_that_can_go_wrong_is_counted() {
        let good = outcome(&[1, 3], &[1, 2, 3]).unwrap();
        assert_eq!((good.accepted, good.delivered, good.lost), (3, 3, 0));
        good.is_tolerable().unwrap();

        let lost = outcome(&[3], &[2, 3]).unwrap();
        assert_eq!((lost.delivered, lost.lost, lost.lost_after), (2, 1, 0));
        lost.is_tolerable().unwrap();

        assert_eq!(outcome(&[1], &[1, 2, 3]).unwrap().lost_after, 1);
        assert!(outcome(&[1], &[1, 2, 3]).unwrap().is_tolerable().is_err());
        assert_eq!(outcome(&[1, 3, 3], &[1, 2, 3]).unwrap().doubled, 1);
        assert!(outcome(&[1, 3, 3], &[1, 2, 3]).unwrap().is_tolerable().is_err());
        assert_eq!(outcome(&[1, 3], &[1, 3, 2]).unwrap().disordered, 1);
        assert!(outcome(&[1, 3], &[1, 3, 2]).unwrap().is_tolerable().is_err());
        assert!(outcome(&[1, 2, 3], &[1, 2, 3]).is_err(), "not a member of the room");
        assert!(outcome(&[1, 3, 4], &[1, 2, 3]).is_err(), "never emitted");
    }
}
