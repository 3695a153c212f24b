//! What goes wrong in handlers: what the client is told, and what the user's code is.

use std::io;
use std::sync::Arc;

use anyhow::Result;
use hallporter::{Data, Error, Failure, Gateway, Namespace, Refusal, Request, State};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::scene::{Host, ask, client, client_with, config, error_of, next, refusal, serve};

/// Who is told of failures, and of which namespace's.
type Told = State<UnboundedSender<(&'static str, Failure)>>;

fn failing(namespace: &str) -> Namespace {
    Namespace::new(namespace)
        .public()
        .on("code", async || Err::<(), _>(Error::new("full", "no room for you")))
        .on("data", async || {
            Err::<(), _>(Error::forbidden("not you").data(json!({"ask": "ada"})))
        })
        .on("source", async || {
            Err::<(), _>(io::Error::other("the password is 1234"))
        })
        .on("internal", async || {
            Err::<(), _>(Error::internal("the password is 1234"))
        })
        .on("refused", async || Err::<(), _>(Refusal::new("go away").data(7)))
        .on("data first", async |Data(_): Data<u32>| ())
        .on("fine", async || "fine")
}

#[tokio::test]
async fn an_error_is_an_error_ack() -> Result<()> {
    let host = serve(failing("/")).await?;
    let mut socket = client(&host).await?;
    for (event, error) in [
        ("code", json!({"code": "full", "message": "no room for you"})),
        (
            "data",
            json!({"code": "forbidden", "message": "not you", "data": {"ask": "ada"}}),
        ),
        ("source", json!({"code": "internal", "message": "internal error"})),
        ("internal", json!({"code": "internal", "message": "internal error"})),
        ("refused", json!({"code": "refused", "message": "go away", "data": 7})),
    ] {
        assert_eq!(error_of(&mut socket, json!([event])).await?, error, "{event}");
    }
    assert_eq!(ask(&mut socket, json!(["fine"])).await?, json!(["fine"]));
    Ok(())
}

/// A gateway whose namespace `/` has somebody for its errors, and `/other` has not.
async fn watched() -> Result<(Host, UnboundedReceiver<(&'static str, Failure)>)> {
    let (sender, told) = unbounded_channel();
    let tell = |whose: &'static str| {
        async move |failure: Failure, request: Request, told: Told| {
            assert_eq!(request.event(), failure.event);
            let _ = told.0.send((whose, failure));
        }
    };
    let refusing = async |request: Request| match request.handshake().map(|handshake| &handshake.auth["as"]) {
        Some(Value::String(code)) if code == "refusal" => Err(Refusal::new("not today").into()),
        Some(Value::String(code)) => Err(Error::new(code.clone(), "an error")),
        _ => Ok(()),
    };
    let gateway = Gateway::new(config())
        .state(Arc::new(sender))
        .namespace(failing("/").on_connect(refusing).on_error(tell("its own")))
        .namespace(failing("/other"))
        .on_error(tell("the default"));
    Ok((Host::start(gateway).await?, told))
}

#[tokio::test]
async fn errors_are_told_with_what_they_came_of() -> Result<()> {
    let (host, mut told) = watched().await?;
    let (mut socket, sid) = client_with(&host, json!({})).await?;
    socket.send("40/other,").await?;
    assert!(socket.text().await?.starts_with("40/other,"));

    error_of(&mut socket, json!(["source", {"a": 1}, 2])).await?;
    let (whose, failure) = next(&mut told).await?;
    assert_eq!(whose, "its own");
    assert_eq!((failure.namespace.as_str(), failure.sid), ("/", Some(sid)));
    assert_eq!(failure.event, "source");
    assert_eq!(failure.args.to_json_array(), r#"[{"a":1},2]"#);
    assert_eq!(failure.error.code(), "internal");
    assert_eq!(failure.error.to_string(), "internal: the password is 1234");
    let source = failure
        .error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    assert_eq!(source.map(io::Error::kind), Some(io::ErrorKind::Other));

    // Without an ack too, and also what the client is told itself.
    socket.send(r#"42/other,["data first","none"]"#).await?;
    let (whose, failure) = next(&mut told).await?;
    assert_eq!((whose, failure.namespace.as_str()), ("the default", "/other"));
    assert_eq!(
        (failure.event.as_str(), failure.error.code()),
        ("data first", "bad_request")
    );
    Ok(())
}

#[tokio::test]
async fn refusals_are_no_errors() -> Result<()> {
    let (host, mut told) = watched().await?;
    let refused = refusal(&host, json!({"as": "refusal"})).await?;
    assert_eq!(refused, json!({"message": "not today"}));
    let refused = refusal(&host, json!({"as": "full"})).await?;
    assert_eq!(refused, json!({"message": "an error", "data": {"code": "full"}}));
    // The first one told is the second.
    let (_, failure) = next(&mut told).await?;
    assert_eq!((failure.event.as_str(), failure.error.code()), ("connect", "full"));
    Ok(())
}

/// What `on_error` fails with concerns nobody else.
#[tokio::test]
async fn who_is_told_of_errors_may_fail() -> Result<()> {
    let namespace = failing("/").on_error(async |_: Failure| Err::<(), _>(io::Error::other("no disk")));
    let host = serve(namespace).await?;
    let mut socket = client(&host).await?;
    assert_eq!(error_of(&mut socket, json!(["code"])).await?["code"], "full");
    assert_eq!(ask(&mut socket, json!(["fine"])).await?, json!(["fine"]));
    Ok(())
}
