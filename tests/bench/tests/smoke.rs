//! The benchmark itself, with tiny numbers: every server and every scene.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

#[tokio::test]
async fn a_small_run_measures_everything() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = folder.path().to_string_lossy();
    let args = [
        "run", "--rounds", "1", "--crowd", "20", "--room", "10", "--burst", "5", "--time", "10",
    ];
    let program = Path::new(env!("CARGO_BIN_EXE_bench"));
    let ended = e2e::run(program, args.into_iter().chain(["--output", &output])).await?;
    ensure!(ended.code == 0, "{}\n{}", ended.stdout, ended.stderr);
    ensure!(!ended.stdout.contains("failed"), "{}", ended.stdout);

    let page = fs::read_to_string(folder.path().join("benchmarks.md"))?;
    ensure!(!page.contains('{'), "something was not filled in: {page}");
    let servers = ["bare limit", "Hallporter", "socketioxide", "Node", "python-socketio"];
    for server in servers {
        let line = format!("- {server}: 0 lost, 0 doubled, 0 out of order, 0 garbled");
        ensure!(page.contains(&line), "{server}: {page}");
    }
    // All of them deliver; only Hallporter, Node and Python have workers, and the bare limit no second host.
    for (row, values) in [
        ("delivery in a room of 10 ", 5),
        ("delivery, two hosts", 4),
        ("event of a worker: the worker", 3),
    ] {
        let line = page
            .lines()
            .find(|line| line.starts_with(&format!("| {row}")))
            .unwrap_or_default();
        let cells = line.split('|').skip(2).take(servers.len());
        ensure!(
            cells.filter(|cell| !cell.trim().is_empty()).count() == values,
            "{row}: {page}"
        );
    }
    ensure!(fs::read_to_string(folder.path().join("benchmarks.svg"))?.contains("</svg>"));
    Ok(())
}

#[tokio::test]
async fn every_way_to_the_users_code_is_measured() -> Result<()> {
    let program = Path::new(env!("CARGO_BIN_EXE_bench"));
    let ended = e2e::run(program, ["ways", "--rounds", "1", "--time", "10", "--alone", "5"]).await?;
    ensure!(ended.code == 0, "{}\n{}", ended.stdout, ended.stderr);
    for way in [
        "handler in the gateway",
        "HTTP endpoint",
        "worker on Redis",
        "worker on RabbitMQ",
        "worker on NATS",
    ] {
        let line = ended
            .stdout
            .lines()
            .find(|line| line.starts_with(&format!("| {way} |")));
        ensure!(
            line.is_some_and(|line| !line.contains("NaN")),
            "{way}: {}",
            ended.stdout
        );
    }
    Ok(())
}
