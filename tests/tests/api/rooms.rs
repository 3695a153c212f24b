//! Rooms, and who is in them.

use anyhow::Result;
use e2e::Client;
use serde_json::{Value, json};

use crate::scene::{Host, Scene, code};

/// The members of a room, as one gateway sees them.
async fn members(host: &Host, room: &str) -> Result<Value> {
    Ok(host.find(&format!("rooms/members?room={room}")).await?["members"].take())
}

fn sorted(clients: &[&Client]) -> Value {
    let mut sids: Vec<&str> = clients.iter().map(|client| client.sid()).collect();
    sids.sort_unstable();
    json!(sids)
}

#[tokio::test]
async fn sockets_and_users_of_any_gateway_are_moved_in_and_out_of_rooms() -> Result<()> {
    let scene = Scene::start().await?;
    let [mut a, mut b] = scene.clients().await?;
    let [here, there] = &scene.hosts;
    let joined = here
        .take("rooms/join", json!({"sid": b.sid(), "room": "lobby"}))
        .await?;
    assert_eq!(joined, json!({"sockets": 1}));
    let joined = there
        .take("rooms/join", json!({"user": "ann", "room": "lobby", "namespace": "/"}))
        .await?;
    assert_eq!(joined, json!({"sockets": 1}));
    let joined = there
        .take("rooms/join", json!({"user": "nobody", "room": "lobby"}))
        .await?;
    assert_eq!(joined, json!({"sockets": 0}));
    // What follows the joins to both gateways.
    here.take("emit", json!({"event": "joined", "rooms": ["lobby"]}))
        .await?;
    b.event("joined").await?;
    there
        .take("emit", json!({"event": "joined too", "rooms": ["lobby"]}))
        .await?;
    a.find("joined too").await?;
    for host in &scene.hosts {
        assert_eq!(members(host, "lobby").await?, sorted(&[&a, &b]));
    }
    here.take("rooms/leave", json!({"sid": b.sid(), "room": "lobby"}))
        .await?;
    here.take("emit", json!({"event": "left", "rooms": ["lobby", b.sid()]}))
        .await?;
    b.find("left").await?;
    assert_eq!(members(there, "lobby").await?, sorted(&[&a]));
    there.take("rooms/close", json!({"room": "lobby"})).await?;
    there.take("emit", json!({"event": "closed"})).await?;
    a.find("closed").await?;
    assert_eq!(members(here, "lobby").await?, json!([]));
    assert!(members(here, a.sid()).await? == json!([a.sid()]));
    Ok(())
}

#[tokio::test]
async fn rooms_of_sockets_and_users_are_theirs_alone() -> Result<()> {
    let scene = Scene::start().await?;
    let [a, b] = scene.clients().await?;
    for host in &scene.hosts {
        for (path, body) in [
            ("rooms/join", json!({"sid": a.sid(), "room": b.sid()})),
            ("rooms/close", json!({"room": b.sid()})),
        ] {
            assert_eq!(
                code(host.post(path, &body).await?),
                (409, "room_is_sid".into(), None),
                "{path}"
            );
        }
        for path in ["rooms/join", "rooms/leave"] {
            let reserved = json!({"sid": a.sid(), "room": "hallporter:user:bob"});
            assert_eq!(
                code(host.post(path, &reserved).await?),
                (422, "invalid".into(), Some("room".into()))
            );
            let both = json!({"sid": a.sid(), "user": "ann", "room": "x"});
            assert_eq!(
                code(host.post(path, &both).await?),
                (422, "invalid".into(), Some("sid".into()))
            );
        }
    }
    Ok(())
}
