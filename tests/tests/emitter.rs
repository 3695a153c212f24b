//! Workers that link the emitter: over Redis, and over a gateway's HTTP API.

use anyhow::{Context, Result};
use e2e::{Client, Connect, Driver, Gateway, NODE_A, NODE_B, PYTHON_A, PYTHON_B, Pair, Scene, Settings};
use futures_util::future::join_all;
use hallporter_emitter::{EmitError, Emitter, ManagerError, ManagerOptions};
use serde_bytes::Bytes;
use serde_json::json;

#[tokio::test]
async fn an_emitter_reaches_clients_on_every_gateway() -> Result<()> {
    let mut scene = Scene::start().await?;
    let emitter = Emitter::connect(&scene.cluster.redis.url()).await?;
    scene.join("left", &[NODE_A, PYTHON_B]).await?;
    scene.join("right", &[NODE_A, NODE_B]).await?;
    let everyone = [NODE_A, PYTHON_A, NODE_B, PYTHON_B];

    emitter.emit("all", "x").await?;
    scene.only(&everyone, "all", json!(["x"])).await?;
    emitter.to("left").emit("room", &json!({"a": [1]})).await?;
    scene.only(&[NODE_A, PYTHON_B], "room", json!([{"a": [1]}])).await?;
    emitter.to("left").to("right").emit("rooms", &()).await?;
    scene.only(&[NODE_A, PYTHON_B, NODE_B], "rooms", json!([])).await?;
    let sid = scene.sid(NODE_B).to_owned();
    emitter.to(&sid).emit("sid", &("é☃😀", 2, None::<u8>)).await?;
    scene.only(&[NODE_B], "sid", json!(["é☃😀", 2, null])).await?;
    let (one, two) = (scene.sid(NODE_A).to_owned(), scene.sid(PYTHON_B).to_owned());
    emitter.except(one).except(two).volatile().emit("but", &true).await?;
    scene.only(&[PYTHON_A, NODE_B], "but", json!([true])).await?;
    let nested = ("n", Bytes::new(b"\x00\xff"), vec![Bytes::new(b"")]);
    emitter.emit("binary", &nested).await?;
    let expected = json!(["n", {"$bytes": "AP8="}, [{"$bytes": ""}]]);
    scene.only(&everyone, "binary", expected).await?;
    emitter.of("custom").emit("elsewhere", &1).await?;
    scene.only(&[], "", json!([])).await?;
    Ok(())
}

#[tokio::test]
async fn an_emitter_moves_and_disconnects_sockets() -> Result<()> {
    let mut scene = Scene::start().await?;
    let emitter = Emitter::connect(&scene.cluster.redis.url()).await?;
    let (a, b) = (scene.sid(PYTHON_A).to_owned(), scene.sid(NODE_B).to_owned());
    for sid in [&a, &b] {
        emitter.enter_room(sid, "new").await?;
    }
    emitter.to("new").emit("entered", &1).await?;
    scene.only(&[PYTHON_A, NODE_B], "entered", json!([1])).await?;
    emitter.leave_room(&a, "new").await?;
    emitter.to("new").emit("left", &2).await?;
    scene.only(&[NODE_B], "left", json!([2])).await?;
    emitter.close_room("new").await?;
    emitter.to("new").emit("closed", &3).await?;
    scene.only(&[], "", json!([])).await?;
    emitter.disconnect(&a).await?;
    let reason = scene.clients[PYTHON_A].disconnected().await?;
    assert!(reason.contains("server disconnect"), "{reason}");
    Ok(())
}

async fn guest(node: &Driver, gateway: &Gateway, name: &str) -> Result<Client> {
    let client = node.connect(name, Connect::to(gateway.url())).await?;
    client.join("lobby").await?;
    Ok(client)
}

