//! The reference application: every protocol feature at once, for tests and benchmarks to run against.
//!
//! It reads the ordinary configuration, so two of them on one broker are a cluster:
//! `HALLPORTER_MANAGER__URL=redis://127.0.0.1:6379 cargo run --release -p hallporter --example reference`

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use axum::body::Bytes;
use axum::routing::get;
use axum::{Json, Router};
use hallporter::adapters::{Args, Emit, EventName, Target};
use hallporter::config::{Sources, Transport, load};
use hallporter::{DisconnectReason, Event, Gateway, Handler, Refusal, Socket, shutdown};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};
use tracing_subscriber::EnvFilter;

const DEFAULTS: &str = r#"
demo = false
allowed_origins = ["*"]

[engine]
ping_interval = "1s"
ping_timeout = "1500ms"
connect_timeout = "1s"
max_payload = 1000000
allow_eio3 = true

[[namespace]]
name = "/"
[[namespace]]
name = "/custom"
[[namespace]]
name = "/other"
[[namespace]]
name = "/tenant-{name}"
"#;

/// Tags whose disconnect reason is kept, at most.
const MAX_TAGS: usize = 10_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = load(Sources {
        defaults: DEFAULTS,
        environment: std::env::vars().collect(),
        ..Sources::default()
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("async_nats=off,lapin=off,{}", config.log)))
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let stats = Arc::<Stats>::default();
    let shown = stats.clone();
    let routes = Router::new().route("/_stats", get(async move || Json(shown.to_json())));
    let gateway = Gateway::new(config)
        .handler(Reference { stats })
        .routes(routes)
        .bind()
        .await?;
    gateway.serve(shutdown::requested()?).await?;
    Ok(())
}

#[derive(Debug)]
struct Reference {
    stats: Arc<Stats>,
}

#[derive(Debug, Default)]
struct Stats {
    connects: AtomicU64,
    disconnects: AtomicU64,
    tasks: AtomicU64,
    namespaces: Mutex<HashMap<String, u64>>,
    reasons: Mutex<HashMap<String, &'static str>>,
}

impl Stats {
    fn to_json(&self) -> Value {
        json!({
            "connects": self.connects.load(Ordering::Relaxed),
            "disconnects": self.disconnects.load(Ordering::Relaxed),
            "namespaces": *self.namespaces.lock().unwrap_or_else(PoisonError::into_inner),
            "tasks": self.tasks.load(Ordering::Relaxed),
        })
    }
}

/// A handler that is running.
struct Task<'a>(&'a Stats);

impl<'a> Task<'a> {
    fn of(stats: &'a Stats) -> Self {
        stats.tasks.fetch_add(1, Ordering::Relaxed);
        Self(stats)
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        self.0.tasks.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Handler for Reference {
    async fn connect(&self, socket: &Socket) -> Result<(), Refusal> {
        let tenant = socket.namespace().strip_prefix("/tenant-");
        let allowed = |char: char| char.is_ascii_alphanumeric() || "_-".contains(char);
        if tenant.is_some_and(|name| name.is_empty() || !name.chars().all(allowed)) {
            return Err(Refusal::new("Invalid namespace"));
        }
        match socket.handshake().auth["token"].as_str() {
            Some("deny") => return Err(Refusal::new("not authorized").data(json!({"code": "E_AUTH"}))),
            Some("slow") => sleep(Duration::from_millis(300)).await,
            _ => {}
        }
        // One that goes before it is told has its disconnect handler run too.
        self.stats.connects.fetch_add(1, Ordering::Relaxed);
        let mut namespaces = self.stats.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        *namespaces.entry(socket.namespace().to_owned()).or_default() += 1;
        Ok(())
    }

    async fn connected(&self, socket: &Socket) {
        if let Err(error) = socket.emit("auth", &socket.handshake().auth) {
            tracing::error!(%error, "auth was not sent");
        }
    }

    async fn event(&self, socket: &Socket, event: Event) -> Option<Event> {
        let _task = Task::of(&self.stats);
        let name = event.name.clone();
        if let Err(error) = self.answer(socket, event).await {
            tracing::debug!(event = name, "{error:#}");
        }
        None
    }

    async fn disconnect(&self, socket: &Socket, reason: DisconnectReason) {
        self.stats.disconnects.fetch_add(1, Ordering::Relaxed);
        let mut namespaces = self.stats.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = namespaces.get_mut(socket.namespace()) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                namespaces.remove(socket.namespace());
            }
        }
        drop(namespaces);
        if let Some(tag) = socket.handshake().auth["tag"].as_str() {
            let mut reasons = self.stats.reasons.lock().unwrap_or_else(PoisonError::into_inner);
            if reasons.len() < MAX_TAGS {
                reasons.insert(tag.to_owned(), reason.as_str());
            }
        }
    }
}

