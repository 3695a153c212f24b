//! The clients of a fault test.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::worker::Shift;
use crate::{Client, Connect, Driver, Gateway};

/// Clients of each gateway.
const CLIENTS: usize = 100;
/// Rooms; each has as many members as any other, half of them on each gateway.
pub(super) const ROOMS: usize = 20;
/// The event that is counted; its arguments are the worker's name and a number.
pub(super) const TICK: &str = "tick";
/// A worker's last event before a pause.
pub(super) const END: &str = "end";
/// How long an event may take that nothing holds up any more but a time-out of 5 s, twice, and a slow machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Clients that connect at the same time.
const AT_ONCE: usize = 10;

pub(super) fn room(index: usize) -> String {
    format!("room-{index}")
}

/// 200 clients of socket.io-client, 100 on each gateway, each in one room; and a witness beside them on each.
#[derive(Debug)]
pub struct Crowd {
    node: Driver,
    clients: Vec<Client>,
    /// Clients in no room that report everything when it comes.
    witnesses: Vec<Client>,
}

/// What a client received: of each worker the numbers, in the order of their arrival.
pub type Heard = HashMap<String, Vec<u64>>;

impl Crowd {
    /// Connects all of them.
    ///
    /// # Errors
    /// One is not let in.
    pub async fn connect(gateways: &[Gateway; 2]) -> Result<Self> {
        let node = Driver::node()?;
        let places = gateways.iter().flat_map(|gateway| (0..CLIENTS).map(|_| gateway.url()));
        let clients = places.enumerate().map(|(index, url)| member(&node, index, url));
        let clients: Vec<Client> = stream::iter(clients).buffered(AT_ONCE).try_collect().await?;
        let mut witnesses = Vec::new();
        for gateway in gateways {
            let connect = Connect::to_reference(gateway.url()).transports(&["websocket"]);
            let mut witness = node.connect(&format!("witness-{}", gateway.address()), connect).await?;
            witness.patience(PATIENCE);
            witnesses.push(witness);
        }
        Ok(Self {
            node,
            clients,
            witnesses,
        })
    }

    /// Waits until both witnesses have received an event that each worker began to emit after this call.
    ///
    /// # Errors
    /// It does not come in time, or a witness is disconnected.
    pub async fn hear_each(&mut self, shifts: &[Shift]) -> Result<()> {
        let floors: HashMap<_, _> = shifts.iter().map(|shift| (shift.name(), shift.next())).collect();
        for witness in &mut self.witnesses {
            let mut missing = floors.clone();
            while !missing.is_empty() {
                let tick = witness.event(TICK).await.with_context(|| format!("of {missing:?}"))?;
                let (worker, number): (String, u64) = serde_json::from_value(tick)?;
                if missing.get(&*worker).is_some_and(|floor| number >= *floor) {
                    missing.remove(&*worker);
                }
            }
        }
        Ok(())
    }

    /// What each client received since the last call; all workers have ended. The room of a client is its index modulo
    /// the number of rooms.
    ///
    /// # Errors
    /// One was disconnected, or does not hear all the workers' ends.
    pub async fn heard(&mut self, workers: usize) -> Result<Vec<Heard>> {
        for client in self.clients.iter_mut().chain(&mut self.witnesses) {
            for _ in 0..workers {
                client.until(END).await?;
            }
        }
        let names: Vec<_> = self.clients.iter().map(Client::name).collect();
        let numbers = self.node.request("numbers", json!({"clients": names})).await?;
        let heard: Vec<Heard> = serde_json::from_value(numbers)?;
        ensure!(heard.len() == self.clients.len(), "the driver forgets clients");
        Ok(heard)
    }
}

/// Every tenth begins by polling; all end as websockets.
async fn member(node: &Driver, index: usize, url: String) -> Result<Client> {
    let polls = index.is_multiple_of(10);
    let transports: &[&str] = if polls {
        &["polling", "websocket"]
    } else {
        &["websocket"]
    };
    let connect = Connect::to_reference(url).count(TICK).transports(transports);
    let mut client = node.connect(&format!("client-{index}"), connect).await?;
    client.patience(PATIENCE);
    if polls {
        client.upgraded().await?;
    }
    client.join(&room(index % ROOMS)).await?;
    Ok(client)
}