#[tokio::test]
async fn without_a_broker_an_emitter_speaks_to_the_gateway() -> Result<()> {
    let gateway = Gateway::hallporter("gateway", &[], &[]).await?;
    let node = Driver::node()?;
    let mut client = guest(&node, &gateway, "client").await?;
    let emitter = Emitter::connect(&gateway.url()).await?;
    emitter.to("lobby").emit("hello", &("x", Bytes::new(b"\x01"))).await?;
    assert_eq!(client.event("hello").await?, json!(["x", {"$bytes": "AQ=="}]));
    emitter.leave_room(client.sid(), "lobby").await?;
    emitter.to("lobby").emit("missed", &()).await?;
    emitter.emit("next", &()).await?;
    assert_eq!(client.event("next").await?, json!([]));
    emitter.disconnect(client.sid()).await?;
    client.disconnected().await?;
    Ok(())
}

#[tokio::test]
async fn a_key_opens_the_http_api_of_any_gateway() -> Result<()> {
    let settings =
        Settings::new("[api]\nkey = \"s3cret\"\n[[namespace]]\nname = \"/\"\npublic = true\nclient_rooms = [\"*\"]\n")?;
    let gateway = Gateway::hallporter("gateway", &["serve", "--config", settings.path()?], &[]).await?;
    let node = Driver::node()?;
    let mut client = guest(&node, &gateway, "client").await?;
    let with_key = |key: &str| format!("http://{key}@{}", gateway.address());
    Emitter::connect(&with_key(":s3cret")).await?.emit("hello", &1).await?;
    assert_eq!(client.event("hello").await?, json!([1]));
    for wrong in [":wrong", ""] {
        let error = Emitter::connect(&with_key(wrong)).await?.emit("no", &1).await.err();
        let error = error.context("a wrong key is refused")?.to_string();
        assert!(error.contains("refused: 401") && !error.contains("wrong@"), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn an_error_says_what_happened() -> Result<()> {
    let error = Emitter::connect("redis://me:s3cret@127.0.0.1:1")
        .await
        .err()
        .context("nobody is there")?;
    assert!(
        matches!(error, EmitError::Manager(ManagerError::Unavailable { .. })),
        "{error:?}"
    );
    let shown = error.to_string();
    assert!(
        shown.contains("redis://me:***@127.0.0.1:1") && !shown.contains("s3cret"),
        "{shown}"
    );

    let error = Emitter::connect("memory://").await.err().context("not from here")?;
    assert!(matches!(error, EmitError::Url(_)), "{error:?}");

    let redis = e2e::RedisServer::start().await?;
    let options = ManagerOptions {
        max_message: 1000,
        ..ManagerOptions::default()
    };
    let emitter = Emitter::connect_with(&redis.url(), options).await?;
    let error = emitter.emit("e", &"x".repeat(1000)).await.err().context("too large")?;
    assert!(
        matches!(error, EmitError::Manager(ManagerError::TooLarge { limit: 1000, .. })),
        "{error:?}"
    );
    Ok(())
}

/// While the broker is away messages are held, and one more than the buffer takes is refused.
#[tokio::test]
async fn a_buffering_emitter_sends_in_order_once_the_broker_is_back() -> Result<()> {
    let mut pair = Pair::start(&[]).await?;
    pair.redis.kill().await?;
    for gateway in &pair.gateways {
        gateway.answers("/readyz", 503).await?;
    }
    let emitter = Emitter::buffered(&pair.redis.url(), ManagerOptions::default(), 100).await?;
    let held: Vec<_> = (0..100).map(|number| emitter.emit("number", &number)).collect();
    let refused = emitter.emit("number", &"too many").await;
    assert!(
        matches!(refused, Err(EmitError::BufferFull { limit: 100 })),
        "{refused:?}"
    );
    pair.redis.restart().await?;
    emitter.flush().await?;
    for sent in join_all(held).await {
        sent?;
    }
    for gateway in &pair.gateways {
        gateway.answers("/readyz", 200).await?;
    }
    emitter.emit("number", &100).await?;
    emitter.emit("end", &()).await?;
    // A gateway that came back after the flush has missed the first ones.
    for client in &mut pair.clients {
        let received = client.until("end").await?;
        let expected: Vec<_> = (101 - received.len()..101)
            .map(|number| ("number".to_owned(), json!([number])))
            .collect();
        assert_eq!(received, expected);
    }
    Ok(())
}
