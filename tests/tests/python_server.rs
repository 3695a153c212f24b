//! A live python-socketio server and two gateways are one cluster.

use anyhow::Result;
use e2e::{Connect, NODE_A, NODE_B, PYTHON_A, PYTHON_B, PythonServer, Scene};
use serde_json::{Value, json};

/// The first client of the python server, of socket.io-client; the place after the gateways' clients.
const NODE_P: usize = 4;
/// The second, of python-socketio.
const PYTHON_P: usize = 5;
const ALL: [usize; 6] = [NODE_A, PYTHON_A, NODE_B, PYTHON_B, NODE_P, PYTHON_P];

/// Two gateways with two clients each, and a python server with two more.
async fn mixed() -> Result<(Scene, PythonServer)> {
    let replies = json!({"question": ["answer"], "several": ["a", {"b": 2}], "nothing": []});
    let with_replies = |connect: Connect| connect.replies(replies.clone());
    let mut scene = Scene::configured(with_replies).await?;
    let server = PythonServer::start(&scene.python, &scene.cluster.redis.url(), "socketio").await?;
    let connect = with_replies(Connect::to(server.url()));
    scene.clients.push(scene.node.connect("node-p", connect.clone()).await?);
    scene.clients.push(scene.python.connect("python-p", connect).await?);
    Ok((scene, server))
}

#[tokio::test]
async fn what_the_python_server_emits_reaches_the_gateways_clients() -> Result<()> {
    let (mut scene, server) = mixed().await?;
    let emit = async |args: Value, kwargs: Value| server.call("emit", args, kwargs).await;

    emit(json!(["all", {"n": 1}]), json!({})).await?;
    scene.only(&ALL, "all", json!([{"n": 1}])).await?;
    emit(json!(["several", {"$tuple": [1, {"$bytes": "AAH/"}, null]}]), json!({})).await?;
    scene
        .only(&ALL, "several", json!([1, {"$bytes": "AAH/"}, null]))
        .await?;

    scene.join("room", &[PYTHON_A, NODE_B, NODE_P]).await?;
    emit(json!(["room", "r"]), json!({"room": "room"})).await?;
    scene.only(&[PYTHON_A, NODE_B, NODE_P], "room", json!(["r"])).await?;
    emit(
        json!(["skip", 1]),
        json!({"skip_sid": [scene.sid(NODE_A), scene.sid(PYTHON_P)]}),
    )
    .await?;
    scene
        .only(&[PYTHON_A, NODE_B, PYTHON_B, NODE_P], "skip", json!([1]))
        .await?;
    emit(json!(["direct", 1]), json!({"to": scene.sid(PYTHON_B)})).await?;
    scene.only(&[PYTHON_B], "direct", json!([1])).await?;
    emit(json!(["elsewhere", 1]), json!({"namespace": "/custom"})).await?;
    scene.only(&[], "", json!([])).await?;

    server
        .call("enter_room", json!([scene.sid(NODE_A), "room"]), json!({}))
        .await?;
    emit(json!(["entered", 1]), json!({"room": "room"})).await?;
    scene
        .only(&[NODE_A, PYTHON_A, NODE_B, NODE_P], "entered", json!([1]))
        .await?;
    server
        .call("leave_room", json!([scene.sid(NODE_B), "room"]), json!({}))
        .await?;
    emit(json!(["left", 1]), json!({"room": "room"})).await?;
    scene.only(&[NODE_A, PYTHON_A, NODE_P], "left", json!([1])).await?;
    server.call("close_room", json!(["room"]), json!({})).await?;
    emit(json!(["closed", 1]), json!({"room": "room"})).await?;
    scene.only(&[], "", json!([])).await
}

