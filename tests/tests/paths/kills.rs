//! Workers, the broker and a gateway are killed in the middle of ten thousand events. What is acked was handled, nothing is acked twice, and
//! clients that send again what was not acked get through with everything.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::faults::Breakable;
use e2e::{Gateway, NatsServer, Process, RabbitServer, RedisServer, Settings, example, poll};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::book::Book;
use crate::counting::{Plan, Progress, Tally, count};

/// Clients of each gateway.
const CLIENTS: usize = 20;
const EVENTS: usize = 250;
const ALL_EVENTS: usize = 2 * CLIENTS * EVENTS;

/// How long all of it may take; on Redis and NATS what a dead worker held comes back after 15 s.
const ALL: Duration = Duration::from_secs(150);

/// A gateway that hands `count` to the workers of the group `book`.
pub(super) async fn gateway(name: &str, broker: &str) -> Result<(Gateway, Settings)> {
    let settings = Settings::new(&format!(
        "[manager]\nurl = \"{broker}\"\n[[namespace]]\nname = \"/\"\npublic = true\n\
         [[route]]\nevent = \"count\"\nto = \"worker:book\"\ntimeout = \"5s\"\n"
    ))?;
    let gateway = Gateway::hallporter(name, &["serve", "--config", settings.path()?], &[]).await?;
    gateway.answers("/readyz", 200).await?;
    Ok((gateway, settings))
}

/// A worker of the group `book`.
pub(super) fn worker(name: &str, broker: &str, book: &Book) -> Result<Process> {
    Process::start(name, &example("booker")?, |_| {}, [broker, book.path()?])
}

async fn kills(broker: &impl Breakable) -> Result<()> {
    let book = Book::new()?;
    let url = broker.url();
    let (a, _a) = gateway("gateway-a", &url).await?;
    let (mut b, _b) = gateway("gateway-b", &url).await?;
    let mut first = worker("worker-1", &url, &book)?;
    let _second = worker("worker-2", &url, &book)?;

    // Events are sent as far as the tickets go, so that each of the three strikes into the middle of some.
    let progress = Arc::new(Progress::new(3000));
    let [of_a, of_b] = [(&a, 0), (&b, CLIENTS)].map(|(gateway, begin)| clients(gateway, begin, &progress));
    answered(&progress, 1000).await?;
    first.kill().await?;
    let _third = worker("worker-3", &url, &book)?;
    let redelivered = async || {
        let of = async |gateway: &Gateway| gateway.metric("hallporter_redelivered_total", "").await;
        Ok(of(&a).await? + of(&b).await? > 0.0)
    };
    poll(ALL, redelivered, || "nothing was redelivered".into()).await?;

    progress.tickets.add_permits(3000);
    answered(&progress, 4000).await?;
    broker.kill().await?;
    broker.restart().await?;
    answered(&progress, 6000).await?;

    progress.tickets.add_permits(ALL_EVENTS - 6000);
    answered(&progress, 7000).await?;
    b.process().kill().await?;
    // Those of the other gateway that are left have not to share with anybody.
    progress.tickets.add_permits(ALL_EVENTS);

    let handled_after = async |clients: Vec<JoinHandle<Result<Tally>>>| {
        let mut tallies = Vec::new();
        for client in clients {
            tallies.push(timeout(ALL, client).await.context("a client does not end")???);
        }
        anyhow::Ok(tallies)
    };
    let (of_a, of_b) = (handled_after(of_a).await?, handled_after(of_b).await?);
    let handled = book.read()?;
    for (client, tally) in of_a.iter().chain(&of_b).enumerate() {
        let mut acked = tally.acked.clone();
        acked.sort_unstable();
        acked.dedup();
        ensure!(
            acked.len() == tally.acked.len(),
            "{client}: acked twice: {:?}",
            tally.acked
        );
        let book = handled.get(&client).map(Vec::as_slice).unwrap_or_default();
        let missing: Vec<_> = acked.iter().filter(|number| !book.contains(number)).collect();
        ensure!(missing.is_empty(), "{client}: acked, but not handled: {missing:?}");
        ensure!(client >= CLIENTS || acked.len() == EVENTS, "{client}: {tally:?}");
    }
    ensure!(
        of_b.iter().any(|tally| tally.is_cut),
        "gateway-b was killed after all was over"
    );
    Ok(())
}

fn clients(gateway: &Gateway, begin: usize, progress: &Arc<Progress>) -> Vec<JoinHandle<Result<Tally>>> {
    let clients = begin..begin + CLIENTS;
    let start = |client| {
        let plan = Plan {
            client,
            events: EVENTS,
            window: 10,
            again: true,
        };
        let (address, progress) = (gateway.address().to_owned(), progress.clone());
        tokio::spawn(async move { count(&address, plan, &progress).await })
    };
    clients.map(start).collect()
}

/// Waits until so many events were answered, by acks or errors.
async fn answered(progress: &Progress, count: usize) -> Result<()> {
    let reached = async || Ok(progress.answered.load(Ordering::Relaxed) >= count);
    poll(ALL, reached, || format!("{progress:?} is less than {count}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_redis() -> Result<()> {
    let redis = RedisServer::configured("appendonly yes\nappendfsync always").await?;
    kills(&redis).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_rabbitmq() -> Result<()> {
    kills(&RabbitServer::start().await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_nats() -> Result<()> {
    kills(&NatsServer::configured("jetstream: enabled").await?).await
}
