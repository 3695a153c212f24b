//! What stands around handlers, and handlers as the methods of a type.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use hallporter::{
    Data, DisconnectReason, Error, Events, Failure, Gateway, Handler, IntoReply, List, Middleware, Namespace, Next, On,
    Outcome, Reply, Request, Session, Sid, authenticated,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing_subscriber::fmt::MakeWriter;

use crate::scene::{Host, ask, client, client_with, config, error_of, next, serve};

/// Says when it begins and ends.
struct Named(&'static str, UnboundedSender<String>);

impl Middleware for Named {
    fn call(&self, request: Request, next: Next) -> Outcome {
        let (name, calls) = (self.0, self.1.clone());
        Box::pin(async move {
            let _ = calls.send(format!("{name} begins"));
            let reply = next.run(request).await;
            let _ = calls.send(format!("{name} ends"));
            reply
        })
    }
}

async fn calls(reports: &mut UnboundedReceiver<String>, expected: &[&str]) -> Result<()> {
    for expected in expected {
        assert_eq!(next(reports).await?, *expected);
    }
    Ok(())
}

#[tokio::test]
async fn what_comes_first_is_outermost() -> Result<()> {
    let (sender, mut reports) = unbounded_channel();
    let named = |name| Named(name, sender.clone());
    let report = |what: &'static str| {
        let sender = sender.clone();
        async move || {
            let _ = sender.send(what.to_owned());
        }
    };
    let namespace = Namespace::new("/")
        .public()
        .on_connect(report("connect"))
        .with(named("first"))
        .on("own", report("handler").with(named("inner")).with(named("outer")))
        .on("plain", report("handler"))
        .on_any(report("any"))
        // Where it stands among the events does not matter.
        .with(named("second"));
    let host = serve(namespace).await?;
    let mut socket = client(&host).await?;
    calls(&mut reports, &["connect"]).await?;
    let (begin, end) = (["first begins", "second begins"], ["second ends", "first ends"]);
    for (event, between) in [
        (
            "own",
            &["outer begins", "inner begins", "handler", "inner ends", "outer ends"][..],
        ),
        ("plain", &["handler"]),
        ("unknown", &["any"]),
    ] {
        ask(&mut socket, json!([event])).await?;
        calls(&mut reports, &[&begin, between, &end].concat()).await?;
    }
    Ok(())
}

/// Answers in place of the handler, changes its answer, or asks it twice.
async fn meddling(request: Request, next: Next) -> Result<Reply, Error> {
    match request.event() {
        "instead" => ("instead", 1).into_reply(),
        "twice" => {
            next.clone().run(request.clone()).await?;
            next.run(request).await
        }
        "forgiven" => match next.run(request).await {
            Err(error) => error.code().to_owned().into_reply(),
            answered => answered,
        },
        _ => next.run(request).await,
    }
}

#[tokio::test]
async fn a_middleware_decides_what_becomes_of_a_request() -> Result<()> {
    let count = Arc::new(AtomicU64::new(0));
    let counting = count.clone();
    let namespace = Namespace::new("/")
        .public()
        .with(meddling)
        .on("instead", async || "the handler")
        .on("twice", async move || counting.fetch_add(1, Ordering::Relaxed))
        .on("forgiven", async || Err::<(), _>(Error::new("wrong", "")));
    let host = serve(namespace).await?;
    let mut socket = client(&host).await?;
    assert_eq!(ask(&mut socket, json!(["instead"])).await?, json!(["instead", 1]));
    assert_eq!(ask(&mut socket, json!(["twice"])).await?, json!([1]));
    assert_eq!(ask(&mut socket, json!(["forgiven"])).await?, json!(["wrong"]));
    assert_eq!(count.load(Ordering::Relaxed), 2);
    Ok(())
}

fn only_small(request: &Request) -> Result<(), Error> {
    match request.args().as_json().len() {
        0..10 => Ok(()),
        size => Err(Error::new("too_long", "at most ten bytes").data(size)),
    }
}

