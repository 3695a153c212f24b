//! What is done with a server while it is measured.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use e2e::RedisServer;
use tokio::time::Instant;

use crate::load::{Crowd, Trigger};
use crate::results::{Figure, Results};
use crate::server::{self, Kind, Server};

/// Clients that hear what a worker emits: so few that the emit itself is seen.
const WORKERS_ROOM: usize = 10;

/// How much of everything.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Sizes {
    /// Clients that connect, stay idle, and are then sent events one at a time.
    #[arg(long, default_value_t = 5000)]
    pub(crate) crowd: usize,
    /// Clients of all other measurements; with two hosts, on each.
    #[arg(long, default_value_t = 1000)]
    pub(crate) room: usize,
    /// Events in a burst; 128 at most, for the load generator remembers no more.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=128))]
    pub(crate) burst: u64,
    /// Clients that wait for an echo at a time.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) echoing: u64,
    /// Milliseconds that each measurement lasts at least, once begun.
    #[arg(long, default_value_t = 1500)]
    pub(crate) time: u64,
}

impl Sizes {
    fn time(&self) -> Duration {
        Duration::from_millis(self.time)
    }

    fn warm_up(&self) -> Duration {
        self.time() / 5
    }
}

/// Measurements that are made on the same running server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scene {
    /// Many clients connect, stay idle, and are sent events.
    Crowd,
    /// Fan-out, bursts and echoes in a room.
    Room,
    /// Two hosts and a Redis.
    Cluster,
    /// A worker emits over a Redis to one host.
    Worker,
}

impl Scene {
    /// Whether there is such a thing for this kind of server.
    pub(crate) fn suits(self, kind: Kind) -> bool {
        match self {
            Self::Crowd | Self::Room => true,
            Self::Cluster => kind != Kind::Bare,
            Self::Worker => !matches!(kind, Kind::Bare | Kind::Socketioxide),
        }
    }

    /// Plays it once.
    ///
    /// # Errors
    /// The server does not start, or does not do what it should; what was measured until then counts.
    pub(crate) async fn play(
        self,
        kind: Kind,
        sizes: &Sizes,
        redis: &RedisServer,
        results: &mut Results,
    ) -> Result<()> {
        let servers = match self {
            Self::Crowd | Self::Room => vec![Server::start(kind, None).await?],
            Self::Cluster => {
                let url = redis.url();
                vec![
                    Server::start(kind, Some(&url)).await?,
                    Server::start(kind, Some(&url)).await?,
                ]
            }
            Self::Worker => vec![Server::start(kind, Some(&redis.url())).await?],
        };
        let mut stage = Stage {
            kind,
            sizes,
            servers,
            crowd: Crowd::default(),
            results,
        };
        let played = stage.play(self, redis).await;
        let faults = stage.crowd.faults();
        results.add_faults(kind, faults);
        played
    }
}

/// Servers, their clients, and where results go.
struct Stage<'a> {
    kind: Kind,
    sizes: &'a Sizes,
    servers: Vec<Server>,
    crowd: Crowd,
    results: &'a mut Results,
}

impl Stage<'_> {
    async fn play(&mut self, scene: Scene, redis: &RedisServer) -> Result<()> {
        let addresses: Vec<_> = self.servers.iter().map(Server::address).collect();
        let mut trigger = Trigger::client(addresses[0]).await?;
        let (size, burst) = (self.sizes.room, self.sizes.burst);
        match scene {
            Scene::Crowd => {
                self.idle(&addresses).await?;
                self.deliveries(Figure::FanOutToCrowd, &mut trigger, 1).await?;
            }
            Scene::Room => {
                self.crowd.join(&addresses, size).await?;
                self.deliveries(Figure::FanOut, &mut trigger, 1).await?;
                self.deliveries(Figure::Burst, &mut trigger, burst).await?;
                self.echoes().await?;
            }
            Scene::Cluster => {
                self.crowd.join(&addresses, size * addresses.len()).await?;
                server::listening(redis, addresses.len()).await?;
                self.deliveries(Figure::TwoHosts, &mut trigger, 1).await?;
            }
            Scene::Worker => {
                self.crowd.join(&addresses, WORKERS_ROOM).await?;
                server::listening(redis, addresses.len()).await?;
                self.worker(&redis.url()).await?;
            }
        }
        self.crowd.settle().await
    }

    /// Everybody connects, and then nothing happens.
    async fn idle(&mut self, addresses: &[SocketAddr]) -> Result<()> {
        let (memory, cpu) = (self.servers[0].resident_at_rest().await?, self.cpu()?);
        self.crowd.join(addresses, self.sizes.crowd).await?;
        let clients = self.crowd.size();
        let connecting = self.cpu()? - cpu;
        self.add(Figure::Connect, micros(connecting, clients));
        let grown = self.servers[0].resident_at_rest().await?.saturating_sub(memory);
        self.add(Figure::IdleMemory, grown as f64 / clients as f64);
        Ok(())
    }

    /// Events to everybody, `count` at once, the next when all have them.
    async fn deliveries(&mut self, figure: Figure, trigger: &mut Trigger, count: u64) -> Result<()> {
        self.repeat(trigger, count, self.sizes.warm_up()).await?;
        let cpu = self.cpu()?;
        let events = self.repeat(trigger, count, self.sizes.time()).await?;
        let used = self.cpu()? - cpu;
        self.add(figure, micros(used, events * self.crowd.size()));
        Ok(())
    }

    async fn echoes(&mut self) -> Result<()> {
        let echoing = usize::try_from(self.sizes.echoing)?;
        self.crowd.echo_for(echoing, self.sizes.warm_up()).await?;
        let cpu = self.cpu()?;
        let echoes = self.crowd.echo_for(echoing, self.sizes.time()).await?;
        let used = self.cpu()? - cpu;
        self.add(Figure::Echo, micros(used, echoes));
        Ok(())
    }

    async fn worker(&mut self, redis: &str) -> Result<()> {
        let (worker, stdin) = server::worker(self.kind, redis).await?;
        let mut trigger = Trigger::Worker(stdin);
        let burst = self.sizes.burst;
        self.repeat(&mut trigger, burst, self.sizes.warm_up()).await?;
        let (host, own) = (self.cpu()?, worker.cpu()?);
        let events = self.repeat(&mut trigger, burst, self.sizes.time()).await?;
        let (host, own) = (self.cpu()? - host, worker.cpu()? - own);
        self.add(Figure::HostOfWorker, micros(host, events));
        self.add(Figure::Worker, micros(own, events));
        Ok(())
    }

    /// Has events emitted for so long; returns how many.
    async fn repeat(&mut self, trigger: &mut Trigger, count: u64, time: Duration) -> Result<u64> {
        let (start, mut events) = (Instant::now(), 0);
        while events == 0 || start.elapsed() < time {
            self.crowd.broadcast(trigger, count).await?;
            events += count;
        }
        Ok(events)
    }

    fn cpu(&self) -> Result<Duration> {
        self.servers.iter().map(Server::cpu).sum()
    }

    fn add(&mut self, figure: Figure, value: f64) {
        self.results.add(figure, self.kind, value);
    }
}

fn micros(used: Duration, operations: u64) -> f64 {
    used.as_secs_f64() * 1e6 / operations as f64
}
