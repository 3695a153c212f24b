//! What a worker does to clients by messages on the broker: rooms entered, left and closed, clients disconnected.

use anyhow::Result;
use e2e::{NODE_A, NODE_B, PYTHON_A, PYTHON_B, Scene};
use serde_json::{Value, json};

/// A message to do something with a socket or room of the namespace `/`.
fn message(method: &str, more: Value) -> Value {
    let mut message = json!({"method": method, "namespace": "/", "host_id": "a worker"});
    for (key, value) in more.as_object().into_iter().flatten() {
        message[key] = value.clone();
    }
    message
}

/// The rooms a client says it is in, without its own.
async fn rooms(scene: &Scene, client: usize) -> Result<Vec<String>> {
    let rooms = scene.clients[client].ask("rooms", json!([])).await?;
    let mut rooms: Vec<String> = serde_json::from_value(rooms[0].clone())?;
    rooms.retain(|room| room != scene.sid(client));
    rooms.sort();
    Ok(rooms)
}

#[tokio::test]
async fn a_worker_moves_sockets_in_and_out_of_rooms() -> Result<()> {
    let mut scene = Scene::start().await?;
    for client in [NODE_A, PYTHON_B] {
        let sid = scene.sid(client).to_owned();
        scene
            .publish(message("enter_room", json!({"sid": sid, "room": "guests"})))
            .await?;
        scene
            .publish(message("enter_room", json!({"sid": sid, "room": "staff"})))
            .await?;
    }
    scene.only(&[], "", json!([])).await?;
    assert_eq!(rooms(&scene, NODE_A).await?, ["guests", "staff"]);
    assert_eq!(rooms(&scene, PYTHON_B).await?, ["guests", "staff"]);
    assert!(rooms(&scene, NODE_B).await?.is_empty());
    scene
        .broadcast(NODE_B, json!({"event": "dinner", "data": 1, "room": "guests"}))
        .await?;
    scene.only(&[NODE_A, PYTHON_B], "dinner", json!([1])).await?;

    let sid = scene.sid(NODE_A).to_owned();
    scene
        .publish(message("leave_room", json!({"sid": sid, "room": "guests"})))
        .await?;
    scene.only(&[], "", json!([])).await?;
    scene
        .broadcast(NODE_B, json!({"event": "dessert", "data": 1, "room": "guests"}))
        .await?;
    scene.only(&[PYTHON_B], "dessert", json!([1])).await?;

    scene.publish(message("close_room", json!({"room": "staff"}))).await?;
    scene.only(&[], "", json!([])).await?;
    scene
        .broadcast(NODE_B, json!({"event": "work", "data": 1, "room": "staff"}))
        .await?;
    scene.only(&[], "", json!([])).await?;
    assert!(rooms(&scene, NODE_A).await?.is_empty());
    assert_eq!(rooms(&scene, PYTHON_B).await?, ["guests"]);
    Ok(())
}

#[tokio::test]
async fn a_remote_client_is_disconnected_and_no_other() -> Result<()> {
    let mut scene = Scene::start().await?;
    for client in [PYTHON_B, PYTHON_A] {
        let sid = scene.sid(client).to_owned();
        scene.publish(message("disconnect", json!({"sid": sid}))).await?;
        let mut gone = scene.clients.remove(client);
        gone.disconnected().await?;
    }
    let sid = scene.clients[1].sid().to_owned();
    scene.publish(message("disconnect", json!({"sid": sid}))).await?;
    let mut gone = scene.clients.remove(1);
    assert_eq!(gone.disconnected().await?, "io server disconnect");
    let (_, text) = scene.cluster.b.get("/_stats").await?;
    let stats: Value = serde_json::from_str(&text)?;
    assert_eq!(stats["namespaces"]["/"].as_u64().unwrap_or(0), 0, "{text}");
    scene.clients[NODE_A]
        .ask("broadcast", json!([{"event": "still here", "data": 1, "self": true}]))
        .await?;
    assert_eq!(scene.clients[NODE_A].event("still here").await?, json!([1]));
    Ok(())
}

#[tokio::test]
async fn kicked_clients_are_told_and_leave_their_rooms() -> Result<()> {
    let mut scene = Scene::start().await?;
    scene.join("room", &[NODE_A, NODE_B]).await?;
    scene.clients[NODE_B].emit("kick", json!([])).await?;
    let mut kicked = scene.clients.remove(NODE_B);
    assert_eq!(kicked.disconnected().await?, "io server disconnect");
    scene
        .broadcast(PYTHON_A, json!({"event": "room", "data": 1, "room": "room"}))
        .await?;
    scene.only(&[NODE_A], "room", json!([1])).await
}