#[tokio::test]
async fn what_the_gateways_clients_emit_reaches_the_python_server_s() -> Result<()> {
    let (mut scene, _server) = mixed().await?;
    for data in [
        json!({"n": [1, null]}),
        json!({"$bytes": "AAH/"}),
        json!([1, 2]),
        json!("text"),
    ] {
        scene
            .broadcast(NODE_A, json!({"event": "all", "data": data, "self": true}))
            .await?;
        scene.only(&ALL, "all", json!([data])).await?;
    }
    scene.join("room", &[PYTHON_A, NODE_B, PYTHON_P]).await?;
    scene
        .broadcast(PYTHON_B, json!({"event": "room", "data": 1, "room": "room"}))
        .await?;
    scene.only(&[PYTHON_A, NODE_B, PYTHON_P], "room", json!([1])).await?;
    let except = json!({"event": "except", "data": 1, "except": [scene.sid(NODE_P)]});
    scene.broadcast(PYTHON_B, except).await?;
    scene
        .only(&[NODE_A, PYTHON_A, NODE_B, PYTHON_P], "except", json!([1]))
        .await?;
    let direct = json!([{"id": scene.sid(NODE_P), "event": "direct", "data": 1}]);
    scene.clients[NODE_B].ask("to-id", direct).await?;
    scene.only(&[NODE_P], "direct", json!([1])).await
}

#[tokio::test]
async fn the_python_server_disconnects_clients_of_gateways() -> Result<()> {
    let (mut scene, server) = mixed().await?;
    for client in [PYTHON_B, PYTHON_A] {
        server.call("disconnect", json!([scene.sid(client)]), json!({})).await?;
        scene.clients.remove(client).disconnected().await?;
    }
    let mut left = scene.clients;
    server.call("disconnect", json!([left[1].sid()]), json!({})).await?;
    assert_eq!(left[1].disconnected().await?, "io server disconnect");
    server.call("emit", json!(["still here", 1]), json!({})).await?;
    for client in [0, 2, 3] {
        assert_eq!(left[client].event("still here").await?, json!([1]));
    }
    Ok(())
}

#[tokio::test]
async fn the_python_server_is_acked_by_clients_of_gateways() -> Result<()> {
    let (mut scene, mut server) = mixed().await?;
    for client in ALL {
        let to = json!({"to": scene.sid(client), "timeout": 5});
        let ask = async |event: &str| server.call("call", json!([event, {"n": 1}]), to.clone()).await;
        assert_eq!(ask("question").await?, "answer");
        assert_eq!(ask("several").await?, json!(["a", {"b": 2}]));
        assert_eq!(ask("nothing").await?, json!(null));
        for event in ["question", "several", "nothing"] {
            assert_eq!(scene.clients[client].event(event).await?, json!([{"n": 1}]));
        }
    }
    scene.join("one", &[NODE_B]).await?;
    server
        .call("emit", json!(["several", 1]), json!({"to": "one", "callback": true}))
        .await?;
    assert_eq!(server.ack().await?, json!(["a", {"b": 2}]));
    scene.only(&[NODE_B], "several", json!([1])).await?;

    // python-socketio calls back for the first of several answers.
    scene.join("two", &[PYTHON_A, NODE_B]).await?;
    server
        .call("emit", json!(["question", 1]), json!({"to": "two", "callback": true}))
        .await?;
    assert_eq!(server.ack().await?, json!(["answer"]));
    scene.only(&[PYTHON_A, NODE_B], "question", json!([1])).await?;
    assert!(server.is_quiet());
    Ok(())
}

#[tokio::test]
async fn a_gateway_is_acked_by_clients_of_the_python_server() -> Result<()> {
    let (mut scene, _server) = mixed().await?;
    scene.join("one", &[NODE_P]).await?;
    let ask = json!([{"event": "question", "data": 1, "room": "one", "timeout": 1000}]);
    let answer = scene.clients[NODE_A].ask("broadcast-ack", ask).await?;
    assert_eq!(answer[0]["acks"], json!(["answer"]), "{answer}");
    scene.only(&[NODE_P], "question", json!([1])).await?;

    scene.join("mixed", &[PYTHON_P, NODE_B, NODE_A]).await?;
    let ask = json!([{"event": "question", "data": 2, "room": "mixed", "timeout": 1000}]);
    let answer = scene.clients[NODE_A].ask("broadcast-ack", ask).await?;
    assert_eq!(answer[0]["acks"], json!(["answer", "answer", "answer"]), "{answer}");
    scene.only(&[PYTHON_P, NODE_B, NODE_A], "question", json!([2])).await
}
