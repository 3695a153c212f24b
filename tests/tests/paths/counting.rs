//! A client that sends numbered events and minds the acks.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::raw::WebSocket;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// How long a client waits after an error before it sends the event again.
const PAUSE: Duration = Duration::from_millis(50);

/// What a client sends: `count`, with its own number and those from 0 on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) client: usize,
    pub(super) events: usize,
    /// Events that may be without an answer at a time.
    pub(super) window: usize,
    /// Whether an error leads to another attempt, or is the end of the test.
    pub(super) again: bool,
}

/// How far all clients together are.
#[derive(Debug)]
pub(super) struct Progress {
    /// Events that may still be sent for the first time.
    pub(super) tickets: Semaphore,
    /// Acks and errors that came.
    pub(super) answered: AtomicUsize,
}

impl Progress {
    pub(super) fn new(tickets: usize) -> Self {
        Self {
            tickets: Semaphore::new(tickets),
            answered: AtomicUsize::new(0),
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The numbers that were acked, in the order of the acks.
    pub(super) acked: Vec<usize>,
    /// Codes of errors, each of which led to another attempt.
    pub(super) errors: HashMap<String, usize>,
    /// The gateway has gone before all was acked.
    pub(super) is_cut: bool,
}

/// Sends all, and again what is answered by an error, until all is acked or the gateway has gone. An ack nobody waits for fails.
pub(super) async fn count(address: &str, plan: Plan, progress: &Progress) -> Result<Tally> {
    let mut socket = WebSocket::open(address).await?;
    socket.send("40").await?;
    let accepted = socket.text().await?;
    ensure!(accepted.starts_with("40{"), "{accepted}");
    let mut tally = Tally::default();
    let (mut fresh, mut again) = (0..plan.events, VecDeque::new());
    let mut waiting: HashMap<u64, usize> = HashMap::new();
    let mut next = 0;
    while tally.acked.len() < plan.events {
        while waiting.len() < plan.window {
            let number = match again.pop_front() {
                Some(number) => number,
                None if fresh.is_empty() => break,
                None if waiting.is_empty() => {
                    progress.tickets.acquire().await?.forget();
                    fresh.next().context("there are more")?
                }
                None => match progress.tickets.try_acquire() {
                    Ok(ticket) => {
                        ticket.forget();
                        fresh.next().context("there are more")?
                    }
                    Err(_) => break,
                },
            };
            waiting.insert(next, number);
            let event = format!("42{next}[\"count\",{},{number}]", plan.client);
            if socket.send(&event).await.is_err() {
                tally.is_cut = true;
                return Ok(tally);
            }
            next += 1;
        }
        let Ok(packet) = socket.text().await else {
            tally.is_cut = true;
            return Ok(tally);
        };
        if packet == "2" {
            socket.send("3").await?;
            continue;
        }
        let (id, args) = ack(&packet)?;
        let number = waiting
            .remove(&id)
            .with_context(|| format!("nobody waits for {packet}"))?;
        progress.answered.fetch_add(1, Ordering::Relaxed);
        match args.pointer("/0/error/code") {
            Some(code) => {
                ensure!(plan.again, "{packet}");
                *tally
                    .errors
                    .entry(code.as_str().unwrap_or_default().to_owned())
                    .or_default() += 1;
                again.push_back(number);
                sleep(PAUSE).await;
            }
            None => {
                ensure!(
                    args == serde_json::json!([plan.client, number]),
                    "{packet} for {number}"
                );
                tally.acked.push(number);
            }
        }
    }
    // Nobody handles it: the answer comes behind whatever else was on its way.
    socket.send("429999999[\"fence\"]").await?;
    loop {
        let packet = socket.text().await?;
        if packet.starts_with("439999999") {
            return Ok(tally);
        }
        ensure!(packet == "2", "{packet} came after all was acked");
    }
}

/// The number of an ack, and its arguments.
fn ack(packet: &str) -> Result<(u64, Value)> {
    let rest = packet.strip_prefix("43").with_context(|| format!("no ack: {packet}"))?;
    let begin = rest.find('[').with_context(|| format!("no arguments: {packet}"))?;
    Ok((rest[..begin].parse()?, serde_json::from_str(&rest[begin..])?))
}
