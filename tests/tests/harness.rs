//! The harness itself, tried on a python-socketio server instead of a gateway.

use anyhow::Result;
use e2e::{Connect, Driver, RedisServer, until_each};
use serde_json::{Value, json};

#[tokio::test]
async fn drivers_report_what_clients_see() -> Result<()> {
    let redis = RedisServer::start().await?;
    let (node, python) = (Driver::node()?, Driver::python()?);
    let mut inbox = python.inbox("server");
    let url = python
        .request("server", json!({"server": "server", "broker": redis.url()}))
        .await?;
    let url = url.as_str().unwrap_or_default();
    let a = node
        .connect(
            "a",
            Connect::to(url).replies(json!({"question": ["answer", {"$bytes": "AA=="}]})),
        )
        .await?;
    let b = python.connect("b", Connect::to(url)).await?;
    let c = python.connect("c", Connect::to(url).synchronous()).await?;
    assert_eq!(a.upgraded().await?, "websocket");

    let args = json!([1, {"x": {"$bytes": "AAH/"}}, "three"]);
    for client in [&a, &b, &c] {
        assert_eq!(client.ask("echo", args.clone()).await?, args);
        client.join("harness").await?;
        let seen = inbox.recv().await.unwrap_or_default();
        assert_eq!((&seen["event"], &seen["args"][2]), (&json!("echo"), &args[1]));
    }
    python
        .request(
            "worker",
            json!({"worker": "worker", "kind": "sync", "broker": redis.url()}),
        )
        .await?;
    python
        .call(
            "worker",
            "emit",
            json!(["one", {"$tuple": [1, {"$bytes": "AA=="}]}]),
            json!({"room": "harness"}),
        )
        .await?;
    python.call("worker", "emit", json!(["end", null]), json!({})).await?;
    let mut clients = [a, b, c];
    let received = until_each(&mut clients, "end").await?;
    let expected = vec![("one".to_owned(), json!([1, {"$bytes": "AA=="}]))];
    assert_eq!(received, vec![expected; 3]);

    let [mut a, ..] = clients;
    let answer = python
        .call("server", "call", json!(["question", 1]), json!({"to": a.sid()}))
        .await?;
    assert_eq!(answer, json!(["answer", {"$bytes": "AA=="}]));
    a.event("question").await?;
    python
        .call("server", "disconnect", json!([a.sid()]), Value::Null)
        .await?;
    assert_eq!(a.disconnected().await?, "io server disconnect");
    Ok(())
}
