//! A room to talk in, for twenty users: who comes is known by name and reads what was said before.
//!
//! `cargo run --release -p hallporter --example irc`, then open <http://127.0.0.1:3000>. Several on one broker are a cluster:
//! `HALLPORTER_MANAGER__URL=redis://127.0.0.1:6379 HALLPORTER_LISTEN=127.0.0.1:3001 cargo run …`. Each gateway keeps a history of its own, hears
//! what is said on the others, and asks them for what it has missed.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use axum::Router;
use axum::response::Html;
use axum::routing::get;
use hallporter::config::{Sources, load};
use hallporter::{
    Data, Error, Gateway, Handshake, Namespace, Refusal, Session, Sid, State, Talk, User, UserChange, shutdown,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::task::block_in_place;

const DEFAULTS: &str = r#"
demo = false
[app.irc]
file = "irc.json"   # where the history is kept
save = "10s"        # how often it is written there
idle = "10m"        # who says nothing for so long is disconnected
"#;

const MAX_USERS: usize = 20;
const MAX_MESSAGES: usize = 1000;
/// Messages that one gateway tells another at once; together they stay below `manager.max_message`.
const PART: usize = 100;
/// All clients are in it from when they begin to connect, so that they miss nothing.
const ROOM: &str = "everyone";

/// The order of the fields is the order of messages.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Message {
    time: u64,
    author: String,
    text: String,
}

/// What this gateway knows.
#[derive(Default)]
struct Room {
    file: PathBuf,
    idle: Duration,
    history: BTreeSet<Message>,
    has_unsaved: bool,
    /// When each user who is online, on whatever gateway, came or last said something.
    active: HashMap<String, u64>,
}
type Irc = State<Mutex<Room>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = load(Sources {
        defaults: DEFAULTS,
        environment: std::env::vars().collect(),
        ..Sources::default()
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(config.log.as_str());
    log.with_ansi(false).with_writer(std::io::stderr).init();
    let duration = |path| humantime::parse_duration(&config.app.get::<String>(path)?).context(path);
    let mut room = Room {
        file: config.app.get("irc.file")?,
        idle: duration("irc.idle")?,
        ..Room::default()
    };
    if room.file.exists() {
        room.history = serde_json::from_slice(&std::fs::read(&room.file)?).context("irc.file")?;
    }
    let (room, save_interval) = (Arc::new(Mutex::new(room)), duration("irc.save")?);
    let namespace = Namespace::new("/")
        .on_connect(connect)
        .on_user(user_changed)
        .on("say", say)
        .on_server_side("said", said)
        .on_server_side("hello", tell);
    let gateway = Gateway::new(config)
        .routes(Router::new().route("/", get(async || Html(include_str!("irc.html")))))
        .state(room.clone())
        .namespace(namespace)
        .every(save_interval, save)
        .every_once_per_cluster(Duration::from_secs(1), clear_idle)
        .on_listening(catch_up);
    gateway.bind().await?.serve(shutdown::requested()?).await?;
    save(State(room)).await.map_err(|error| anyhow::anyhow!("{error}"))
}

/// Known users come in by their name, up to twenty of them; others are asked for one.
async fn connect(Sid(sid): Sid, from: Handshake, session: Session, irc: Irc, talk: Talk) -> Result<(), Error> {
    let name = from.auth["name"].as_str().unwrap_or_default().trim();
    if name.is_empty() || name.chars().count() > 20 || name.contains(char::is_control) {
        return Err(Refusal::new("what is your name?").data("name").into());
    }
    // Locked, so that no two take the last place, and everyone gets each message once: with the history, or after it.
    let room = irc.lock().await;
    if talk.user_count() >= MAX_USERS && !talk.is_online(name) {
        return Err(Refusal::new(format!("{MAX_USERS} users are here already")).into());
    }
    talk.join(&sid, ROOM).await?;
    talk.to(sid).emit("history", &room.history).await?;
    session.bind_user(name).await
}

/// A user has joined or left, on whatever gateway. Each gateway is told, and tells its own clients.
async fn user_changed(UserChange { user, is_online }: UserChange, irc: Irc, talk: Talk) -> Result<(), Error> {
    let event = if is_online { "joined" } else { "left" };
    talk.local().to(ROOM).emit(event, &(&user, talk.user_count())).await?;
    match is_online {
        true => irc.lock().await.active.insert(user, now()?),
        false => irc.lock().await.active.remove(&user),
    };
    // On two gateways two may have taken the last place. All of them agree by name on who goes.
    for user in BTreeSet::from_iter(talk.users()).iter().skip(MAX_USERS) {
        talk.disconnect_user(user).await?;
    }
    Ok(())
}

async fn say(Data(text): Data<String>, User(author): User, irc: Irc, talk: Talk) -> Result<(), Error> {
    if text.trim().is_empty() || text.chars().count() > 500 {
        return Err(Error::bad_request("say something, in at most 500 letters"));
    }
    let time = now()?;
    let messages = vec![Message { time, author, text }];
    // First, so that nobody reads what the others never will.
    talk.server_side_emit("said", &messages).await?;
    said(Data(messages), irc, talk).await
}

/// Keeps what was said, on whatever gateway, and tells the clients of this one what is new.
async fn said(Data(messages): Data<Vec<Message>>, irc: Irc, talk: Talk) -> Result<(), Error> {
    let mut room = irc.lock().await;
    for message in messages {
        if let Some(active) = room.active.get_mut(&message.author) {
            *active = message.time.max(*active);
        }
        let is_new = room.history.insert(message.clone());
        let is_too_old = room.history.len() > MAX_MESSAGES && room.history.pop_first().as_ref() == Some(&message);
        if is_new && !is_too_old {
            room.has_unsaved = true;
            talk.local().to(ROOM).emit("said", &message).await?;
        }
    }
    Ok(())
}

/// Tells the other gateways the whole history.
async fn tell(irc: Irc, talk: Talk) -> Result<(), Error> {
    let history = Vec::from_iter(irc.lock().await.history.clone());
    for part in history.chunks(PART) {
        talk.server_side_emit("said", &part).await?;
    }
    Ok(())
}

/// Exchanges with the other gateways what either has missed: at the start, and when the broker was away.
async fn catch_up(irc: Irc, talk: Talk) -> Result<(), Error> {
    talk.server_side_emit("hello", &()).await?;
    tell(irc, talk).await
}

/// Disconnects who has said nothing for long.
async fn clear_idle(irc: Irc, talk: Talk) -> Result<(), Error> {
    let now = now()?;
    let room = irc.lock().await;
    for (user, active) in &room.active {
        if Duration::from_millis(now.saturating_sub(*active)) > room.idle {
            talk.disconnect_user(user).await?;
        }
    }
    Ok(())
}

/// Writes the history to disk if there is something new. Whoever reads the file finds the old one or the new one.
async fn save(irc: Irc) -> Result<(), Error> {
    let mut room = irc.lock().await;
    if room.has_unsaved {
        let json = serde_json::to_vec(&room.history)?;
        let half = room.file.with_extension(format!("{}.half", std::process::id()));
        block_in_place(|| std::fs::write(&half, json).and_then(|()| std::fs::rename(&half, &room.file)))?;
        room.has_unsaved = false;
    }
    Ok(())
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "messages bear the time of the wall clock")]
fn now() -> Result<u64, Error> {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
    Ok(u64::try_from(time)?)
}
