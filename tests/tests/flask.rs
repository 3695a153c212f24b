//! An ordinary Flask-SocketIO application and the same behind Hallporter: what clients see is the same.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::{Gateway, Process, RedisServer, clients, free_ports, python, run};
use rustix::process::Signal;
use serde_json::{Value, json};

fn example(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/flask");
    folder.join(file).display().to_string()
}

/// What two people are told by a server, and by a job beside it.
async fn told(url: &str, broker: &str) -> Result<Value> {
    let (script, python) = (
        clients("flask.mjs")?.display().to_string(),
        python()?.display().to_string(),
    );
    let job = example("job.py");
    let chat = run(Path::new("node"), [&*script, url, &python, &job, "tea", broker]).await?;
    ensure!(chat.code == 0, "{}", chat.stderr);
    Ok(serde_json::from_str(&chat.stdout)?)
}

#[tokio::test]
async fn clients_see_no_difference() -> Result<()> {
    let (redis, [port]) = (RedisServer::start().await?, free_ports());
    let (broker, port) = (redis.url(), port.to_string());
    let mut flask = Process::start("flask", &python()?, |_| {}, [&*example("app.py"), &port, &broker])?;
    flask.log().line("Running on").await?;
    let before = told(&format!("http://127.0.0.1:{port}"), &broker).await?;
    flask.kill().await?;

    let config = example("hallporter.toml");
    let environment = [("HALLPORTER_MANAGER__URL", &*broker)];
    let gateway = Gateway::hallporter("gateway", &["serve", "--config", &config], &environment).await?;
    let mut worker = Process::start("worker", &python()?, |_| {}, [&*example("worker.py"), &broker])?;
    gateway.answers("/readyz", 200).await?;
    worker.log().line("takes events").await?;
    let after = told(&gateway.url(), &broker).await?;
    worker.signal(Signal::TERM)?;
    ensure!(worker.ended().await? == 0, "the worker does not end well");

    assert_eq!(before, after);
    let bob = after["bob"].as_array().context("bob is told something")?;
    assert!(
        bob.contains(&json!(["report", {"room": "tea", "rows": 499_500}])),
        "{bob:?}"
    );
    Ok(())
}
