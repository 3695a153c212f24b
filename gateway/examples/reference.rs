//! The reference application: every protocol feature at once, for tests and benchmarks to run against.
//!
//! It reads the ordinary configuration, so two of them on one broker are a cluster:
//! `HALLPORTER_MANAGER__URL=redis://127.0.0.1:6379 cargo run --release -p hallporter --example reference`

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::routing::get;
use axum::{Json, Router};
use hallporter::config::{Sources, Transport, load};
use hallporter::{
    Args, Data, DisconnectReason, Error, Gateway, Handshake, Namespace, Next, NoAck, Refusal, Reply, Request, Sid,
    State, Talk, shutdown,
};
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
    let namespaces = ["/", "/custom", "/other", "/tenant-{name}"];
    let gateway = Gateway::new(config).state(stats).routes(routes);
    let gateway = namespaces.into_iter().map(reference).fold(gateway, Gateway::namespace);
    gateway.bind().await?.serve(shutdown::requested()?).await?;
    Ok(())
}

/// The same code for every namespace.
fn reference(name: &str) -> Namespace {
    Namespace::new(name)
        .public()
        .with(counted)
        .on_connect(connect)
        .on_disconnect(disconnect)
        .on("message", message)
        .on("message-with-ack", echo)
        .on("echo", echo)
        .on("ask", ask)
        .on("join", join)
        .on("leave", leave)
        .on("rooms", async |Sid(sid): Sid, talk: Talk| talk.rooms(&sid).await)
        .on("broadcast", broadcast)
        .on("broadcast-ack", broadcast_ack)
        .on("to-id", to_id)
        .on("info", info)
        .on("kick", async |Sid(sid): Sid, talk: Talk| talk.disconnect(&sid).await)
        .on("last-disconnect", last_disconnect)
        .on("burst", burst)
        .on("flood", flood)
        .on("work", work)
        .on("panic", panic)
        .on_any(fallback)
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
    fn entered(&self, namespace: &str) {
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        *namespaces.entry(namespace.to_owned()).or_default() += 1;
    }

    fn left(&self, namespace: &str) {
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = namespaces.get_mut(namespace) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                namespaces.remove(namespace);
            }
        }
    }

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

/// Counts the handlers that are running.
async fn counted(request: Request, next: Next) -> Result<Reply, Error> {
    let stats = request.state::<Stats>().unwrap_or_default();
    let _task = Task::of(&stats);
    next.run(request).await
}

async fn connect(request: Request, handshake: Handshake, stats: State<Stats>, talk: Talk) -> Result<(), Error> {
    let tenant = request.namespace().strip_prefix("/tenant-");
    let allowed = |char: char| char.is_ascii_alphanumeric() || "_-".contains(char);
    if tenant.is_some_and(|name| name.is_empty() || !name.chars().all(allowed)) {
        return Err(Refusal::new("Invalid namespace").into());
    }
    match handshake.auth["token"].as_str() {
        Some("deny") => {
            let refusal = Refusal::new("not authorized").data(json!({"code": "E_AUTH"}));
            return Err(refusal.into());
        }
        Some("slow") => sleep(Duration::from_millis(300)).await,
        _ => {}
    }
    stats.connects.fetch_add(1, Ordering::Relaxed);
    stats.entered(request.namespace());
    Ok(caller(&request, &talk).emit("auth", &handshake.auth).await?)
}

async fn disconnect(request: Request, handshake: Handshake, reason: DisconnectReason, stats: State<Stats>) {
    stats.disconnects.fetch_add(1, Ordering::Relaxed);
    stats.left(request.namespace());
    if let Some(tag) = handshake.auth["tag"].as_str() {
        let mut reasons = stats.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        if reasons.len() < MAX_TAGS {
            reasons.insert(tag.to_owned(), reason.as_str());
        }
    }
}

/// The way to the client that asks.
fn caller(request: &Request, talk: &Talk) -> Talk {
    talk.to(request.sid().unwrap_or_default())
}

async fn message(request: Request, talk: Talk) -> Result<NoAck, Error> {
    let args = request.args().clone();
    caller(&request, &talk).emit_args("message-back", args).await?;
    Ok(NoAck)
}

async fn echo(args: Args) -> Args {
    args
}

async fn ask(Data(ask): Data<Ask>, request: Request, talk: Talk) -> Result<Args, Error> {
    let timeout = Duration::from_millis(ask.timeout);
    let data = one(ask.data, request.args())?;
    let acks = caller(&request, &talk)
        .emit_args_with_ack(&ask.event, data, timeout)
        .await?;
    let Some(answer) = acks.answers.first() else {
        return Ok(Args::encode(&json!({"ok": false, "error": "timeout"}))?);
    };
    let (values, attachments) = firsts([&answer.args])?;
    let answer = json!([{"ok": true, "data": values[0]}]);
    Ok(Args::from_json_array(&answer.to_string(), attachments)?)
}

async fn join(Data(rooms): Data<OneOrMore>, Sid(sid): Sid, talk: Talk) -> Result<&'static str, Error> {
    for room in rooms.into_vec() {
        talk.join(&sid, &room).await?;
    }
    Ok("ok")
}

