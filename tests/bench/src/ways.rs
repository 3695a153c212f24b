//! What an event costs on each way to the user's code.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::{NatsServer, RabbitServer, RedisServer};
use tokio::time::Instant;

use crate::load::Crowd;
use crate::results::median;
use crate::server::{Measured, own};

/// Clients that wait for an ack at a time.
const CLIENTS: usize = 50;

/// How much of everything.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Ways {
    /// How often each way is measured; the medians count.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Milliseconds that each measurement lasts at least, once begun.
    #[arg(long, default_value_t = 3000)]
    time: u64,
    /// Round trips of a single client that are timed.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    alone: u32,
}

/// What is measured of one way in one round.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// CPU time of the gateway for an event, in microseconds.
    gateway: f64,
    /// The same of the process that has the user's code; zero where that is the gateway.
    code: f64,
    /// How long one client waits for an ack while there is no other, in milliseconds.
    wait: f64,
}

/// The processes of one way.
struct Stage {
    gateway: Measured,
    code: Option<Measured>,
    address: SocketAddr,
}

impl Ways {
    /// Measures all ways, in turn and in several rounds, and returns the table.
    pub(crate) async fn measure(self) -> Result<String> {
        let (redis, rabbit) = (RedisServer::start().await?, RabbitServer::start().await);
        let nats = NatsServer::configured("jetstream: enabled").await?;
        let brokers = [("Redis", redis.url()), ("RabbitMQ", rabbit.url()), ("NATS", nats.url())];
        let mut costs: Vec<(String, Vec<Cost>)> = Vec::new();
        for round in 0..self.rounds {
            let mut ways = vec![
                ("handler in the gateway".to_owned(), Stage::handler().await?),
                ("HTTP endpoint".to_owned(), Stage::http().await?),
            ];
            for (name, url) in &brokers {
                ways.push((format!("worker on {name}"), Stage::worker(url).await?));
            }
            for (index, (name, stage)) in ways.into_iter().enumerate() {
                if round == 0 {
                    costs.push((name, Vec::new()));
                }
                costs[index].1.push(stage.cost(self).await?);
            }
        }
        Ok(table(&costs))
    }
}

impl Stage {
    async fn handler() -> Result<Self> {
        Self::start("handler:echo", "memory://", None).await
    }

    async fn http() -> Result<Self> {
        let endpoint = Measured::start("endpoint", own(&["endpoint"])?, None)?;
        let address = endpoint.address().await?;
        Self::start(&format!("http://{address}/"), "memory://", Some(endpoint)).await
    }

    async fn worker(broker: &str) -> Result<Self> {
        let worker = Measured::start("worker", own(&["work", broker])?, None)?;
        worker.line("ready").await?;
        Self::start("worker:bench", broker, Some(worker)).await
    }

    async fn start(to: &str, broker: &str, code: Option<Measured>) -> Result<Self> {
        let gateway = Measured::start("gateway", own(&["route", to, broker])?, None)?;
        let address = gateway.address().await?;
        Ok(Self { gateway, code, address })
    }

    async fn cost(self, ways: Ways) -> Result<Cost> {
        let time = Duration::from_millis(ways.time);
        let mut crowd = Crowd::default();
        crowd.join(&[self.address], CLIENTS).await?;
        crowd.echo_for(CLIENTS, time / 5).await?;
        let cpu = || -> Result<_> {
            let code = self.code.as_ref().map(Measured::cpu).transpose()?;
            Ok((self.gateway.cpu()?, code.unwrap_or_default()))
        };
        let before = cpu()?;
        let events = crowd.echo_for(CLIENTS, time).await?;
        let after = cpu()?;
        let mut waits = Vec::new();
        for _ in 0..ways.alone {
            let asked = Instant::now();
            crowd.echo_for(1, Duration::ZERO).await?;
            waits.push(asked.elapsed().as_secs_f64() * 1e3);
        }
        let micros = |used: Duration| used.as_secs_f64() * 1e6 / events as f64;
        Ok(Cost {
            gateway: micros(after.0 - before.0),
            code: micros(after.1 - before.1),
            wait: median(waits).context("there are round trips")?,
        })
    }
}

fn table(costs: &[(String, Vec<Cost>)]) -> String {
    let mut table = String::from(
        "| way to the user's code | gateway, us | process of the code, us | round trip alone, ms |\n|---|---:|---:|---:|\n",
    );
    for (name, rounds) in costs {
        let of = |value: fn(&Cost) -> f64| median(rounds.iter().map(value).collect()).unwrap_or_default();
        let (gateway, code, wait) = (of(|cost| cost.gateway), of(|cost| cost.code), of(|cost| cost.wait));
        let code = if code > 0.0 {
            format!("{code:.1}")
        } else {
            String::new()
        };
        let _ = writeln!(table, "| {name} | {gateway:.1} | {code} | {wait:.2} |");
    }
    table
}
