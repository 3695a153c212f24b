//! What a newcomer sees: the demo page of a gateway started with no arguments, in a real browser.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::{Gateway, Process, artefacts, clients, hallporter, run};

#[tokio::test]
async fn a_visitor_joins_sends_and_sees_an_emit_from_the_command_line() -> Result<()> {
    let gateway = Gateway::hallporter("gateway", &[], &[]).await?;
    let (folder, url) = (artefacts()?, gateway.url());
    let script = clients("demo.mjs")?;
    let args = [script.as_os_str(), url.as_ref(), folder.as_os_str()];
    let mut browser = Process::start("browser", Path::new("node"), |_| {}, args)?;
    let stdout = browser.stdout()?;
    browser.log().follow(stdout);

    let line = browser.log().line("command: ").await?;
    let command = line.split_once("command: ").context("a command follows")?.1;
    ensure!(
        command.starts_with("hallporter emit "),
        "the page says to try {command:?}"
    );
    // As the page writes it, by a shell that finds the program.
    let program = hallporter()?;
    let bin = program.parent().context("a program lies in a folder")?.display();
    let shell = run(Path::new("sh"), ["-c", &format!("PATH={bin}:$PATH; {command}")]).await?;
    ensure!(
        shell.code == 0,
        "{command:?} ends with {}: {}",
        shell.code,
        shell.stderr
    );

    let hello = ["emit", "greeting", "\"hello from a worker\"", "--url", &url];
    let emit = run(&program, hello).await?;
    ensure!(emit.code == 0, "emit ends with {}: {}", emit.code, emit.stderr);
    browser.log().line("done").await?;
    assert_eq!(browser.ended().await?, 0);
    for picture in ["demo-desktop.png", "demo-phone.png"] {
        ensure!(folder.join(picture).exists(), "{picture} is missing");
    }
    Ok(())
}
