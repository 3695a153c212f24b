//! Servers of one cluster know each other, and call each other's methods.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use e2e::{PATIENCE, RedisServer};
use hallporter::adapters::AskError;
use hallporter::{
    Args, CallError, Data, Error, Gateway, Handler, Namespace, Receipt, Request, Servers, State, authenticated,
};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{interval, timeout};

use crate::scene::{Host, ask, client, cluster_config, meet, next, panic_quietly};

/// A time-out that no test waits for.
const LONG: Duration = Duration::from_secs(60);

/// One that is waited for.
const SHORT: Duration = Duration::from_millis(500);

/// Calls of other servers that run at once.
const MAX_CALLS: usize = 1024;

/// What a method waits for that is told to.
type Gate = State<Semaphore>;

/// A gateway of the type `chat` that reports what it is told.
async fn start(redis: &RedisServer, id: &str) -> Result<(Host, Servers, UnboundedReceiver<String>)> {
    let (sender, reports) = unbounded_channel::<String>();
    let mut config = cluster_config(redis)?;
    config.instance.id = Some(id.into());
    config.instance.kind = "chat".into();
    let (own, slow) = (id.to_owned(), id == "chat-3");
    let namespace = Namespace::new("/")
        .public()
        .method("who", async move || own)
        .method("swap", async |Data((a, b)): Data<(u32, String)>| (b, a))
        .method("same", async |args: Args| args)
        .method("full", async || {
            Err::<(), _>(Error::new("full", "no room").data(json!({"limit": 20})))
        })
        .method("panics", async || panic_quietly())
        .method("known", (async || "known").guard(authenticated))
        .method("caller", async |request: Request| {
            (request.user(), request.namespace().to_owned())
        })
        .method("wait", async move |gate: Gate| {
            let _ = if slow { Some(gate.acquire().await) } else { None };
        })
        .method(
            "report",
            async |Data(text): Data<String>, reports: State<UnboundedSender<String>>| reports.send(text).is_ok(),
        )
        .on("event", async || "not a method")
        .on("ask", async |Data(id): Data<String>, servers: Servers| {
            servers.call::<String>(&id, "who", &(), LONG).await
        });
    let gateway = Gateway::new(config)
        .namespace(namespace)
        .state(Arc::new(sender))
        .state(Arc::new(Semaphore::new(0)))
        .bind()
        .await?;
    let servers = gateway.servers();
    Ok((Host::serve(gateway).await?, servers, reports))
}

/// Waits until these know each other as servers, too.
async fn know(servers: &[&Servers]) -> Result<()> {
    let mut pace = interval(Duration::from_millis(5));
    let known = async {
        for these in servers {
            while these.instances().len() < servers.len() {
                pace.tick().await;
            }
        }
    };
    timeout(PATIENCE, known)
        .await
        .context("the servers do not know each other")
}

/// The code of the error that a method answered with.
fn code(result: Result<(), CallError>) -> Result<String> {
    match result {
        Err(CallError::Failed(error)) => Ok(error.code),
        other => bail!("{other:?} instead of an error"),
    }
}

#[tokio::test]
async fn a_server_calls_a_method_of_another() -> Result<()> {
    let redis = RedisServer::start().await?;
    let (a, servers, _) = start(&redis, "chat-1").await?;
    let (_b, others, _) = start(&redis, "chat-2").await?;
    know(&[&servers, &others]).await?;
    let known: Vec<_> = servers.instances().into_iter().map(|its| (its.kind, its.id)).collect();
    assert_eq!(known, ["chat-1", "chat-2"].map(|id| ("chat".to_owned(), id.to_owned())));
    // From a handler, of another and of itself.
    let mut socket = client(&a).await?;
    for id in ["chat-1", "chat-2"] {
        assert_eq!(ask(&mut socket, json!(["ask", id])).await?, json!([id]));
    }
    let swapped: (String, u32) = servers.call("chat-2", "swap", &(7, "é"), LONG).await?;
    assert_eq!(swapped, ("é".into(), 7));
    let binary = Args::encode(&(1, serde_bytes::ByteBuf::from([0, 255])))?;
    assert_eq!(servers.call_args("chat-2", "same", &binary, LONG).await?, binary);
    let caller: (Option<String>, String) = servers.call("chat-2", "caller", &(), LONG).await?;
    assert_eq!(caller, (None, "/".into()));
    // What goes wrong is told.
    for (method, expected) in [
        ("full", "full"),
        ("panics", "internal"),
        ("known", "unauthenticated"),
        ("swap", "bad_request"),
        ("event", "unhandled"),
        ("nobody's", "unhandled"),
    ] {
        assert_eq!(
            code(servers.call("chat-2", method, &(), LONG).await)?,
            expected,
            "{method}"
        );
    }
    let Err(CallError::Failed(error)) = servers.call::<()>("chat-2", "full", &(), LONG).await else {
        panic!("an error is no answer");
    };
    assert_eq!(
        (error.message.as_str(), error.data),
        ("no room", Some(json!({"limit": 20})))
    );
    let shape = servers.call::<u32>("chat-2", "who", &(), LONG).await;
    assert!(matches!(shape, Err(CallError::Answer(_))), "{shape:?}");
    let nobody = servers.call::<()>("chat-9", "who", &(), LONG).await;
    assert!(
        matches!(nobody, Err(CallError::Ask(AskError::NoInstance(_)))),
        "{nobody:?}"
    );
    Ok(())
}