impl Reference {
    async fn answer(&self, socket: &Socket, event: Event) -> anyhow::Result<()> {
        match event.name.as_str() {
            "message" => socket.emit_args("message-back", event.args, false),
            "message-with-ack" | "echo" => {
                let args = event.args.clone();
                event.ack_args(&args);
            }
            "ask" => {
                let ask: Ask = first(&event)?;
                let timeout = Duration::from_millis(ask.timeout);
                let answer = socket.emit_with_ack(&ask.event, one(ask.data, &event)?, timeout).await;
                match answer {
                    Some(answer) => {
                        let (values, attachments) = firsts([&answer])?;
                        let answer = json!([{"ok": true, "data": values[0]}]);
                        event.ack_args(&Args::from_json_array(&answer.to_string(), attachments)?);
                    }
                    None => event.ack(&json!({"ok": false, "error": "timeout"})),
                }
            }
            "join" => {
                for room in first::<OneOrMore>(&event)?.into_vec() {
                    socket.join(&room)?;
                }
                event.ack("ok");
            }
            "leave" => {
                for room in first::<OneOrMore>(&event)?.into_vec() {
                    socket.leave(&room);
                }
                event.ack("ok");
            }
            "rooms" => event.ack(&socket.rooms()),
            "broadcast" => {
                let broadcast: Broadcast = first(&event)?;
                socket.manager().emit(broadcast.emit(socket, &event)?).await?;
                event.ack("ok");
            }
            "broadcast-ack" => {
                let broadcast: Broadcast = first(&event)?;
                let timeout = Duration::from_millis(broadcast.timeout);
                let emit = Broadcast {
                    to_self: true,
                    ..broadcast
                }
                .emit(socket, &event)?;
                let (acks, failed) = socket.manager().emit_with_ack(emit, timeout).await?.all().await;
                let (values, attachments) = firsts(acks.iter().map(|ack| &ack.args))?;
                let answer = json!([{"acks": values, "failed": failed}]);
                event.ack_args(&Args::from_json_array(&answer.to_string(), attachments)?);
            }
            "to-id" => {
                let to: ToId = first(&event)?;
                let emit = emit_to(socket, Target::room(to.id), &to.event, one(to.data, &event)?, false);
                socket.manager().emit(emit).await?;
                event.ack("ok");
            }
            "info" => event.ack(&info(socket)),
            "kick" => socket.disconnect(),
            "last-disconnect" => {
                let tag: String = first(&event)?;
                let reason = self
                    .stats
                    .reasons
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get(&tag)
                    .copied();
                event.ack(&reason);
            }
            "burst" => {
                let burst: Burst = first(&event)?;
                let text = "x".repeat(burst.size);
                for index in 0..burst.n {
                    socket.emit_args("burst", Args::encode(&(index, &text))?, burst.volatile);
                }
                event.ack(&json!({}));
            }
            "flood" => {
                let flood: Flood = first(&event)?;
                let args = Args::encode(&"x".repeat(flood.size))?;
                let start = Instant::now();
                for step in 0..=flood.ms / 5 {
                    sleep_until(start + Duration::from_millis(step * 5)).await;
                    for _ in 0..10 {
                        socket.emit_args("flood", args.clone(), false);
                    }
                }
            }
            "work" => sleep(Duration::from_secs(20)).await,
            #[expect(clippy::panic, reason = "it is asked to")]
            "panic" => panic!("asked to"),
            name => {
                let name = Value::from(name);
                let separator = if event.args.is_empty() { "" } else { "," };
                let args = format!("[{name}{separator}{}]", event.args.as_json());
                socket.emit_args(
                    "fallback",
                    Args::from_json_array(&args, event.args.attachments().to_vec())?,
                    false,
                );
            }
        }
        Ok(())
    }
}

