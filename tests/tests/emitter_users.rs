//! Workers that mean a user, whatever sockets that is: over each broker, and over a gateway's HTTP API.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::raw::WebSocket;
use e2e::{NatsServer, PATIENCE, RabbitServer, RedisServer};
use hallporter::adapters::url::BrokerUrl;
use hallporter::adapters::{ClientManager, Command, Status, user_room};
use hallporter::config::Config;
use hallporter::{Error, Gateway, Handshake, Namespace, Session};
use hallporter_emitter::Emitter;
use tokio::time::timeout;

/// A client is who it says it is.
async fn login(handshake: Handshake, session: Session) -> Result<(), Error> {
    let user = handshake.auth["user"].as_str().unwrap_or_default();
    session.bind_user(user).await
}

/// A gateway in this process that listens to its broker.
struct Host {
    address: String,
    manager: Arc<dyn ClientManager>,
}

async fn gateway(url: &str) -> Result<Host> {
    let mut config = Config {
        listen: "127.0.0.1:0".parse()?,
        ..Config::default()
    };
    config.manager.url = BrokerUrl::parse(url)?;
    let namespace = Namespace::new("/").on_connect(login);
    let gateway = Gateway::new(config).namespace(namespace).bind().await?;
    let address = gateway.address().to_string();
    let manager = gateway.manager().clone();
    tokio::spawn(gateway.serve(std::future::pending()));
    let mut status = manager.status();
    let listening = status.wait_for(|status| *status == Status::Listening);
    timeout(PATIENCE, listening).await.context("it listens in time")??;
    Ok(Host { address, manager })
}

async fn client(address: &str, user: &str) -> Result<WebSocket> {
    let mut socket = WebSocket::open(address).await?;
    socket.send(&format!(r#"40{{"user":"{user}"}}"#)).await?;
    let answer = socket.text().await?;
    ensure!(answer.starts_with("40"), "{answer}");
    Ok(socket)
}

/// One worker, and on each of these gateways two sockets of ann and one of bob.
async fn reaches_users(worker: &str, gateways: &[Host]) -> Result<()> {
    let (mut anns, mut bobs) = (Vec::new(), Vec::new());
    for Host { address, .. } in gateways {
        for _ in 0..2 {
            anns.push(client(address, "ann").await?);
        }
        bobs.push(client(address, "bob").await?);
    }
    let emitter = Emitter::connect(worker).await?;
    emitter.to_user("ann").emit("for ann", &1).await?;
    emitter.disconnect_user("ann").await?;
    emitter.to_user("bob").to_user("ann").emit("for both", &2).await?;
    for ann in &mut anns {
        assert_eq!(ann.text().await?, r#"42["for ann",1]"#);
        assert_eq!(ann.text().await?, "41");
        // Only from the namespace: the connection is still there.
        ann.send(r#"40{"user":"ann"}"#).await?;
        assert!(ann.text().await?.starts_with("40"));
    }
    for bob in &mut bobs {
        assert_eq!(bob.text().await?, r#"42["for both",2]"#);
    }
    let whole = Command::Disconnect {
        namespace: "/".into(),
        sid: user_room("bob"),
        connection: true,
    };
    gateways[0].manager.send(whole).await?;
    for bob in bobs {
        bob.closed().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_reaches_a_user_over_each_broker() -> Result<()> {
    let (redis, nats) = tokio::try_join!(RedisServer::start(), NatsServer::start())?;
    let rabbit = RabbitServer::start().await;
    for url in [redis.url(), rabbit.url(), nats.url()] {
        let gateways = [gateway(&url).await?, gateway(&url).await?];
        reaches_users(&url, &gateways).await.with_context(|| url.clone())?;
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_reaches_a_user_over_http() -> Result<()> {
    let gateway = gateway("memory://").await?;
    reaches_users(&format!("http://{}", gateway.address), &[gateway]).await
}