#[tokio::test]
async fn who_does_not_answer_in_time_is_named() -> Result<()> {
    let redis = RedisServer::start().await?;
    let (_a, servers, _) = start(&redis, "chat-1").await?;
    let (_b, other, _) = start(&redis, "chat-2").await?;
    let (_c, slow, _) = start(&redis, "chat-3").await?;
    know(&[&servers, &other, &slow]).await?;
    let all = servers.call_all::<String>("chat", "who", &(), LONG).await?;
    let answers: Vec<_> = all
        .answers
        .iter()
        .map(|(id, who)| (id.as_str(), who.as_deref().ok()))
        .collect();
    assert_eq!(answers, ["chat-1", "chat-2", "chat-3"].map(|id| (id, Some(id))));
    assert_eq!(all.missing, Vec::<String>::new());
    let all = servers.call_all::<()>("chat", "wait", &(), SHORT).await?;
    let answered: Vec<_> = all
        .answers
        .iter()
        .map(|(id, answer)| (id.as_str(), answer.is_ok()))
        .collect();
    assert_eq!(
        (answered, all.missing),
        (vec![("chat-1", true), ("chat-2", true)], vec!["chat-3".to_owned()])
    );
    let nobody = servers.call_all::<()>("worker", "wait", &(), LONG).await?;
    assert!(nobody.answers.is_empty() && nobody.missing.is_empty(), "{nobody:?}");
    let late = servers.call::<()>("chat-3", "wait", &(), SHORT).await;
    assert!(
        matches!(late, Err(CallError::Ask(AskError::TimedOut(SHORT)))),
        "{late:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_server_is_told_and_not_waited_for() -> Result<()> {
    let redis = RedisServer::start().await?;
    let (_a, servers, _) = start(&redis, "chat-1").await?;
    let (_b, others, mut reports) = start(&redis, "chat-3").await?;
    know(&[&servers, &others]).await?;
    servers.notify("chat-3", "report", "told").await?;
    assert_eq!(next(&mut reports).await?, "told");
    servers.notify("chat-3", "nobody's", &()).await?;
    // Of those that never end so many run, and one more is refused at once.
    for _ in 0..MAX_CALLS {
        servers.notify("chat-3", "wait", &()).await?;
    }
    assert_eq!(code(servers.call("chat-3", "wait", &(), LONG).await)?, "busy");
    Ok(())
}

#[tokio::test]
async fn an_emit_tells_where_it_has_gone() -> Result<()> {
    let redis = RedisServer::start().await?;
    let (a, ..) = start(&redis, "chat-1").await?;
    let (b, ..) = start(&redis, "chat-2").await?;
    meet([&a, &b].into_iter()).await?;
    let mut here = client(&a).await?;
    let (_there, mut answers) = (client(&b).await?, client(&b).await?);
    let of = |gateways, sockets| Receipt {
        sockets,
        gateways,
        missing: Vec::new(),
    };
    let receipt = a.talk.emit_with_receipt("news", &1, LONG).await?;
    assert_eq!(receipt, of(2, 3));
    assert_eq!(here.text().await?, r#"42["news",1]"#);
    assert_eq!(a.talk.local().emit_with_receipt("news", &2, LONG).await?, of(1, 1));
    assert_eq!(
        a.talk.to("nobody's").emit_with_receipt("news", &3, LONG).await?,
        of(2, 0)
    );
    let answer = async {
        answers.text().await?;
        let (head, _) = answers.packet().await?;
        let id = head.strip_prefix("42").context("an ack is asked for")?;
        answers.send(&format!("43{id}[]")).await
    };
    let (acks, answered) = tokio::join!(a.talk.emit_with_ack("question", &(), SHORT), answer);
    answered?;
    let acks = acks?;
    assert_eq!((acks.answers.len(), acks.missing, acks.receipt), (1, 2, of(2, 3)));
    Ok(())
}
