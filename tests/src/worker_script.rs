//! The script of a python-socketio worker, and what clients receive of it.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{Client, Connect, Driver, PythonServer, Report, clients, gateways, python, run, settle, until_each};

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

/// Runs `clients/worker.py` with the write-only manager of this kind, `sync` or `async`, and checks that its events reach
/// clients of two gateways as they reach those of a python-socketio server on the same broker and channel.
///
/// `listening` is called once the server has clients, and has to return when it listens to the broker.
///
/// # Errors
/// Something is not installed, not built, or does not start, or a client receives something else.
pub async fn worker_reaches_everyone(
    kind: &str,
    broker: &str,
    channel: &str,
    listening: impl AsyncFn() -> Result<()>,
) -> Result<()> {
    let (node, python_clients) = (Driver::node()?, Driver::python()?);
    let [gateway_a, gateway_b] = gateways(broker, channel).await?;
    let server = PythonServer::start(&python_clients, broker, channel).await?;
    let (a, b, c) = (
        Connect::to_reference(gateway_a.url()),
        Connect::to_reference(gateway_b.url()),
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

    listening().await?;
    let script = clients("worker.py")?;
    let script = script.to_string_lossy();
    let (skipped, moved) = (clients_of_root[0].sid().to_owned(), clients_of_root[1].sid().to_owned());
    let worker = run(&python()?, [&script, kind, broker, channel, "run", &skipped, &moved]).await?;
    ensure!(worker.code == 0, "the worker failed: {}", worker.stderr);

    let received = until_each(&mut clients_of_root, "end").await?;
    for (letter, reports) in NAMES.iter().zip(&received) {
        let expected = expected(letter);
        ensure!(
            *reports == expected,
            "client {letter} received {reports:?} and not {expected:?}"
        );
    }
    let received = until_each(&mut others, "end").await?;
    let elsewhere = vec![("elsewhere".to_owned(), json!([1]))];
    ensure!(received == vec![elsewhere; 3], "in /custom: {received:?}");

    // Nothing came twice, or late.
    clients_of_root.truncate(2);
    let late = settle(&mut clients_of_root, [0, 1]).await?;
    ensure!(late.iter().all(Vec::is_empty), "twice, or late: {late:?}");
    Ok(())
}
