//! A panic in a handler costs its one call, whichever it is.

use std::sync::Arc;

use anyhow::{Context, Result};
use e2e::PATIENCE;
use e2e::raw::WebSocket;
use hallporter::config::Config;
use hallporter::{Data, Error, Failure, Gateway, Namespace, Next, Reply, Request, State};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

/// Is told of each call.
type Calls = State<UnboundedSender<&'static str>>;

/// Panics in the call that the client's `auth` names.
fn called(call: &'static str, request: &Request, calls: &Calls) {
    let _ = calls.0.send(call);
    let asked = request.handshake().map(|handshake| &handshake.auth["panic"]);
    assert!(asked != Some(&Value::from(call)), "{call} is asked to panic");
}

async fn around(request: Request, next: Next) -> Result<Reply, Error> {
    if request.event() == "around" {
        let calls = request
            .state()
            .map(State)
            .context("no state")
            .map_err(Error::internal)?;
        called("around", &request, &calls);
    }
    next.run(request).await
}

/// A gateway in this process, and the calls of its handlers.
async fn start() -> Result<(String, UnboundedReceiver<&'static str>)> {
    let (sender, calls) = unbounded_channel();
    let config = Config {
        listen: "127.0.0.1:0".parse()?,
        ..Config::default()
    };
    let namespace = Namespace::new("/")
        .with(around)
        .on_connect(async |request: Request, calls: Calls| called("connect", &request, &calls))
        .on_disconnect(async |request: Request, calls: Calls| called("disconnect", &request, &calls))
        .on_error(async |failure: Failure, request: Request, calls: Calls| {
            assert_eq!(failure.error.code(), "internal");
            called("error", &request, &calls);
        })
        .on("panic", async |request: Request, calls: Calls| {
            called("event", &request, &calls)
        })
        .on("fail", async || Err::<(), _>(Error::internal("asked to")))
        .on("around", async || "around")
        .on("next", async |Data(()): Data<()>| "next");
    let gateway = Gateway::new(config)
        .state(Arc::new(sender))
        .namespace(namespace)
        .bind()
        .await?;
    let address = gateway.address().to_string();
    tokio::spawn(gateway.serve(std::future::pending()));
    Ok((address, calls))
}

async fn expect(calls: &mut UnboundedReceiver<&'static str>, expected: &[&str]) -> Result<()> {
    for expected in expected {
        let call = timeout(PATIENCE, calls.recv()).await;
        let call = call.with_context(|| format!("{expected} is not called"))?;
        assert_eq!(call, Some(*expected));
    }
    Ok(())
}

/// A client that asks for a panic in this call.
async fn client(address: &str, panic: &str) -> Result<WebSocket> {
    let mut socket = WebSocket::open(address).await?;
    socket.send(&format!(r#"40{{"panic":"{panic}"}}"#)).await?;
    Ok(socket)
}

/// What the client is told of a panic.
const INTERNAL: &str = r#"{"error":{"code":"internal","message":"internal error"}}"#;

#[tokio::test]
async fn a_panic_while_connecting_lets_nobody_in() -> Result<()> {
    let (address, mut calls) = start().await?;
    let mut socket = client(&address, "connect").await?;
    let answer = socket.text().await?;
    assert_eq!(answer, r#"44{"data":{"code":"internal"},"message":"internal error"}"#);
    expect(&mut calls, &["connect", "error"]).await?;
    drop(socket);
    // Its end is nobody's business.
    let mut other = client(&address, "").await?;
    assert!(other.text().await?.starts_with("40"));
    expect(&mut calls, &["connect"]).await
}

#[tokio::test]
async fn a_panic_in_an_event_leaves_the_next() -> Result<()> {
    let (address, mut calls) = start().await?;
    let mut socket = client(&address, "event").await?;
    assert!(socket.text().await?.starts_with("40"));
    for _ in 0..3 {
        socket.send(r#"421["panic"]"#).await?;
        socket.send(r#"422["next"]"#).await?;
        assert_eq!(socket.text().await?, format!("431[{INTERNAL}]"));
        assert_eq!(socket.text().await?, r#"432["next"]"#);
    }
    drop(socket);
    let (one, last) = (["event", "error"], ["disconnect"]);
    expect(&mut calls, &["connect"]).await?;
    expect(&mut calls, &[&one[..], &one, &one, &last].concat()).await
}

#[tokio::test]
async fn a_panic_around_handlers_leaves_the_next() -> Result<()> {
    let (address, mut calls) = start().await?;
    let mut socket = client(&address, "around").await?;
    assert!(socket.text().await?.starts_with("40"));
    socket.send(r#"421["around"]"#).await?;
    assert_eq!(socket.text().await?, format!("431[{INTERNAL}]"));
    socket.send(r#"422["next"]"#).await?;
    assert_eq!(socket.text().await?, r#"432["next"]"#);
    expect(&mut calls, &["connect", "around", "error"]).await
}

#[tokio::test]
async fn a_panic_of_who_is_told_of_errors_leaves_the_next() -> Result<()> {
    let (address, mut calls) = start().await?;
    let mut socket = client(&address, "error").await?;
    assert!(socket.text().await?.starts_with("40"));
    socket.send(r#"421["fail"]"#).await?;
    assert_eq!(socket.text().await?, format!("431[{INTERNAL}]"));
    socket.send(r#"422["next"]"#).await?;
    assert_eq!(socket.text().await?, r#"432["next"]"#);
    expect(&mut calls, &["connect", "error"]).await
}

#[tokio::test]
async fn a_panic_while_disconnecting_is_the_end_of_one_socket() -> Result<()> {
    let (address, mut calls) = start().await?;
    let mut socket = client(&address, "disconnect").await?;
    assert!(socket.text().await?.starts_with("40"));
    expect(&mut calls, &["connect"]).await?;
    socket.send("41").await?;
    expect(&mut calls, &["disconnect", "error"]).await?;
    // The same connection may come back.
    socket.send("40").await?;
    assert!(socket.text().await?.starts_with("40"));
    expect(&mut calls, &["connect"]).await?;
    drop(socket);
    expect(&mut calls, &["disconnect"]).await
}
