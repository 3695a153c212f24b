//! The gateway as a layer in a router of the user's own.

use std::io;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use axum::serve::Listener;
use e2e::raw::{Polling, Request, WebSocket};
use e2e::{Connect, Driver, Gateway, PATIENCE};
use hallporter::config::Config;
use hallporter::{Handshake, Namespace, Running};
use rustix::process::Signal;
use serde_json::json;
use tokio::io::BufStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "EIO=4&transport=websocket";

#[tokio::test]
async fn clients_connect_on_every_transport_beside_the_pages_of_the_router() -> Result<()> {
    let gateway = Gateway::example("mounted", "mounted", &[]).await?;
    assert_eq!(gateway.get("/").await?, (200, "a page of my own".into()));
    let (node, python) = (Driver::node()?, Driver::python()?);
    let url = gateway.url();
    for (driver, transports) in [
        (&node, &["polling"][..]),
        (&node, &["websocket"]),
        (&node, &["polling", "websocket"]),
        (&python, &["polling"]),
        (&python, &["websocket"]),
    ] {
        let client = driver
            .connect("client", Connect::to(&url).transports(transports))
            .await?;
        if transports.len() > 1 {
            assert_eq!(client.upgraded().await?, "websocket");
        }
        let data = json!(["grüß", {"$bytes": "AAH/"}]);
        assert_eq!(client.ask("echo", data.clone()).await?, data, "{transports:?}");
        assert_eq!(client.ask("address", json!([])).await?, json!(["127.0.0.1"]));
        client.disconnect().await?;
    }
    Ok(())
}

#[tokio::test]
async fn origins_and_keys_are_asked_for_by_the_gateway_alone() -> Result<()> {
    let gateway = Gateway::example("mounted", "mounted", &[]).await?;
    let foreign = |request: Request| request.header("origin", "https://elsewhere.org");
    let own = foreign(Request::get("/")).send(gateway.address()).await?;
    assert_eq!(
        (own.status, own.header("access-control-allow-credentials")),
        (200, None)
    );
    let preflight = foreign(Request::new("OPTIONS", "/")).header("access-control-request-method", "GET");
    assert_eq!(preflight.send(gateway.address()).await?.status, 405);
    assert_eq!(
        foreign(Request::get(POLLING)).send(gateway.address()).await?.status,
        403
    );
    // On loopback with no broker a gateway of its own would have the API on; here it is not known who may come.
    let (status, _) = gateway.post("/api/v1/message", &json!({})).await?;
    assert_eq!(status, 403);
    assert_eq!(gateway.get("/healthz").await?.0, 200);
    assert_eq!(gateway.get("/nothing").await?.0, 404);
    Ok(())
}

#[tokio::test]
async fn a_mounted_gateway_lets_its_clients_go() -> Result<()> {
    let mut gateway = Gateway::example("mounted", "mounted", &[]).await?;
    let node = Driver::node()?;
    let mut clients = Vec::new();
    for transport in ["polling", "websocket"] {
        let connect = Connect::to(gateway.url()).transports(&[transport]);
        clients.push(node.connect(transport, connect).await?);
    }
    gateway.process().signal(Signal::TERM)?;
    let code = timeout(PATIENCE, gateway.process().ended()).await??;
    ensure!(code == 0, "it ends with {code}");
    for client in &mut clients {
        client.disconnected().await?;
    }
    Ok(())
}

/// The gateway in this router, which answers on a free port until the test is over.
async fn mount(router: Router) -> Result<(String, Running)> {
    let (router, running) = layered(router).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(listener, service).into_future());
    Ok((address, running))
}

async fn layered(router: Router) -> Result<(Router, Running)> {
    let namespace = Namespace::new("/")
        .public()
        .on_any(async |handshake: Handshake| handshake.address);
    let gateway = hallporter::Gateway::new(Config::default()).namespace(namespace);
    let (layer, running) = gateway.layer().await?;
    Ok((router.layer(layer), running))
}

