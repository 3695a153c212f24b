//! Gateways, python-socketio's workers and a live python-socketio server are one cluster on RabbitMQ too.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Connect, Driver, PythonServer, RabbitServer, gateways, settle, worker_reaches_everyone};
use serde_json::json;

/// Waits until two gateways and a python-socketio server listen; what is published before, the server misses.
async fn three_listen(rabbit: &RabbitServer) -> Result<()> {
    for _ in 0..30 {
        let bindings = rabbit.ctl(&["list_bindings", "source_name"]).await;
        if bindings.lines().filter(|source| *source == "socketio").count() == 3 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("not all hosts listen")
}

#[tokio::test]
async fn kombu_and_aio_pika_managers_reach_both_gateways() -> Result<()> {
    for kind in ["sync", "async"] {
        let rabbit = RabbitServer::start().await;
        worker_reaches_everyone(kind, &rabbit.url(), "socketio", async || three_listen(&rabbit).await).await?;
    }
    Ok(())
}

/// Waits until there are so many queues.
async fn queues(rabbit: &RabbitServer, expected: usize) -> Result<()> {
    let mut queues = String::new();
    for _ in 0..30 {
        queues = rabbit.ctl(&["list_queues", "name"]).await;
        if queues.lines().filter(|line| *line != "name").count() == expected {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("not {expected} queues: {queues}")
}

#[tokio::test]
async fn a_killed_gateway_leaves_no_queue_behind() -> Result<()> {
    let rabbit = RabbitServer::start().await;
    let [mut a, mut b] = gateways(&rabbit.url(), "socketio").await?;
    for gateway in [&a, &b] {
        gateway.answers("/readyz", 200).await?;
    }
    queues(&rabbit, 2).await?;
    a.process().kill().await?;
    queues(&rabbit, 1).await?;
    b.process().kill().await?;
    queues(&rabbit, 0).await
}

#[tokio::test]
async fn a_python_server_is_a_host_of_the_cluster() -> Result<()> {
    let rabbit = RabbitServer::start().await;
    let (node, python) = (Driver::node()?, Driver::python()?);
    let [a, b] = gateways(&rabbit.url(), "socketio").await?;
    let mut server = PythonServer::start(&python, &rabbit.url(), "socketio").await?;
    let replies = json!({"question": ["answer"], "several": ["a", {"b": 2}]});
    let connect = |to: Connect| to.replies(replies.clone());
    let mut clients = vec![
        node.connect("a", connect(Connect::to_reference(a.url()))).await?,
        python.connect("b", connect(Connect::to_reference(b.url()))).await?,
        node.connect("p", connect(Connect::to(server.url()))).await?,
    ];
    three_listen(&rabbit).await?;

    // From the python server, to everyone, to a room, and with an ack.
    let data = json!({"n": [1, null], "b": {"$bytes": "AAH/"}});
    server.call("emit", json!(["all", data]), json!({})).await?;
    for client in &mut clients {
        assert_eq!(client.event("all").await?, json!([data]));
    }
    for member in [1, 2] {
        clients[member].join("room").await?;
    }
    server.call("emit", json!(["room", 1]), json!({"room": "room"})).await?;
    for member in [1, 2] {
        assert_eq!(clients[member].event("room").await?, json!([1]));
    }
    for client in &mut clients {
        let to = json!({"to": client.sid(), "timeout": 5});
        assert_eq!(server.call("call", json!(["question", 1]), to).await?, "answer");
        client.event("question").await?;
    }
    let to = json!({"to": clients[1].sid(), "callback": true});
    server.call("emit", json!(["several", 1]), to).await?;
    assert_eq!(server.ack().await?, json!(["a", {"b": 2}]));
    clients[1].event("several").await?;

    // And to it.
    let broadcast = json!([{"event": "all", "data": data, "self": true}]);
    clients[0].ask("broadcast", broadcast).await?;
    for client in &mut clients {
        assert_eq!(client.event("all").await?, json!([data]));
    }
    let broadcast = json!([{"event": "room", "data": 2, "room": "room"}]);
    clients[0].ask("broadcast", broadcast).await?;
    for member in [1, 2] {
        assert_eq!(clients[member].event("room").await?, json!([2]));
    }
    let ask = json!([{"event": "question", "data": 3, "room": "room", "timeout": 1000}]);
    let answer = clients[0].ask("broadcast-ack", ask).await?;
    assert_eq!(answer[0]["acks"], json!(["answer", "answer"]), "{answer}");
    for member in [1, 2] {
        clients[member].event("question").await?;
    }

    // Nothing came twice, or to others.
    clients.truncate(2);
    let late = settle(&mut clients, [0, 1]).await?;
    ensure!(late.iter().all(Vec::is_empty), "{late:?}");
    Ok(())
}
