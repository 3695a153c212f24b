//! A panic in a handler costs its one call, whichever it is.

use anyhow::{Context, Result};
use async_trait::async_trait;
use e2e::PATIENCE;
use e2e::raw::WebSocket;
use hallporter::config::Config;
use hallporter::{DisconnectReason, Event, Gateway, Handler, Refusal, Socket};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

/// Tells of each call, and panics in the one that the client's `auth` names.
#[derive(Debug)]
struct Panics(UnboundedSender<&'static str>);

impl Panics {
    fn called(&self, call: &'static str, socket: &Socket) {
        let _ = self.0.send(call);
        assert!(socket.handshake().auth["panic"] != call, "{call} is asked to panic");
    }
}

#[async_trait]
impl Handler for Panics {
    async fn connect(&self, socket: &Socket) -> Result<(), Refusal> {
        self.called("connect", socket);
        Ok(())
    }

    async fn connected(&self, socket: &Socket) {
        self.called("connected", socket);
    }

    async fn event(&self, socket: &Socket, event: Event) -> Option<Event> {
        if event.name == "panic" {
            self.called("event", socket);
        }
        let name = event.name.clone();
        event.ack(&name);
        None
    }

    async fn disconnect(&self, socket: &Socket, _reason: DisconnectReason) {
        self.called("disconnect", socket);
    }
}

/// A gateway in this process, and the calls of its handler.
async fn start() -> Result<(String, UnboundedReceiver<&'static str>)> {
    let (sender, calls) = unbounded_channel();
    let config = Config {
        listen: "127.0.0.1:0".parse()?,
        ..Config::default()
    };
    let gateway = Gateway::new(config).handler(Panics(sender)).bind().await?;
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

#[tokio::test]
async fn a_panic_while_connecting_lets_nobody_in() -> Result<()> {
    let (address, mut calls) = start().await?;
    let mut socket = client(&address, "connect").await?;
    // It is refused, or its connection ends.
    if let Ok(answer) = socket.text().await {
        assert!(answer.starts_with("44"), "{answer}");
    }
    expect(&mut calls, &["connect"]).await?;
    drop(socket);
    // Its end is nobody's business.
    let mut other = client(&address, "").await?;
    assert!(other.text().await?.starts_with("40"));
    expect(&mut calls, &["connect", "connected"]).await
}

#[tokio::test]
async fn a_panic_after_connecting_leaves_the_socket() -> Result<()> {
    let (address, mut calls) = start().await?;
    let mut socket = client(&address, "connected").await?;
    assert!(socket.text().await?.starts_with("40"));
    expect(&mut calls, &["connect", "connected"]).await?;
    socket.send(r#"421["next"]"#).await?;
    assert_eq!(socket.text().await?, r#"431["next"]"#);
    drop(socket);
    expect(&mut calls, &["disconnect"]).await
}

#[tokio::test]
async fn a_panic_in_an_event_leaves_the_next() -> Result<()> {
    let (address, mut calls) = start().await?;
    let mut socket = client(&address, "event").await?;
    assert!(socket.text().await?.starts_with("40"));
    for _ in 0..3 {
        socket.send(r#"421["panic"]"#).await?;
        socket.send(r#"422["next"]"#).await?;
        assert_eq!(socket.text().await?, r#"432["next"]"#);
    }
    drop(socket);
    expect(
        &mut calls,
        &["connect", "connected", "event", "event", "event", "disconnect"],
    )
    .await
}

#[tokio::test]
async fn a_panic_while_disconnecting_is_the_end_of_one_socket() -> Result<()> {
    let (address, mut calls) = start().await?;
    let mut socket = client(&address, "disconnect").await?;
    assert!(socket.text().await?.starts_with("40"));
    expect(&mut calls, &["connect", "connected"]).await?;
    socket.send("41").await?;
    expect(&mut calls, &["disconnect"]).await?;
    // The same connection may come back.
    socket.send("40").await?;
    assert!(socket.text().await?.starts_with("40"));
    expect(&mut calls, &["connect", "connected"]).await?;
    drop(socket);
    expect(&mut calls, &["disconnect"]).await
}