fn info(socket: &Socket) -> Value {
    let handshake = socket.handshake();
    let headers = handshake.headers.iter();
    let headers: HashMap<_, _> = headers
        .map(|(name, value)| (name, String::from_utf8_lossy(value)))
        .collect();
    json!({
        "sid": socket.sid(),
        "ns": socket.namespace(),
        "query": &*handshake.query,
        "headers": headers,
        "address": handshake.address,
        "transport": match socket.transport() {
            Transport::Polling => "polling",
            Transport::Websocket => "websocket",
        },
    })
}

#[derive(Deserialize)]
struct Ask {
    event: String,
    #[serde(default, deserialize_with = "present")]
    data: Option<Box<RawValue>>,
    timeout: u64,
}

#[derive(Deserialize)]
struct Broadcast {
    event: String,
    #[serde(default, deserialize_with = "present")]
    data: Option<Box<RawValue>>,
    room: Option<OneOrMore>,
    except: Option<OneOrMore>,
    #[serde(default, rename = "self")]
    to_self: bool,
    #[serde(default)]
    volatile: bool,
    #[serde(default)]
    timeout: u64,
}

impl Broadcast {
    fn emit(self, socket: &Socket, event: &Event) -> anyhow::Result<Emit> {
        let mut except = self.except.map(OneOrMore::into_vec).unwrap_or_default();
        if !self.to_self {
            except.push(socket.sid().to_owned());
        }
        let target = Target {
            rooms: self.room.map(OneOrMore::into_vec),
            except,
        };
        Ok(emit_to(
            socket,
            target,
            &self.event,
            one(self.data, event)?,
            self.volatile,
        ))
    }
}

fn emit_to(socket: &Socket, target: Target, event: &str, args: Args, volatile: bool) -> Emit {
    Emit {
        namespace: socket.namespace().into(),
        target,
        event: EventName::new(event),
        args,
        volatile,
    }
}

#[derive(Deserialize)]
struct ToId {
    id: String,
    event: String,
    #[serde(default, deserialize_with = "present")]
    data: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Burst {
    n: u64,
    size: usize,
    #[serde(default)]
    volatile: bool,
}

#[derive(Deserialize)]
struct Flood {
    ms: u64,
    size: usize,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more,
        }
    }
}

fn first<T: serde::de::DeserializeOwned>(event: &Event) -> anyhow::Result<T> {
    let first = event
        .args
        .values()
        .into_iter()
        .next()
        .context("an argument is missing")?;
    Ok(serde_json::from_str(first.get())?)
}

/// An explicit null is data, unlike a missing key.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// The one argument `data`, or none, with the attachments of the event it came in.
fn one(data: Option<Box<RawValue>>, event: &Event) -> anyhow::Result<Args> {
    Ok(match data {
        Some(data) => Args::from_json_array(&format!("[{data}]"), event.args.attachments().to_vec())?,
        None => Args::none(),
    })
}

/// The first argument of each answer, and all their attachments: each answer counts its own from 0, the whole goes on counting.
fn firsts<'a>(answers: impl IntoIterator<Item = &'a Args>) -> anyhow::Result<(Vec<Value>, Vec<Bytes>)> {
    let (mut values, mut attachments) = (Vec::new(), Vec::new());
    for answer in answers {
        let first = answer.values().into_iter().next();
        let mut value = first.map_or(Ok(Value::Null), |first| serde_json::from_str(first.get()))?;
        if !answer.attachments().is_empty() {
            renumber(&mut value, attachments.len());
        }
        values.push(value);
        attachments.extend_from_slice(answer.attachments());
    }
    Ok((values, attachments))
}

fn renumber(value: &mut Value, offset: usize) {
    match value {
        Value::Object(object) if object.get("_placeholder") == Some(&Value::Bool(true)) => {
            let number = object.get("num").and_then(Value::as_u64).unwrap_or_default();
            object.insert("num".into(), json!(number + offset as u64));
        }
        Value::Object(object) => object.values_mut().for_each(|value| renumber(value, offset)),
        Value::Array(array) => array.iter_mut().for_each(|value| renumber(value, offset)),
        _ => {}
    }
}
