//! Real clients of every version and language, on every transport.

use std::path::Path;

use anyhow::{Context, Result};
use e2e::{Client, Connect, Driver, Gateway, Process, Proxy, clients, node_deviates};
use serde_json::{Value, json};

/// All clients share one process of each language here, which may be busy for longer than a short heartbeat allows.
const HEARTBEAT: (&str, &str) = ("HALLPORTER_ENGINE__PING_INTERVAL", "25s");

/// What tells the connections that are cut.
const WEBSOCKET: &[u8] = b"transport=websocket";

const TRANSPORTS: [&[&str]; 3] = [&["websocket"], &["polling"], &["polling", "websocket"]];

struct Scene {
    gateway: Gateway,
    node: Driver,
    python: Driver,
}

impl Scene {
    async fn start() -> Result<Self> {
        Ok(Self {
            gateway: Gateway::reference("gateway", &[HEARTBEAT]).await?,
            node: Driver::node()?,
            python: Driver::python()?,
        })
    }

    /// Each kind of client: the name, the driver, and what it takes to be it.
    fn kinds(&self, url: &str) -> Vec<(&'static str, &Driver, Connect)> {
        let connect = Connect::to_reference(url);
        vec![
            ("node-4", &self.node, connect.clone()),
            ("node-3", &self.node, connect.clone().version(3)),
            ("node-2", &self.node, connect.clone().version(2)),
            ("python-async", &self.python, connect.clone()),
            ("python-sync", &self.python, connect.synchronous()),
        ]
    }
}

/// Waits until the client is on WebSocket, if it may be, and checks its transport.
async fn settled(client: &Client, transports: &[&str]) -> Result<()> {
    if transports.len() > 1 && client.name().starts_with("node") {
        client.upgraded().await?;
    }
    let expected = transports.last().copied().unwrap_or_default();
    assert_eq!(client.transport().await?, expected, "{}", client.name());
    Ok(())
}

/// Whether it may be sent binary data: the synchronous client of python-socketio reads each frame in a thread of its own,
/// and takes an attachment for a packet now and then.
fn takes_binary(client: &Client) -> bool {
    !client.name().starts_with("python-sync")
}

/// Echo with and without an ack, an event the server asks back, rooms.
async fn works(client: &mut Client) -> Result<()> {
    let mut data = json!({"text": "grüß € 😀", "null": null});
    let mut answers = vec![("text", json!("yes"))];
    client.join("everyone").await?;
    if takes_binary(client) {
        data["binary"] = json!([{"$bytes": "AAH/"}, {"$bytes": ""}]);
        answers.push(("binary", json!({"$bytes": "AQID"})));
        client.join("binary").await?;
    }
    assert_eq!(client.ask("echo", json!([data, 2, "x"])).await?, json!([data, 2, "x"]));
    client.emit("message", json!([data, 1])).await?;
    assert_eq!(client.event("message-back").await?, json!([data, 1]));
    for (event, answer) in answers {
        let received = client
            .ask("ask", json!([{"event": event, "data": 1, "timeout": 5000}]))
            .await?;
        assert_eq!(client.event(event).await?, json!([1]));
        assert_eq!(received, json!([{"ok": true, "data": answer}]));
    }
    Ok(())
}

#[tokio::test]
async fn every_client_works_on_every_transport() -> Result<()> {
    let scene = Scene::start().await?;
    let url = scene.gateway.url();
    let mut clients = Vec::new();
    for transports in TRANSPORTS {
        for (kind, driver, connect) in scene.kinds(&url) {
            let name = format!("{kind}-{}", transports.join("-"));
            let replies = json!({"text": ["yes"], "binary": [{"$bytes": "AQID"}]});
            let connect = connect.transports(transports).replies(replies);
            let mut client = driver.connect(&name, connect).await.with_context(|| name.clone())?;
            settled(&client, transports).await?;
            works(&mut client).await.with_context(|| name.clone())?;
            clients.push(client);
        }
    }
    // What one sends reaches all the others, once, whatever they are.
    for sender in [0, 1, 2, 3] {
        for (room, data) in [("everyone", json!(sender)), ("binary", json!([{"$bytes": "/w=="}]))] {
            let request = json!([{"event": "news", "data": data, "room": room}]);
            assert_eq!(clients[sender].ask("broadcast", request).await?, json!(["ok"]));
            for (receiver, client) in clients.iter_mut().enumerate() {
                if receiver != sender && (room == "everyone" || takes_binary(client)) {
                    assert_eq!(client.event("news").await?, json!([data]), "{}", client.name());
                }
            }
        }
    }
    for client in &clients {
        assert_eq!(client.ask("echo", json!([1])).await?, json!([1]), "{}", client.name());
    }
    Ok(())
}

