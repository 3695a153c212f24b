//! Where the faults strike.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::{Instant, sleep_until};

use super::crowd::Crowd;
use super::{Breakable, CANARY, Fault, Outcome, Shift, Worker};
use crate::{Footprint, Gateway, Proxy};

/// Threads and open files that the first failure may cost for good: lapin begins a runtime of its own, which has
/// one and four, and keeps it. A leak of every failure is more before the faults are over.
const ONCE_THREADS: u64 = 1;
const ONCE_FILES: u64 = 4;

/// How long a gateway may take to be ready once the fault is over: it waits 5 s at most between two attempts, jitter
/// included, an attempt that began before may have to time out after 5 s, and then its canary has to come back.
const RETURN: Duration = Duration::from_secs(12);

/// How long a gateway may be deaf before it says so and subscribes anew.
const DEAF: Duration = CANARY.saturating_mul(2);

/// How late it may be with that, on a processor that others use too.
const OVERDUE: Duration = Duration::from_millis(150);

/// What it may take to subscribe anew after that: a wait of 200 ms at most, and an event to everyone after 200 ms more.
const GRACE: Duration = Duration::from_millis(500);

/// Events to everyone of each worker that arrive before a fault strikes, and after recovery.
const ROUNDS: usize = 5;

const WORKERS: [&str; 3] = ["one", "two", "three"];

/// A broker with two gateways and three workers, all behind proxies, and the clients of the gateways.
#[derive(Debug)]
pub struct Stage<B> {
    pub(super) broker: B,
    /// One before each gateway, and one before the workers.
    pub(super) proxies: [Proxy; 3],
    gateways: [Gateway; 2],
    workers: Vec<Worker>,
    crowd: Crowd,
    /// What the gateways took before the first fault.
    before: Option<[Footprint; 2]>,
}

impl<B: Breakable> Stage<B> {
    /// Starts it, with all clients in their rooms and both gateways ready.
    ///
    /// # Errors
    /// Something is not installed, not built, or does not start.
    pub async fn start(broker: B) -> Result<Self> {
        let url = broker.url();
        let (scheme, address) = url.split_once("://").context("a URL has a scheme")?;
        let proxy = || Proxy::start(address, B::LISTENS);
        let proxies: [Proxy; 3] = tokio::try_join!(proxy(), proxy(), proxy())?.into();
        let [a, b, workers_url] = proxies
            .each_ref()
            .map(|proxy| format!("{scheme}://{}", proxy.address()));
        let (a, b) = tokio::try_join!(gateway("gateway-a", &a), gateway("gateway-b", &b))?;
        let gateways = [a, b];
        let crowd = Crowd::connect(&gateways).await?;
        let mut workers = Vec::new();
        for name in WORKERS {
            workers.push(Worker::connect(name, &workers_url).await?);
        }
        let stage = Self {
            broker,
            proxies,
            gateways,
            workers,
            crowd,
            before: None,
        };
        stage.ready().await?;
        Ok(stage)
    }

    /// Lets a fault strike under traffic and compares what was emitted with what arrived.
    ///
    /// # Errors
    /// No recovery in time, a client was disconnected, or a gateway keeps memory, threads or connections.
    pub async fn endure(&mut self, fault: Fault) -> Result<Outcome> {
        let shifts: Vec<_> = self
            .workers
            .drain(..)
            .map(|worker| worker.start(fault.pace()))
            .collect();
        self.rounds(&shifts).await?;
        let before = *self.before.get_or_insert(self.footprints()?);
        let lines = self.lines();
        let [over, recovered] = fault.strike(self, &shifts).await?;
        self.rounds(&shifts).await?;
        let mut books = Vec::new();
        for shift in shifts {
            let name = shift.name();
            let (worker, book) = shift.stop().await?;
            worker.end().await?;
            self.workers.push(worker);
            books.push((name, book));
        }
        let heard = self.crowd.heard(books.len()).await?;
        let mut outcome = Outcome::of(&books, &heard, recovered)?;
        outcome.recovery = recovered - over;
        outcome.growth = self.growth(before).await?;
        outcome.lines = self.lines() - lines;
        Ok(outcome)
    }

