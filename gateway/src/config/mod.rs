//! What a gateway can be told, and where it is told: defaults, then a TOML file, then the environment, then flags.

mod api;
mod app;
mod layers;
mod load;
mod mistake;
mod route;
mod source;
mod token;
mod toml;
mod tree;
mod units;
mod validate;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hallporter_adapters::url::BrokerUrl;
use hallporter_adapters::{ManagerOptions, UserPolicy};
use serde::Deserialize;

pub use api::{Api, ApiKey, Scope};
pub use app::{AppConfig, AppConfigError};
pub use layers::Sources;
pub use load::{check, load};
pub use mistake::{ConfigError, Mistake};
pub use route::{Destination, DestinationError, EventPattern, Route};
pub(crate) use token::KeySource;
pub use token::Token;
pub use units::Secret;

/// The configuration of a gateway. Every key has a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen. Default `127.0.0.1:3000`; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The path of the Socket.IO endpoint. Default `/socket.io/`.
    pub path: String,
    /// What to log: a level, or `tracing` directives such as `info,hallporter=debug`. Default `info`.
    pub log: String,
    /// Whether to serve the demo page at `/`. Default: only when there is no configuration file.
    pub demo: Option<bool>,
    /// Origins of web pages, besides the gateway's own, that may connect: `https://example.org`, or `*` for all. Default none.
    pub allowed_origins: Vec<String>,
    /// What the protocol says to clients.
    pub engine: Engine,
    /// What the gateway allows.
    pub limits: Limits,
    /// The broker.
    pub manager: Manager,
    /// What this gateway is called among the servers of its cluster.
    pub instance: Instance,
    /// The HTTP API.
    pub api: Api,
    /// The tokens that let clients in. Default none.
    pub token: Option<Token>,
    /// The namespaces clients may connect to, beside those of the user's code. Default, where there is no such code: `/` alone, which is
    /// public unless there is a `[token]`.
    pub namespace: Vec<Namespace>,
    /// Where events of clients go, before the user's code in the gateway is asked. Default none.
    pub route: Vec<Route>,
    /// The values of the user's own code, read by dotted path. Clones of a configuration share them.
    pub app: AppConfig,
}

/// `[engine]`: what the protocol says to clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// Time between two heartbeats. Default 25 s.
    #[serde(deserialize_with = "units::duration")]
    pub ping_interval: Duration,
    /// How long a client may take to answer one. Default 20 s.
    #[serde(deserialize_with = "units::duration")]
    pub ping_timeout: Duration,
    /// How long a client may stay without connecting to a namespace. Default 45 s.
    #[serde(deserialize_with = "units::duration")]
    pub connect_timeout: Duration,
    /// The largest packet a client may send, in bytes, on either transport. Default 1,000,000.
    #[serde(deserialize_with = "units::size")]
    pub max_payload: usize,
    /// The transports offered. Default both.
    pub transports: Vec<Transport>,
    /// How long an upgrade from polling to WebSocket may take. Default 10 s.
    #[serde(deserialize_with = "units::duration")]
    pub upgrade_timeout: Duration,
    /// Whether clients of Engine.IO 3 (socket.io-client 2.x) are let in. Default false.
    pub allow_eio3: bool,
    /// The name of a cookie that carries the session id, for load balancers that go by one. Default none.
    pub cookie: Option<String>,
    /// How packets are written. Default `json`.
    pub parser: Parser,
}

/// How a session moves bytes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// WebSocket.
    Websocket,
}

/// How packets are written.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Parser {
    /// The default parser of Socket.IO.
    Json,
    /// The parser of socket.io-msgpack-parser.
    Msgpack,
}

/// `[limits]`: what the gateway allows.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// What may wait to be written to one client, in bytes; one that needs more is disconnected. Default 1 MiB.
    #[serde(deserialize_with = "units::size")]
    pub client_buffer: usize,
    /// How long a client may take nothing of what is written to it before it is disconnected. Default 10 s.
    #[serde(deserialize_with = "units::duration")]
    pub write_stall: Duration,
    /// How long a client may take to send the head of an HTTP request, and to begin the next one on the same connection.
    /// Default 30 s.
    #[serde(deserialize_with = "units::duration")]
    pub request_head: Duration,
    /// Events of one socket that may wait for its handlers; meanwhile nothing is read from the client. Default 1,024.
    pub waiting_events: usize,
    /// Bytes of events of one socket that may wait for its handlers, likewise. Default 1 MiB.
    #[serde(deserialize_with = "units::size")]
    pub waiting_bytes: usize,
    /// Attachments of one packet. Default 100.
    pub attachments: usize,
    /// Bytes of all attachments of one packet. Default 10 MiB.
    #[serde(deserialize_with = "units::size")]
    pub assembly_bytes: usize,
    /// How long the attachments of one packet may take to arrive. Default 10 s.
    #[serde(deserialize_with = "units::duration")]
    pub assembly_time: Duration,
    /// Namespaces one client may be in. Default 100.
    pub namespaces: usize,
    /// What the session of one socket may hold, in bytes of JSON. Default 64 KiB.
    #[serde(deserialize_with = "units::size")]
    pub session: usize,
    /// Clients that have opened a session and not connected to a namespace yet; further ones are told to come back. Default 20,000.
    pub connecting: usize,
}