#[tokio::test]
async fn guards_stand_before_one_event_or_all() -> Result<()> {
    let handled = Arc::new(AtomicU64::new(0));
    let counting = handled.clone();
    let count = async move || {
        counting.fetch_add(1, Ordering::Relaxed);
        "passed"
    };
    let namespace = Namespace::new("/")
        .public()
        .guard(only_small)
        .on("login", async |session: Session, Data(user): Data<String>| {
            session.bind_user(&user).await
        })
        .on("open", count.clone())
        .on("members", count.guard(authenticated));
    let host = serve(namespace).await?;
    let mut socket = client(&host).await?;
    let long = "0123456789";
    assert_eq!(ask(&mut socket, json!(["open", 1])).await?, json!(["passed"]));
    let error = error_of(&mut socket, json!(["open", long])).await?;
    assert_eq!(
        error,
        json!({"code": "too_long", "message": "at most ten bytes", "data": 12})
    );
    assert_eq!(
        error_of(&mut socket, json!(["members"])).await?["code"],
        "unauthenticated"
    );
    assert_eq!(ask(&mut socket, json!(["login", "ada"])).await?, json!([]));
    assert_eq!(ask(&mut socket, json!(["members"])).await?, json!(["passed"]));
    assert_eq!(
        error_of(&mut socket, json!(["members", long])).await?["code"],
        "too_long"
    );
    assert_eq!(handled.load(Ordering::Relaxed), 2);
    Ok(())
}

#[derive(Default)]
struct Counter {
    count: AtomicU64,
    reports: Option<UnboundedSender<String>>,
}

impl Events for Counter {
    fn events(on: On<Self>) -> On<Self> {
        on.connect(Self::connect)
            .disconnect(Self::disconnect)
            .error(Self::error)
            .any(Self::any)
            .event("add", Self::add)
            .event("fail", Self::fail)
            .method("count.now", Self::now)
    }
}

impl Counter {
    fn report(&self, what: impl Into<String>) {
        let _ = self.reports.as_ref().map(|reports| reports.send(what.into()));
    }

    async fn connect(self: Arc<Self>, Sid(sid): Sid) {
        self.report(sid);
    }

    async fn disconnect(self: Arc<Self>, reason: DisconnectReason) {
        self.report(reason.as_str());
    }

    async fn error(self: Arc<Self>, failure: Failure) {
        self.report(failure.error.code());
    }

    async fn any(self: Arc<Self>, request: Request, List(args): List<Value>) -> (String, Vec<Value>) {
        (request.event().to_owned(), args)
    }

    async fn add(self: Arc<Self>, Data(number): Data<u64>) -> u64 {
        self.count.fetch_add(number, Ordering::Relaxed) + number
    }

    async fn fail(self: Arc<Self>) -> Result<(), Error> {
        Err(Error::new("asked", "to"))
    }

    async fn now(self: Arc<Self>) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn the_methods_of_a_type_are_handlers() -> Result<()> {
    let (sender, mut reports) = unbounded_channel();
    let counter = Counter {
        reports: Some(sender),
        ..Counter::default()
    };
    let host = serve(Namespace::new("/").public().handler(counter)).await?;
    let (mut socket, sid) = client_with(&host, json!({})).await?;
    for (event, answer) in [
        (json!(["add", 5]), json!([5])),
        (json!(["add", 2]), json!([7])),
        (json!(["count.now"]), json!([7])),
        (json!(["other", 1, 2]), json!(["other", [1, 2]])),
    ] {
        assert_eq!(ask(&mut socket, event).await?, answer);
    }
    assert_eq!(error_of(&mut socket, json!(["fail"])).await?["code"], "asked");
    socket.send("41").await?;
    calls(&mut reports, &[&sid, "asked", "client namespace disconnect"]).await
}

/// What is logged while it is there.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_function_wins_over_the_type_and_says_so() -> Result<()> {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let logging = tracing::subscriber::set_default(subscriber);
    let namespace = Namespace::new("/")
        .public()
        .on("add", async || "the function")
        .handler(Counter::default())
        .on_any(async || "the function");
    let host = Host::start(Gateway::new(config()).namespace(namespace)).await?;
    drop(logging);
    let text = log.text();
    let warnings: Vec<&str> = text.lines().filter(|line| line.contains("the function wins")).collect();
    assert_eq!(warnings.len(), 2, "{text}");
    for handler in ["on_any", "add"] {
        let names = |line: &&str| line.contains("WARN") && line.contains(&format!("handler=\"{handler}\""));
        assert!(warnings.iter().any(names), "{handler} is not named: {text}");
    }
    let mut socket = client(&host).await?;
    for (event, answer) in [
        ("add", json!(["the function"])),
        ("unknown", json!(["the function"])),
        ("count.now", json!([0])),
    ] {
        assert_eq!(ask(&mut socket, json!([event, Value::Null])).await?, answer, "{event}");
    }
    Ok(())
}
