//! Two gateways in their production form, for what is to be seen in their logs and metrics.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{Client, Connect, Driver, Gateway, RedisServer, Settings};

/// Two `hallporter` on one Redis with a client each, in the namespace `/`.
#[derive(Debug)]
pub struct Pair {
    /// The broker.
    pub redis: RedisServer,
    /// The gateways.
    pub gateways: [Gateway; 2],
    /// A client of each, in the same order.
    pub clients: [Client; 2],
    _settings: Settings,
}

impl Pair {
    /// Starts it with these settings on top; clients may join any room.
    ///
    /// # Errors
    /// Something is not installed, not built, or does not start.
    pub async fn start(environment: &[(&str, &str)]) -> Result<Self> {
        let redis = RedisServer::start().await?;
        let url = redis.url();
        let settings = format!(
            "[manager]\nurl = \"{url}\"\n\n[[namespace]]\nname = \"/\"\npublic = true\nclient_rooms = [\"*\"]\n"
        );
        let settings = Settings::new(&settings)?;
        let args = ["serve", "--config", settings.path()?];
        let (a, b) = tokio::try_join!(
            Gateway::hallporter("gateway-a", &args, environment),
            Gateway::hallporter("gateway-b", &args, environment)
        )?;
        let node = Driver::node()?;
        let clients = [
            node.connect("client-a", Connect::to(a.url())).await?,
            node.connect("client-b", Connect::to(b.url())).await?,
        ];
        for gateway in [&a, &b] {
            gateway.answers("/readyz", 200).await?;
        }
        Ok(Self {
            redis,
            gateways: [a, b],
            clients,
            _settings: settings,
        })
    }

    /// Publishes an emit to everyone, as a worker does, and checks that it is the next thing each client receives.
    ///
    /// # Errors
    /// It is not.
    pub async fn reaches_everyone(&mut self, event: &str) -> Result<()> {
        self.redis
            .publish("socketio", emit(event, json!([1]), None).as_bytes())
            .await?;
        for client in &mut self.clients {
            client.event(event).await?;
        }
        Ok(())
    }
}

/// An emit in python-socketio's format, to everyone in `/` or to a room.
#[must_use]
pub fn emit(event: &str, args: Value, room: Option<&str>) -> String {
    json!({
        "method": "emit", "event": event, "data": args, "binary": false, "namespace": "/",
        "room": room, "skip_sid": null, "callback": null, "host_id": "0123456789abcdef0123456789abcdef",
    })
    .to_string()
}