async fn leave(Data(rooms): Data<OneOrMore>, Sid(sid): Sid, talk: Talk) -> Result<&'static str, Error> {
    for room in rooms.into_vec() {
        talk.leave(&sid, &room).await?;
    }
    Ok("ok")
}

async fn broadcast(Data(broadcast): Data<Broadcast>, request: Request, talk: Talk) -> Result<&'static str, Error> {
    let mut talk = broadcast.target(talk);
    if let Some(sid) = request.sid().filter(|_| !broadcast.to_self) {
        talk = talk.except(sid);
    }
    if broadcast.volatile {
        talk = talk.volatile();
    }
    let data = one(broadcast.data, request.args())?;
    talk.emit_args(&broadcast.event, data).await?;
    Ok("ok")
}

async fn broadcast_ack(Data(broadcast): Data<Broadcast>, request: Request, talk: Talk) -> Result<Args, Error> {
    let timeout = Duration::from_millis(broadcast.timeout);
    let talk = broadcast.target(talk);
    let data = one(broadcast.data, request.args())?;
    let acks = talk.emit_args_with_ack(&broadcast.event, data, timeout).await?;
    let (values, attachments) = firsts(acks.answers.iter().map(|ack| &ack.args))?;
    let answer = json!([{"acks": values, "failed": acks.missing}]);
    Ok(Args::from_json_array(&answer.to_string(), attachments)?)
}

async fn to_id(Data(to): Data<ToId>, args: Args, talk: Talk) -> Result<&'static str, Error> {
    talk.to(to.id).emit_args(&to.event, one(to.data, &args)?).await?;
    Ok("ok")
}

async fn info(request: Request, handshake: Handshake) -> Value {
    let headers = handshake.headers.iter();
    let headers: HashMap<_, _> = headers
        .map(|(name, value)| (name, String::from_utf8_lossy(value)))
        .collect();
    json!({
        "sid": request.sid(),
        "ns": request.namespace(),
        "query": &*handshake.query,
        "headers": headers,
        "address": handshake.address,
        "transport": request.transport().map(|transport| match transport {
            Transport::Polling => "polling",
            Transport::Websocket => "websocket",
        }),
    })
}

async fn last_disconnect(Data(tag): Data<String>, stats: State<Stats>) -> Option<&'static str> {
    let reasons = stats.reasons.lock().unwrap_or_else(PoisonError::into_inner);
    reasons.get(&tag).copied()
}

async fn burst(Data(burst): Data<Burst>, request: Request, talk: Talk) -> Result<Value, Error> {
    let mut caller = caller(&request, &talk);
    if burst.volatile {
        caller = caller.volatile();
    }
    let text = "x".repeat(burst.size);
    for index in 0..burst.n {
        caller.emit("burst", &(index, &text)).await?;
    }
    Ok(json!({}))
}

async fn flood(Data(flood): Data<Flood>, request: Request, talk: Talk) -> Result<(), Error> {
    let caller = caller(&request, &talk);
    let args = Args::encode(&"x".repeat(flood.size))?;
    let start = Instant::now();
    for step in 0..=flood.ms / 5 {
        sleep_until(start + Duration::from_millis(step * 5)).await;
        for _ in 0..10 {
            caller.emit_args("flood", args.clone()).await?;
        }
    }
    Ok(())
}

async fn work() -> NoAck {
    sleep(Duration::from_secs(20)).await;
    NoAck
}

#[expect(clippy::panic, reason = "it is asked to")]
async fn panic() {
    panic!("asked to")
}

async fn fallback(request: Request, talk: Talk) -> Result<NoAck, Error> {
    let (event, args) = (Value::from(request.event()), request.args());
    let separator = if args.is_empty() { "" } else { "," };
    let array = format!("[{event}{separator}{}]", args.as_json());
    let args = Args::from_json_array(&array, args.attachments().to_vec())?;
    caller(&request, &talk).emit_args("fallback", args).await?;
    Ok(NoAck)
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
    fn target(&self, mut talk: Talk) -> Talk {
        if let Some(rooms) = &self.room {
            talk = talk.to_rooms(rooms.as_slice());
        }
        let except = self.except.as_ref().map_or(&[][..], OneOrMore::as_slice);
        except.iter().fold(talk, |talk, room| talk.except(room))
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
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::More(more) => more,
        }
    }

    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more,
        }
    }
}

/// An explicit null is data, unlike a missing key.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// The one argument `data`, or none, with the attachments of the arguments it came in.
fn one(data: Option<Box<RawValue>>, args: &Args) -> Result<Args, Error> {
    Ok(match data {
        Some(data) => Args::from_json_array(&format!("[{data}]"), args.attachments().to_vec())?,
        None => Args::none(),
    })
}

/// The first argument of each answer, and all their attachments: each answer counts its own from 0, the whole goes on counting.
fn firsts<'a>(answers: impl IntoIterator<Item = &'a Args>) -> Result<(Vec<Value>, Vec<Bytes>), Error> {
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
