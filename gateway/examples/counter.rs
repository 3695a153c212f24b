//! One number that everyone counts up, and how many are connected.
//!
//! `cargo run --release -p hallporter --example counter`, then open <http://127.0.0.1:3000>.
//!
//! It reads the ordinary configuration, so several on one broker are a cluster:
//! `HALLPORTER_MANAGER__URL=redis://127.0.0.1:6379 HALLPORTER_LISTEN=127.0.0.1:3001 cargo run …`. How they share what they count:
//!
//! - **The number** is a sum. Each gateway counts what its own clients add and tells the others how far it is; each remembers of all the furthest
//!   it has heard. So it does not matter in which order, or how often, they hear of it; and what one has missed it asks for. It is gone when all are.
//! - **Who is connected** the gateways know of each other already, for users: here every socket is a user of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use hallporter::config::{Sources, load};
use hallporter::{Data, Error, Gateway, Namespace, Session, Sid, State, Talk, shutdown};
use tokio::sync::Mutex;

/// All clients are in it from when they begin to connect, so that they miss nothing.
const ROOM: &str = "everyone";

/// How far each gateway has counted.
type Counts = BTreeMap<String, u64>;

struct Counter {
    /// This gateway among the counts.
    own: String,
    counts: Mutex<Counts>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = load(Sources {
        defaults: "demo = false",
        environment: std::env::vars().collect(),
        ..Sources::default()
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(config.log.as_str());
    log.with_ansi(false).with_writer(std::io::stderr).init();
    let counter = Counter {
        own: rand::random::<u64>().to_string(),
        counts: Mutex::default(),
    };
    let namespace = Namespace::new("/")
        .on_connect(connect)
        .on_user(connected)
        .on("add", add)
        .on_server_side("counts", counts)
        .on_server_side("hello", tell);
    let gateway = Gateway::new(config)
        .routes(Router::new().route("/", get(async || Html(include_str!("counter.html")))))
        .state(Arc::new(counter))
        .namespace(namespace)
        .on_listening(catch_up);
    gateway.bind().await?.serve(shutdown::requested()?).await?;
    Ok(())
}

async fn connect(Sid(sid): Sid, session: Session, counter: State<Counter>, talk: Talk) -> Result<(), Error> {
    talk.join(&sid, ROOM).await?;
    session.bind_user(&sid).await?;
    let counts = counter.counts.lock().await;
    show(&counts, &talk.to(sid)).await
}

/// Tells the clients of this gateway how many there are on all gateways, whenever one comes or goes anywhere.
async fn connected(talk: Talk) -> Result<(), Error> {
    Ok(talk.local().to(ROOM).emit("connected", &talk.user_count()).await?)
}

async fn add(counter: State<Counter>, talk: Talk) -> Result<(), Error> {
    let own = {
        let mut counts = counter.counts.lock().await;
        let own = counts.entry(counter.own.clone()).or_default();
        *own += 1;
        let own = *own;
        show(&counts, &talk.local().to(ROOM)).await?;
        own
    };
    Ok(talk
        .server_side_emit("counts", &Counts::from([(counter.own.clone(), own)]))
        .await?)
}

/// Another gateway tells how far it has counted, or how far it has heard others have.
async fn counts(Data(theirs): Data<Counts>, counter: State<Counter>, talk: Talk) -> Result<(), Error> {
    let mut counts = counter.counts.lock().await;
    for (gateway, theirs) in theirs {
        let known = counts.entry(gateway).or_default();
        *known = theirs.max(*known);
    }
    show(&counts, &talk.local().to(ROOM)).await
}

/// Called with the counts locked, so that no client hears an older sum after a newer one.
async fn show(counts: &Counts, talk: &Talk) -> Result<(), Error> {
    Ok(talk.emit("value", &counts.values().sum::<u64>()).await?)
}

/// Tells the other gateways all that this one knows.
async fn tell(counter: State<Counter>, talk: Talk) -> Result<(), Error> {
    let counts = counter.counts.lock().await.clone();
    Ok(talk.server_side_emit("counts", &counts).await?)
}

/// Exchanges with the other gateways what either has missed: at the start, and when the broker was away.
async fn catch_up(counter: State<Counter>, talk: Talk) -> Result<(), Error> {
    talk.server_side_emit("hello", &()).await?;
    tell(counter, talk).await
}
