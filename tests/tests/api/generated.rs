//! Requests that nobody thought of: schemathesis makes them up from the description that the gateway itself serves.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{artefacts, clients, python, run_within};

use crate::scene::{KEY, Scene};

/// How long it may take; a third of that is usual.
const LIMIT: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_generated_requests_are_answered_as_described() -> Result<()> {
    let scene = Scene::start().await?;
    let schemathesis = python()?.with_file_name("schemathesis");
    let report = artefacts()?.join("schemathesis.xml");
    let report = report.to_str().context("the path is UTF-8")?;
    let settings = clients("schemathesis.toml")?;
    let settings = settings.to_str().context("the path is UTF-8")?;
    let url = format!("{}/api/v1/openapi.yaml", scene.hosts[0].url);
    let key = format!("Authorization: Bearer {KEY}");
    let args = [
        "--config-file",
        settings,
        "run",
        "--no-color",
        &url,
        "--header",
        &key,
        "--checks",
        "all",
        "--continue-on-failure",
    ];
    let how = [
        "--seed",
        "6",
        "--max-examples",
        "40",
        "--generation-database",
        "none",
        "--request-timeout",
        "10",
    ];
    let to = ["--report", "junit", "--report-junit-path", report];
    let ended = run_within(LIMIT, &schemathesis, [&args[..], &how, &to].concat()).await?;
    ensure!(ended.code == 0, "{}\n{}", ended.stdout, ended.stderr);
    let line = ended.stdout.lines().find(|line| line.contains(" generated"));
    let line = line.with_context(|| format!("it says how many: {}", ended.stdout))?;
    let count: u32 = line
        .trim()
        .split(' ')
        .next()
        .unwrap_or_default()
        .replace(',', "")
        .parse()?;
    ensure!(count >= 1000, "{count} requests are too few");
    Ok(())
}
