//! Sockets and users.

use anyhow::{Context, Result};
use e2e::{Connect, PATIENCE, poll};
use serde_json::{Value, json};

use crate::scene::{Scene, code};

#[tokio::test]
async fn sockets_are_listed_page_by_page_and_found() -> Result<()> {
    let scene = Scene::start().await?;
    let mut clients = Vec::from(scene.clients().await?);
    for number in 0..3 {
        let connect = Connect::to(&scene.hosts[number % 2].url);
        clients.push(scene.node.connect(&format!("more-{number}"), connect).await?);
    }
    let [here, there] = &scene.hosts;
    let (mut sids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = there.find(&format!("sockets?limit=2{cursor}")).await?;
        let sockets = page["sockets"].as_array().context("a page has sockets")?;
        assert!((1..=2).contains(&sockets.len()), "{page}");
        sids.extend(sockets.iter().map(|socket| socket["sid"].clone()));
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let mut expected: Vec<&str> = clients.iter().map(e2e::Client::sid).collect();
    expected.sort_unstable();
    assert_eq!(Value::from(sids), json!(expected));

    let a = &clients[0];
    here.take("rooms/join", json!({"sid": a.sid(), "room": "b"})).await?;
    here.take("rooms/join", json!({"sid": a.sid(), "room": "a"})).await?;
    let socket = json!({"sid": a.sid(), "host_id": here.manager.host_id(), "user": "ann", "rooms": ["a", "b"]});
    for host in &scene.hosts {
        assert_eq!(host.find(&format!("sockets/{}", a.sid())).await?, socket);
        let listed = host.find("sockets?room=a").await?;
        assert_eq!(listed, json!({"sockets": [socket], "cursor": null}));
        assert_eq!(
            host.find("sockets?namespace=/chat").await?,
            json!({"sockets": [], "cursor": null})
        );
        assert_eq!(code(host.get("sockets/nobody").await?), (404, "no_socket".into(), None));
    }
    Ok(())
}

#[tokio::test]
async fn sockets_and_users_are_disconnected_from_any_gateway() -> Result<()> {
    let scene = Scene::start().await?;
    let [mut a, mut b] = scene.clients().await?;
    let [here, there] = &scene.hosts;
    let knows = async || Ok(there.manager.is_online("/", "ann"));
    poll(PATIENCE, knows, || "the other gateway does not hear of ann".into()).await?;
    assert_eq!(
        there.find("users").await?,
        json!({"count": 1, "users": ["ann"], "cursor": null})
    );
    let ann = json!({"user": "ann", "online": true, "sids": [a.sid()]});
    assert_eq!(there.find("users/ann").await?, ann);
    let bob = json!({"user": "bób/1", "online": false, "sids": []});
    assert_eq!(there.find("users/b%C3%B3b%2F1").await?, bob);

    there.take("users/disconnect", json!({"user": "ann"})).await?;
    assert_eq!(a.disconnected().await?, "io server disconnect");
    here.take("sockets/disconnect", json!({"sid": b.sid(), "connection": true}))
        .await?;
    // It comes back by itself, for only its connection was closed.
    b.disconnected().await?;
    b.connected().await?;
    here.take("sockets/disconnect", json!({"sid": b.sid()})).await?;
    assert_eq!(b.disconnected().await?, "io server disconnect");
    let is_gone = async || Ok(!there.manager.is_online("/", "ann"));
    poll(PATIENCE, is_gone, || "ann stays online".into()).await?;
    assert_eq!(there.find("users").await?["count"], json!(0));
    Ok(())
}