    async fn rounds(&mut self, shifts: &[Shift]) -> Result<()> {
        for _ in 0..ROUNDS {
            self.crowd.hear_each(shifts).await?;
        }
        Ok(())
    }

    /// Waits for recovery.
    pub(super) async fn recovered(&mut self, shifts: &[Shift]) -> Result<Instant> {
        self.ready().await?;
        self.crowd.hear_each(shifts).await?;
        Ok(Instant::now())
    }

    async fn ready(&self) -> Result<()> {
        let [a, b] = &self.gateways;
        let ready = async |gateway: &Gateway| gateway.answers_within(RETURN, "/readyz", 200).await;
        tokio::try_join!(ready(a), ready(b))?;
        Ok(())
    }

    /// Waits until both gateways say that they have lost the broker, once more than before; returns when the first did.
    pub(super) async fn notice(&self) -> Result<Instant> {
        const AWAY: &str = "broker is away";
        let noticed = async |gateway: &Gateway| {
            gateway.log().nth_line(AWAY, gateway.log().count(AWAY) + 1).await?;
            anyhow::Ok(Instant::now())
        };
        let [a, b] = &self.gateways;
        let (a, b) = tokio::try_join!(noticed(a), noticed(b))?;
        Ok(a.min(b))
    }

    /// Lets new connections through again.
    pub(super) fn restore(&self) -> Instant {
        self.proxies.iter().for_each(Proxy::restore);
        Instant::now()
    }

    /// How many connections each gateway has made or tried to make so far.
    pub(super) fn attempts(&self) -> [usize; 2] {
        let [a, b, _] = &self.proxies;
        [a.accepted(), b.accepted()]
    }

    /// Silences the connection on which the first gateway listens. From when its canaries are overdue, the first answer
    /// of `/readyz` that says ready is taken at its word: it has recovered.
    pub(super) async fn deafen(&mut self, shifts: &[Shift]) -> Result<[Instant; 2]> {
        let silent = Instant::now();
        self.proxies[0].black_hole_listeners();
        let ready = async {
            sleep_until(silent + DEAF + OVERDUE).await;
            self.gateways[0].answers("/readyz", 200).await?;
            anyhow::Ok(Instant::now())
        };
        let heard = async {
            self.crowd.hear_each(shifts).await?;
            anyhow::Ok(Instant::now())
        };
        let (ready, heard) = tokio::try_join!(ready, heard)?;
        let took = heard - silent;
        ensure!(took <= DEAF + GRACE, "deaf for {took:?}, {DEAF:?} are allowed");
        Ok([silent, ready.min(heard)])
    }

    /// How many lines the gateways have logged.
    fn lines(&self) -> usize {
        self.gateways.iter().map(|gateway| gateway.log().count("")).sum()
    }

    fn footprints(&self) -> Result<[Footprint; 2]> {
        let [a, b] = &self.gateways;
        Ok([a.footprint()?, b.footprint()?])
    }

    /// KiB of memory a gateway takes more than before, once it has let go of everything else.
    async fn growth(&self, before: [Footprint; 2]) -> Result<u64> {
        let mut most = 0;
        for (gateway, before) in self.gateways.iter().zip(before) {
            let limit = Footprint {
                threads: before.threads + ONCE_THREADS,
                files: before.files + ONCE_FILES,
                ..before
            };
            gateway.lets_go(limit).await?;
            most = most.max(gateway.footprint()?.rss.saturating_sub(before.rss));
        }
        Ok(most)
    }
}

/// A reference application on the broker at this URL.
async fn gateway(name: &str, broker: &str) -> Result<Gateway> {
    let canary = format!("{}ms", CANARY.as_millis());
    let environment = [
        // All clients share one process, which may be busy for longer than the reference application allows.
        ("HALLPORTER_ENGINE__PING_INTERVAL", "25s"),
        ("HALLPORTER_ENGINE__PING_TIMEOUT", "20s"),
        // And it may be behind in a storm, which is not what is tested here.
        ("HALLPORTER_LIMITS__CLIENT_BUFFER", "64MiB"),
        ("HALLPORTER_MANAGER__URL", broker),
        ("HALLPORTER_MANAGER__CANARY_INTERVAL", &canary),
    ];
    Gateway::reference(name, &environment).await
}