#[tokio::test]
async fn routes_of_the_router_win_but_on_the_socket_io_path() -> Result<()> {
    let named = |Path(rest): Path<String>| async move { rest };
    let routes = Router::new()
        .route("/healthz", get(async || "my own"))
        .nest("/nested", Router::new().route("/{*rest}", get(named)))
        .route("/socket.io/{*rest}", get(named));
    let (address, _running) = mount(routes.fallback(async || "nowhere")).await?;
    let text = async |path: &str| anyhow::Ok(Request::get(path).send(&address).await?.text()?.to_owned());
    assert_eq!(text("/healthz").await?, "my own");
    // Ready or not, it is the gateway that says so.
    ensure!(
        text("/readyz").await?.contains("ready"),
        "the gateway's routes are missing"
    );
    assert_eq!(text("/nested/readyz").await?, "readyz");
    assert_eq!(text("/nested/socket.io/").await?, "socket.io/");
    assert_eq!(text("/socket.io/more").await?, "more");
    assert_eq!(text("/else").await?, "nowhere");
    let mut client = WebSocket::open(&address).await?;
    client.send("40").await?;
    ensure!(client.text().await?.starts_with("40{"), "the client is not connected");
    assert_eq!(client.ask("address", json!(null)).await?, "127.0.0.1");
    Ok(())
}

#[tokio::test]
async fn a_closed_gateway_takes_no_clients() -> Result<()> {
    let (address, running) = mount(Router::new().route("/", get(async || "open"))).await?;
    let mut client = WebSocket::open(&address).await?;
    client.send("40").await?;
    ensure!(client.text().await?.starts_with("40{"), "the client is not connected");
    running.close().await;
    client.closed().await?;
    let refused = Request::get(POLLING).send(&address).await?;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(WebSocket::refused(&address, WEBSOCKET).await?.status, 503);
    assert_eq!(Request::get("/").send(&address).await?.text()?, "open");
    Ok(())
}

/// Gives out connections that are more than TCP, as a server with TLS does.
struct Wrapping(TcpListener);

impl Listener for Wrapping {
    type Io = BufStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        (BufStream::new(stream), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[tokio::test]
async fn what_is_no_tcp_stream_carries_polling_and_refuses_websockets() -> Result<()> {
    let (router, _running) = layered(Router::new()).await?;
    let listener = Wrapping(TcpListener::bind("127.0.0.1:0").await?);
    let address = Listener::local_addr(&listener)?.to_string();
    tokio::spawn(axum::serve(listener, router).into_future());

    // It shows with the first one, which is accepted already.
    let client = WebSocket::connect(&address, WEBSOCKET).await?;
    assert_eq!(client.closed().await?, Some(1011));
    let refused = WebSocket::refused(&address, WEBSOCKET).await?;
    assert_eq!(refused.status, 501, "{refused:?}");
    ensure!(refused.text()?.contains("polling"), "{}", refused.text()?);

    let session = Polling::open(&address).await?;
    assert_eq!(session.handshake()["upgrades"], json!([]));
    let client = Driver::node()?
        .connect("client", Connect::to(format!("http://{address}")))
        .await?;
    assert_eq!(client.transport().await?, "polling");
    // Nor does such a server say where the client is.
    assert_eq!(client.ask("address", json!([])).await?, json!([null]));
    Ok(())
}

#[tokio::test]
async fn an_upgrade_that_is_not_possible_leaves_the_client_on_polling() -> Result<()> {
    let (router, _running) = layered(Router::new()).await?;
    let listener = Wrapping(TcpListener::bind("127.0.0.1:0").await?);
    let address = Listener::local_addr(&listener)?.to_string();
    tokio::spawn(axum::serve(listener, router).into_future());
    let session = Polling::open(&address).await?;
    assert_eq!(session.handshake()["upgrades"], json!(["websocket"]));
    let probe = WebSocket::connect(&address, &session.upgrade_query()?).await?;
    assert_eq!(probe.closed().await?, Some(1011));
    session.send("40").await?;
    let answer = session.poll().await?;
    ensure!(answer.text().context("an answer")?.starts_with("40{"), "{answer:?}");
    Ok(())
}
