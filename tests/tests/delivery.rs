//! What clients of one gateway emit reaches the right clients of both, once.

use anyhow::Result;
use e2e::{Connect, NODE_A, NODE_B, PYTHON_A, PYTHON_B, Scene};
use serde_json::json;

#[tokio::test]
async fn an_emit_reaches_everyone_with_or_without_its_sender() -> Result<()> {
    let mut scene = Scene::start().await?;
    scene.broadcast(NODE_A, json!({"event": "news", "data": 1})).await?;
    scene.only(&[PYTHON_A, NODE_B, PYTHON_B], "news", json!([1])).await?;
    scene
        .broadcast(PYTHON_B, json!({"event": "news", "data": "2", "self": true}))
        .await?;
    scene
        .only(&[NODE_A, PYTHON_A, NODE_B, PYTHON_B], "news", json!(["2"]))
        .await
}

#[tokio::test]
async fn rooms_span_gateways_and_a_member_of_several_gets_one() -> Result<()> {
    let mut scene = Scene::start().await?;
    scene.join("red", &[NODE_A, PYTHON_B]).await?;
    scene.join("blue", &[PYTHON_A, NODE_B, PYTHON_B]).await?;

    scene
        .broadcast(PYTHON_A, json!({"event": "red", "data": {"n": 1}, "room": "red"}))
        .await?;
    scene.only(&[NODE_A, PYTHON_B], "red", json!([{"n": 1}])).await?;

    let both = json!({"event": "both", "data": [1, 2], "room": ["red", "blue"], "self": true});
    scene.broadcast(NODE_B, both).await?;
    scene
        .only(&[NODE_A, PYTHON_A, NODE_B, PYTHON_B], "both", json!([[1, 2]]))
        .await?;

    let except = json!({"event": "not red", "data": null, "room": "blue", "except": "red"});
    scene.broadcast(NODE_A, except).await?;
    scene.only(&[PYTHON_A, NODE_B], "not red", json!([null])).await?;

    let except = json!({"event": "not all", "data": 1, "except": ["red", scene.sid(NODE_B)]});
    scene.broadcast(NODE_A, except).await?;
    scene.only(&[PYTHON_A], "not all", json!([1])).await?;

    assert_eq!(
        scene.clients[NODE_B].ask("leave", json!(["blue"])).await?,
        json!(["ok"])
    );
    scene
        .broadcast(NODE_A, json!({"event": "blue", "data": 1, "room": "blue"}))
        .await?;
    scene.only(&[PYTHON_A, PYTHON_B], "blue", json!([1])).await?;

    scene
        .broadcast(NODE_A, json!({"event": "void", "data": 1, "room": "nobody is here"}))
        .await?;
    scene.only(&[], "void", json!([1])).await
}

#[tokio::test]
async fn a_sid_is_a_room_on_whatever_gateway() -> Result<()> {
    let mut scene = Scene::start().await?;
    for (sender, receiver) in [
        (NODE_A, PYTHON_B),
        (PYTHON_B, NODE_A),
        (NODE_A, PYTHON_A),
        (NODE_B, NODE_B),
    ] {
        let sid = scene.sid(receiver).to_owned();
        let direct = json!([{"id": sid, "event": "direct", "data": "psst"}]);
        scene.clients[sender].ask("to-id", direct).await?;
        scene.only(&[receiver], "direct", json!(["psst"])).await?;
    }
    let sids = [scene.sid(PYTHON_A), scene.sid(NODE_B)];
    let two = json!({"event": "two", "data": 2, "room": sids});
    scene.broadcast(NODE_A, two).await?;
    scene.only(&[PYTHON_A, NODE_B], "two", json!([2])).await
}

#[tokio::test]
async fn namespaces_do_not_leak() -> Result<()> {
    let mut scene = Scene::start().await?;
    let (a, b) = (scene.cluster.a.url(), scene.cluster.b.url());
    let custom = |url: &str| Connect::to_reference(url).namespace("/custom");
    let shared = custom(&a).share(&scene.clients[NODE_A]);
    let mut others = vec![
        scene.node.connect("custom-a", shared).await?,
        scene.python.connect("custom-b", custom(&b)).await?,
    ];
    scene.join("room", &[NODE_A, NODE_B, PYTHON_B]).await?;
    for other in &others {
        other.join("room").await?;
    }
    let tenant = Connect::to_reference(&a).namespace("/tenant-blue");
    let tenant = scene.node.connect("tenant", tenant).await?;
    tenant.join("room").await?;
    others.push(tenant);

    scene
        .broadcast(NODE_B, json!({"event": "room", "data": "/", "room": "room"}))
        .await?;
    scene.broadcast(NODE_B, json!({"event": "all", "data": "/"})).await?;
    others[1]
        .ask(
            "broadcast",
            json!([{"event": "room", "data": "custom", "room": "room"}]),
        )
        .await?;
    let mut tenant = others.pop().into_iter().collect::<Vec<_>>();

    let received = e2e::settle(&mut others, [0, 1]).await?;
    assert_eq!(received, [vec![("room".into(), json!(["custom"]))], vec![]]);
    assert_eq!(e2e::settle(&mut tenant, [0, 0]).await?, [vec![]]);
    let received = scene.received().await?;
    let (room, all) = (("room".to_owned(), json!(["/"])), ("all".to_owned(), json!(["/"])));
    assert_eq!(received[NODE_A], [room.clone(), all.clone()]);
    assert_eq!(received[PYTHON_A], vec![all.clone()]);
    assert_eq!(received[NODE_B], []);
    assert_eq!(received[PYTHON_B], [room, all]);

    for (name, driver) in [("node-x", &scene.node), ("python-x", &scene.python)] {
        let unknown = Connect::to_reference(&a).namespace("/unknown");
        assert_eq!(driver.refused(name, unknown).await?, "Invalid namespace");
        let denied = Connect::to_reference(&b).auth(json!({"token": "deny"}));
        assert_eq!(driver.refused(name, denied).await?, "not authorized");
    }
    Ok(())
}

