//! Scripts with python-socketio's write-only managers, unchanged, reach clients of both gateways as they reach those
//! of a python-socketio server in the same cluster.

use anyhow::{Result, ensure};
use e2e::{Client, Cluster, Connect, Driver, PythonServer, Report, clients, python, run, settle, until_each};
use serde_json::{Value, json};

/// A client on each gateway, and two on a python-socketio server beside them; the letters stand in `script`.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Every event of `clients/worker.py` in order: name, arguments, and who receives it.
fn script() -> Vec<(&'static str, Value, &'static str)> {
    let bytes = |base64: &str| json!({"$bytes": base64});
    vec![
        ("str", json!(["hello"]), "abcd"),
        (
            "dict",
            json!([{"a": 1, "b": {"c": [true, false, null, 1.5, -7]}}]),
            "abcd",
        ),
        ("list", json!([[1, "two", [3]]]), "abcd"),
        ("empty-list", json!([[]]), "abcd"),
        ("tuple", json!(["several", 2, {"three": 3}]), "abcd"),
        ("empty-tuple", json!([]), "abcd"),
        ("none", json!([]), "abcd"),
        ("none-first", json!([null, 1]), "abcd"),
        ("number", json!([12_345_678_901_234_u64]), "abcd"),
        ("big-number", json!([2_f64.powi(80)]), "abcd"),
        ("bytes", json!([bytes("AAH/")]), "abcd"),
        ("empty-bytes", json!([bytes("")]), "abcd"),
        (
            "nested",
            json!([{"x": [bytes("b25l"), {"y": bytes("dHdv")}], "z": "three"}]),
            "abcd",
        ),
        (
            "nested-tuple",
            json!([bytes("Zmlyc3Q="), {"second": bytes("Mg==")}, "third"]),
            "abcd",
        ),
        ("placeholder", json!([{"_placeholder": true, "num": 0}]), "abcd"),
        (
            "unicode",
            json!(["gr\u{fc}\u{df} \u{1f6ce}\u{fe0f} \u{2028} \" \\ \n \u{0}"]),
            "abcd",
        ),
        ("Ereignis \u{1f514}", json!(["name"]), "abcd"),
        ("to", json!([1]), "abcd"),
        ("rooms", json!([1]), "abc"),
        ("skip", json!([1]), "bcd"),
        ("skip-list", json!([1]), "cd"),
        ("sid", json!([1]), "b"),
        ("nan", json!([{"x": null, "y": [null, null], "z": "NaN"}]), "ab"),
        ("entered", json!([1]), "b"),
        ("before-close", json!([1]), "ac"),
    ]
}

/// What the client with this letter receives.
fn expected(letter: &str) -> Vec<Report> {
    let script = script()
        .into_iter()
        .filter(|(_, _, receivers)| receivers.contains(letter));
    script.map(|(event, args, _)| (event.to_owned(), args)).collect()
}

async fn joined(client: Client, rooms: &[&str]) -> Result<Client> {
    for room in rooms {
        client.join(room).await?;
    }
    Ok(client)
}

/// Runs the script against a cluster on `channel`.
async fn works(kind: &str, channel: &str) -> Result<()> {
    let (node, python_clients) = (Driver::node()?, Driver::python()?);
    let cluster = Cluster::on_channel(channel).await?;
    let redis = cluster.redis.url();
    let server = PythonServer::start(&python_clients, &redis, channel).await?;
    let (a, b, c) = (
        Connect::to_reference(cluster.a.url()),
        Connect::to_reference(cluster.b.url()),
        Connect::to(server.url()),
    );

    let elsewhere = |connect: &Connect| connect.clone().namespace("/custom");
    let mut others = vec![
        joined(node.connect("custom-a", elsewhere(&a)).await?, &["run-all"]).await?,
        joined(python_clients.connect("custom-b", elsewhere(&b)).await?, &["run-all"]).await?,
        joined(node.connect("custom-c", elsewhere(&c)).await?, &["run-all"]).await?,
    ];
    let mut clients_of_root = vec![
        joined(node.connect("a", a).await?, &["run-all", "run-a", "run-b", "run-odd"]).await?,
        joined(python_clients.connect("b", b).await?, &["run-all", "run-b", "run-odd"]).await?,
        joined(node.connect("c", c.clone()).await?, &["run-all", "run-a", "run-b"]).await?,
        joined(python_clients.connect("d", c).await?, &["run-all"]).await?,
    ];

    let script = clients("worker.py")?;
    let script = script.to_string_lossy();
    let (skipped, moved) = (clients_of_root[0].sid().to_owned(), clients_of_root[1].sid().to_owned());
    let worker = run(&python()?, [&script, kind, &redis, channel, "run", &skipped, &moved]).await?;
    ensure!(worker.code == 0, "the worker failed: {}", worker.stderr);

    let received = until_each(&mut clients_of_root, "end").await?;
    for (letter, reports) in NAMES.iter().zip(&received) {
        assert_eq!(*reports, expected(letter), "client {letter}");
    }
    let received = until_each(&mut others, "end").await?;
    assert_eq!(received, vec![vec![("elsewhere".to_owned(), json!([1]))]; 3]);

    // Nothing came twice, or late.
    clients_of_root.truncate(2);
    assert_eq!(settle(&mut clients_of_root, [0, 1]).await?, [vec![], vec![]]);
    Ok(())
}

#[tokio::test]
async fn a_redis_manager_reaches_both_gateways() -> Result<()> {
    works("sync", "socketio").await
}

#[tokio::test]
async fn an_async_redis_manager_reaches_both_gateways() -> Result<()> {
    works("async", "socketio").await
}

#[tokio::test]
async fn flask_socketio_s_channel_works_as_well() -> Result<()> {
    works("sync", "flask-socketio").await?;
    works("async", "flask-socketio").await
}
