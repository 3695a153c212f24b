//! What most tests of delivery need: a client of each language on each of two gateways.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{Client, Cluster, Connect, Driver, Report, settle};

/// A cluster with four clients; the constants name their places.
#[derive(Debug)]
pub struct Scene {
    /// The gateways and the broker.
    pub cluster: Cluster,
    /// Holds the clients of socket.io-client.
    pub node: Driver,
    /// Holds the clients of python-socketio.
    pub python: Driver,
    /// The clients, in the order of the constants; more may follow, the place `NODE_B` has to stay on gateway `b`.
    pub clients: Vec<Client>,
}

/// socket.io-client on gateway `a`.
pub const NODE_A: usize = 0;
/// python-socketio on gateway `a`.
pub const PYTHON_A: usize = 1;
/// socket.io-client on gateway `b`.
pub const NODE_B: usize = 2;
/// python-socketio on gateway `b`.
pub const PYTHON_B: usize = 3;

impl Scene {
    /// Starts one with all clients in the namespace `/`.
    ///
    /// # Errors
    /// Something is not installed, not built, or does not start.
    pub async fn start() -> Result<Self> {
        Self::configured(|connect| connect).await
    }

    /// Starts one, each client connecting as `configure` says.
    ///
    /// # Errors
    /// Something is not installed, not built, or does not start.
    pub async fn configured(configure: impl Fn(Connect) -> Connect) -> Result<Self> {
        let (node, python) = (Driver::node()?, Driver::python()?);
        let cluster = Cluster::start().await?;
        let (a, b) = (cluster.a.url(), cluster.b.url());
        let clients = vec![
            node.connect("node-a", configure(Connect::to_reference(&a))).await?,
            python.connect("python-a", configure(Connect::to_reference(&a))).await?,
            node.connect("node-b", configure(Connect::to_reference(&b))).await?,
            python.connect("python-b", configure(Connect::to_reference(&b))).await?,
        ];
        Ok(Self {
            cluster,
            node,
            python,
            clients,
        })
    }

    /// The sid of a client.
    #[must_use]
    pub fn sid(&self, client: usize) -> &str {
        self.clients[client].sid()
    }

    /// Has these clients join a room.
    ///
    /// # Errors
    /// One may not.
    pub async fn join(&self, room: &str, members: &[usize]) -> Result<()> {
        for &member in members {
            self.clients[member].join(room).await?;
        }
        Ok(())
    }

    /// Has a client broadcast by the event `broadcast`, whose argument is `request`.
    ///
    /// # Errors
    /// It is not acked.
    pub async fn broadcast(&self, sender: usize, request: Value) -> Result<()> {
        self.clients[sender].ask("broadcast", json!([request])).await?;
        Ok(())
    }

    /// Publishes a message in python-socketio's format, as a worker does.
    ///
    /// # Errors
    /// Not both gateways listen.
    pub async fn publish(&self, message: Value) -> Result<()> {
        let hosts = self
            .cluster
            .redis
            .publish("socketio", message.to_string().as_bytes())
            .await?;
        ensure!(hosts == 2, "{hosts} hosts listen");
        Ok(())
    }

    /// What each client received, once nothing more can be coming.
    ///
    /// # Errors
    /// A client is no longer connected.
    pub async fn received(&mut self) -> Result<Vec<Vec<Report>>> {
        settle(&mut self.clients, [NODE_A, NODE_B]).await
    }

    /// Checks that these clients received exactly this event since the last check, and the others nothing.
    ///
    /// # Errors
    /// They did not.
    pub async fn only(&mut self, receivers: &[usize], event: &str, args: Value) -> Result<()> {
        let received = self.received().await?;
        for (index, reports) in received.iter().enumerate() {
            let name = self.clients[index].name();
            let expected = match receivers.contains(&index) {
                true => vec![(event.to_owned(), args.clone())],
                false => vec![],
            };
            ensure!(*reports == expected, "{name} received {reports:?} and not {expected:?}");
        }
        Ok(())
    }
}