#[tokio::test]
async fn arguments_arrive_in_number_order_and_kind() -> Result<()> {
    let mut scene = Scene::start().await?;
    let binary = json!({"$bytes": "AAH/"});
    let cases = [
        json!([]),
        json!(["one"]),
        json!([1, "two", [3], {"four": null}, true, 1.5]),
        json!(["grüß \u{1f6ce} \u{2028} \" \\ \n \u{0}"]),
        json!([binary]),
        json!([{"$bytes": ""}, "and", {"deep": [{"er": binary}, {"$bytes": "dHdv"}]}, null]),
    ];
    for args in &cases {
        for client in &scene.clients {
            assert_eq!(client.ask("echo", args.clone()).await?, *args, "{}", client.name());
        }
        for client in &mut scene.clients {
            client.emit("message", args.clone()).await?;
            assert_eq!(client.event("message-back").await?, *args, "{}", client.name());
        }
    }
    for data in [
        binary.clone(),
        json!({"x": [binary, {"y": {"$bytes": ""}}], "z": "three"}),
    ] {
        for sender in [NODE_A, PYTHON_B] {
            scene
                .broadcast(sender, json!({"event": "data", "data": data, "self": true}))
                .await?;
            scene
                .only(&[NODE_A, PYTHON_A, NODE_B, PYTHON_B], "data", json!([data]))
                .await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn acks_come_back_from_clients_of_both_gateways() -> Result<()> {
    let replies = json!({"question": ["answer"], "binary": [{"$bytes": "AAH/"}], "nested": [{"x": [1]}]});
    let mut scene = Scene::configured(|connect| connect.replies(replies.clone())).await?;
    for (place, client) in scene.clients.iter_mut().enumerate() {
        for (event, data) in [("question", json!("answer")), ("binary", json!({"$bytes": "AAH/"}))] {
            let ask = json!([{"event": event, "data": {"n": 1}, "timeout": 3000}]);
            assert_eq!(client.ask("ask", ask).await?, json!([{"ok": true, "data": data}]));
            assert_eq!(client.event(event).await?, json!([{"n": 1}]));
        }
        let ask = json!([{"event": "never answered", "data": 1, "timeout": 200}]);
        // Clients of python-socketio ack by themselves what no handler answers.
        let by_itself = [PYTHON_A, PYTHON_B].contains(&place);
        assert_eq!(client.ask("ask", ask).await?[0]["ok"], by_itself, "{}", client.name());
        client.event("never answered").await?;
    }

    let all = json!([{"event": "question", "data": 1, "timeout": 3000}]);
    let answer = scene.clients[NODE_A].ask("broadcast-ack", all).await?;
    assert_eq!(
        answer,
        json!([{"acks": ["answer", "answer", "answer", "answer"], "failed": 0}])
    );
    scene
        .only(&[NODE_A, PYTHON_A, NODE_B, PYTHON_B], "question", json!([1]))
        .await?;

    scene.join("remote", &[NODE_B, PYTHON_B]).await?;
    let room = json!([{"event": "nested", "data": 2, "room": "remote", "timeout": 3000}]);
    let answer = scene.clients[PYTHON_A].ask("broadcast-ack", room).await?;
    assert_eq!(answer, json!([{"acks": [{"x": [1]}, {"x": [1]}], "failed": 0}]));
    scene.only(&[NODE_B, PYTHON_B], "nested", json!([2])).await?;

    let silent = json!([{"event": "silence", "data": 3, "room": "remote", "timeout": 300}]);
    let answer = scene.clients[NODE_A].ask("broadcast-ack", silent).await?;
    assert_eq!(answer, json!([{"acks": [null], "failed": 1}]));
    scene.only(&[NODE_B, PYTHON_B], "silence", json!([3])).await
}