/// `[manager]`: the broker.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Manager {
    /// Where it is: `memory://` (no broker), `redis://…`, `valkey://…`, `amqp://…`, `amqps://…`, `nats://…`, `tls://…` (NATS with TLS). Default `memory://`.
    #[serde(deserialize_with = "units::broker_url")]
    pub url: BrokerUrl,
    /// Separates clusters on one broker. Default `socketio`.
    #[serde(deserialize_with = "units::text")]
    pub channel: String,
    /// The largest message sent or accepted, in bytes. Default 1 MiB.
    #[serde(deserialize_with = "units::size")]
    pub max_message: usize,
    /// How often the way through the broker is tried. Default 2 s.
    #[serde(deserialize_with = "units::duration")]
    pub canary_interval: Duration,
    /// How long clients may take to acknowledge an emit of another host. Default 60 s.
    #[serde(deserialize_with = "units::duration")]
    pub ack_timeout: Duration,
    /// How long other hosts may take to answer a query. Default 5 s.
    #[serde(deserialize_with = "units::duration")]
    pub query_timeout: Duration,
}

/// `[instance]`: what this gateway is called among the servers of its cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Instance {
    /// Its id, by which others call its methods. Default: its host id, new at each start.
    #[serde(deserialize_with = "units::some_text")]
    pub id: Option<String>,
    /// Its type, by which others call the methods of all that have it. Default `gateway`.
    #[serde(rename = "type", deserialize_with = "units::text")]
    pub kind: String,
}

/// `[[namespace]]`: one that clients may connect to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    /// Its name, such as `/chat`, or a pattern, such as `/tenant-{id}`.
    pub name: String,
    /// Rooms that clients may join and leave by themselves, `*` standing for any characters. Default none.
    #[serde(default)]
    pub client_rooms: Vec<String>,
    /// Whether clients need no token. One that is sent has to be valid all the same. Where there is no `[token]`, a namespace that
    /// is not public is open only to those whom a handler lets in. Default false.
    #[serde(default)]
    pub public: bool,
    /// How often a user may be here at once, over the whole cluster: `many`, `replace_old` or `refuse_new`. Default: as the code says, or `many`.
    #[serde(default)]
    pub users: Option<UserPolicy>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3000),
            path: "/socket.io/".into(),
            log: "info".into(),
            demo: None,
            allowed_origins: Vec::new(),
            engine: Engine::default(),
            limits: Limits::default(),
            manager: Manager::default(),
            instance: Instance::default(),
            api: Api::default(),
            token: None,
            namespace: Vec::new(),
            route: Vec::new(),
            app: AppConfig::default(),
        }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(45),
            max_payload: 1_000_000,
            transports: vec![Transport::Polling, Transport::Websocket],
            upgrade_timeout: Duration::from_secs(10),
            allow_eio3: false,
            cookie: None,
            parser: Parser::Json,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            client_buffer: 1 << 20,
            write_stall: Duration::from_secs(10),
            request_head: Duration::from_secs(30),
            waiting_events: 1024,
            waiting_bytes: 1 << 20,
            attachments: 100,
            assembly_bytes: 10 << 20,
            assembly_time: Duration::from_secs(10),
            namespaces: 100,
            session: 64 << 10,
            connecting: 20_000,
        }
    }
}

impl Default for Manager {
    fn default() -> Self {
        let options = ManagerOptions::default();
        Self {
            url: BrokerUrl::memory(),
            channel: options.channel,
            max_message: options.max_message,
            canary_interval: options.canary_interval,
            ack_timeout: options.ack_timeout,
            query_timeout: options.query_timeout,
        }
    }
}

impl Default for Instance {
    fn default() -> Self {
        Self {
            id: None,
            kind: ManagerOptions::default().instance_type,
        }
    }
}

impl Config {
    /// What the manager is told.
    pub(crate) fn manager_options(&self) -> ManagerOptions {
        ManagerOptions {
            instance: self.instance.id.clone(),
            instance_type: self.instance.kind.clone(),
            ..self.manager.options()
        }
    }

    /// The namespaces it opens; `has_code` when there are others.
    pub(crate) fn namespaces(&self, has_code: bool) -> Vec<Namespace> {
        match self.namespace.is_empty() && !has_code {
            true => vec![Namespace {
                client_rooms: Vec::from_iter((self.demo == Some(true)).then(|| "*".to_owned())),
                public: self.token.is_none(),
                ..Namespace::new("/")
            }],
            false => self.namespace.clone(),
        }
    }

    /// The name or pattern that opens this namespace, where no code does.
    pub fn opened(&self, namespace: &str) -> Option<Namespace> {
        let mut opened = self.namespaces(false);
        let by_name = opened.iter().position(|known| known.name == namespace);
        let at = by_name.or_else(|| {
            let mut patterns = matchit::Router::new();
            for (at, known) in opened.iter().enumerate().filter(|(_, known)| known.name.contains('{')) {
                // One that is no pattern opens nothing.
                let _ = patterns.insert(known.name.as_str(), at);
            }
            patterns.at(namespace).ok().map(|found| *found.value)
        });
        at.map(|at| opened.swap_remove(at))
    }
}

impl Config {
    /// What works and is not wise.
    pub fn warnings(&self) -> Vec<String> {
        self.api.short().collect()
    }
}

impl Manager {
    /// The same, as the manager takes it.
    pub fn options(&self) -> ManagerOptions {
        ManagerOptions {
            channel: self.channel.clone(),
            max_message: self.max_message,
            canary_interval: self.canary_interval,
            ack_timeout: self.ack_timeout,
            query_timeout: self.query_timeout,
            ..ManagerOptions::default()
        }
    }
}

impl Namespace {
    /// A namespace that is not public, and whose clients join no rooms by themselves.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            client_rooms: Vec::new(),
            public: false,
            users: None,
        }
    }

    /// The same, for clients without a token too.
    #[must_use]
    pub fn public(self) -> Self {
        Self { public: true, ..self }
    }
}