#[tokio::test]
async fn a_refusal_tells_every_client_why() -> Result<()> {
    let scene = Scene::start().await?;
    let url = scene.gateway.url();
    for (kind, driver, connect) in scene.kinds(&url) {
        // Version 2 has no CONNECT payload, but a query in the namespace.
        let denied = match kind {
            "node-2" => connect.clone().namespace("/custom?token=deny"),
            _ => connect.clone().auth(json!({"token": "deny"})),
        };
        let refusal = driver.refusal(kind, denied).await?;
        assert_eq!(refusal["data"], json!({"code": "E_AUTH"}), "{kind}");
        if kind != "node-2" {
            assert_eq!(refusal["message"], "not authorized", "{kind}");
        }
        let name = format!("{kind}-nowhere");
        let refusal = driver.refusal(&name, connect.namespace("/nowhere")).await?;
        assert_eq!(refusal["message"], "Invalid namespace", "{kind}");
    }
    Ok(())
}

#[tokio::test]
async fn every_client_comes_back_after_a_failure_of_the_network() -> Result<()> {
    let scene = Scene::start().await?;
    let proxy = Proxy::start(scene.gateway.address(), WEBSOCKET).await?;
    let mut clients = Vec::new();
    for (kind, driver, connect) in scene.kinds(&format!("http://{}", proxy.address())) {
        let client = driver.connect(kind, connect.transports(&["websocket"])).await?;
        client.join("before").await?;
        clients.push((client.sid().to_owned(), client));
    }
    proxy.cut_listeners();
    for (before, client) in &mut clients {
        client.disconnected().await?;
        client.connected().await.with_context(|| client.name().to_owned())?;
        assert_ne!(client.sid(), before, "{}", client.name());
        assert_eq!(client.event("auth").await?, json!([{}]), "{}", client.name());
        let rooms = client.ask("rooms", json!([])).await?;
        assert_eq!(
            rooms[0].as_array().map(Vec::len),
            Some(1),
            "{} is in {rooms}",
            client.name()
        );
    }
    Ok(())
}

#[tokio::test]
async fn every_client_has_namespaces() -> Result<()> {
    let scene = Scene::start().await?;
    let url = scene.gateway.url();
    for (kind, driver, connect) in scene.kinds(&url) {
        for namespace in ["/custom", "/tenant-1"] {
            let name = format!("{kind}{namespace}");
            let mut client = driver.connect(&name, connect.clone().namespace(namespace)).await?;
            assert_eq!(client.ask("info", json!([])).await?[0]["ns"], namespace, "{kind}");
            client.emit("kick", json!([])).await?;
            client.disconnected().await.with_context(|| name.clone())?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn several_namespaces_share_a_connection() -> Result<()> {
    let scene = Scene::start().await?;
    let url = scene.gateway.url();
    for version in [4, 3, 2] {
        let connect = |namespace: &str| Connect::to_reference(&url).version(version).namespace(namespace);
        let first = scene.node.connect(&format!("first-{version}"), connect("/")).await?;
        let second = connect("/custom").share(&first);
        let second = scene.node.connect(&format!("second-{version}"), second).await?;
        for (client, namespace) in [(&first, "/"), (&second, "/custom")] {
            assert_eq!(client.ask("info", json!([])).await?[0]["ns"], namespace);
        }
        first.disconnect().await?;
        assert_eq!(second.ask("echo", json!([Value::Null])).await?, json!([null]));
    }
    Ok(())
}

/// Where the gateway speaks msgpack, so do its clients.
#[tokio::test]
async fn clients_may_speak_msgpack() -> Result<()> {
    if node_deviates("has its parser set in its script") {
        return Ok(());
    }
    let msgpack = ("HALLPORTER_ENGINE__PARSER", "msgpack");
    let gateway = Gateway::reference("gateway", &[HEARTBEAT, msgpack]).await?;
    let node = Driver::node()?;
    for transports in TRANSPORTS {
        let name = format!("node-{}", transports.join("-"));
        let replies = json!({"text": ["yes"], "binary": [{"$bytes": "AQID"}]});
        let connect = Connect::to_reference(gateway.url()).parser("msgpack").replies(replies);
        let connect = connect.transports(transports);
        let mut client = node.connect(&name, connect.clone()).await?;
        settled(&client, transports).await?;
        works(&mut client).await.with_context(|| name.clone())?;
        let denied = connect.auth(json!({"token": "deny"}));
        let refusal = node.refusal(&format!("{name}-denied"), denied).await?;
        assert_eq!(refusal["data"], json!({"code": "E_AUTH"}), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_browser_works_on_every_transport() -> Result<()> {
    let gateway = Gateway::reference("gateway", &[HEARTBEAT]).await?;
    let proxy = Proxy::start(gateway.address(), WEBSOCKET).await?;
    let proxy_url = format!("http://{}", proxy.address());
    let (script, url) = (clients("browser.mjs")?, gateway.url());
    let args = [script.as_os_str(), url.as_ref(), proxy_url.as_ref()];
    let mut browser = Process::start("browser", Path::new("node"), |_| {}, args)?;
    let stdout = browser.stdout()?;
    browser.log().follow(stdout);
    browser.log().line("cut").await?;
    proxy.cut_listeners();
    browser.log().line("done").await?;
    assert_eq!(browser.ended().await?, 0);
    Ok(())
}
