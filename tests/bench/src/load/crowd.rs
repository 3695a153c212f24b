//! The clients of one measurement, all in one room.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::time::Instant;

use super::tally::Ledger;
use super::{Client, Faults, Tally};

const ROOM: &str = "hall";
/// Clients that connect at a time.
const CONNECTING: usize = 32;
/// Clients that wait for an echo at a time, when nothing is measured.
const SETTLING: usize = 50;

/// Who asks for a broadcast.
#[derive(Debug)]
pub(crate) enum Trigger {
    /// A client that is not in the room.
    Client(Client),
    /// The worker with this standard input.
    Worker(ChildStdin),
}

impl Trigger {
    /// A client of the server at this address.
    pub(crate) async fn client(address: SocketAddr) -> Result<Self> {
        let client = Client::connect(address, None, Ledger::after(0), Arc::default()).await?;
        Ok(Self::Client(client))
    }

    async fn pull(&mut self, first: u64, count: u64) -> Result<()> {
        match self {
            Self::Client(client) => client.emit(&format!(r#"["broadcast","{ROOM}",{first},{count}]"#)).await,
            Self::Worker(stdin) => Ok(stdin.write_all(format!("{first} {count}\n").as_bytes()).await?),
        }
    }
}

/// Clients that are all in one room.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    clients: Vec<Client>,
    tally: Arc<Tally>,
    /// The number of the last event.
    last: u64,
}

impl Crowd {
    /// Connects this many more clients, in turn to each of the servers.
    pub(crate) async fn join(&mut self, servers: &[SocketAddr], clients: usize) -> Result<()> {
        let addresses = servers.iter().copied().cycle().take(clients);
        let joining = stream::iter(addresses)
            .map(|address| Client::connect(address, Some(ROOM), Ledger::after(self.last), self.tally.clone()));
        let joined: Vec<_> = joining.buffer_unordered(CONNECTING).try_collect().await?;
        self.clients.extend(joined);
        Ok(())
    }

    /// How many clients there are.
    pub(crate) fn size(&self) -> u64 {
        self.clients.len() as u64
    }

    pub(crate) fn faults(&self) -> Faults {
        self.tally.faults()
    }

    /// Has `count` events emitted to the room, and waits until every client has all of them.
    ///
    /// # Errors
    /// Some do not arrive.
    pub(crate) async fn broadcast(&mut self, trigger: &mut Trigger, count: u64) -> Result<()> {
        self.tally.expect(count * self.size());
        trigger.pull(self.last + 1, count).await?;
        self.last += count;
        ensure!(self.tally.complete().await, "not all events arrived");
        Ok(())
    }

    /// So many clients send and get back as much as they can for so long; returns how often they did.
    pub(crate) async fn echo_for(&mut self, clients: usize, time: Duration) -> Result<u64> {
        let end = Instant::now() + time;
        let echoing = self.clients.iter_mut().take(clients).map(async |client| {
            let mut echoes = 0;
            while echoes == 0 || Instant::now() < end {
                client.echo().await?;
                echoes += 1;
            }
            anyhow::Ok(echoes)
        });
        Ok(try_join_all(echoing).await?.into_iter().sum())
    }

    /// Every client gets an echo: no event can be on its way to it any more, not even for the second time.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        let echoing = stream::iter(&mut self.clients).map(Client::echo);
        echoing.buffer_unordered(SETTLING).try_collect::<()>().await
    }
}
