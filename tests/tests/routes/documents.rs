//! The endpoints in docs/routes.md work as they stand there.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::{PATIENCE, Process, free_ports, poll, python};
use serde_json::json;
use tokio::net::TcpStream;

use crate::scene::{code_of, route, serve};

/// The first code of this language in the page.
fn example(language: &str) -> Result<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/routes.md");
    let page = std::fs::read_to_string(page)?;
    let code = page.split(&format!("```{language}\n")).nth(1);
    let code = code.and_then(|rest| rest.split("```").next());
    Ok(code.with_context(|| format!("no {language} in the page"))?.to_owned())
}

async fn works(interpreter: PathBuf, language: &str, file: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let script = folder.path().join(file);
    std::fs::write(&script, example(language)?)?;
    let [port] = free_ports();
    let secret = "0123456789abcdef0123456789abcdef";
    let configure = |command: &mut tokio::process::Command| {
        command.env("PORT", port.to_string()).env("SECRET", secret);
    };
    let _endpoint = Process::start(language, &interpreter, configure, [&script])?;
    let listens = async || Ok(TcpStream::connect(("127.0.0.1", port)).await.is_ok());
    poll(PATIENCE, listens, || format!("{language} does not listen")).await?;

    let url = format!("http://127.0.0.1:{port}/");
    let scene = serve(&route(&url, &format!("secret = \"{secret}\""))).await?;
    let (mut socket, _) = scene.client().await?;
    for number in 1..=20 {
        socket.send("427[\"order.new\"]").await?;
        assert_eq!(socket.text().await?, format!("42[\"order\",{number}]"));
        assert_eq!(socket.packet().await?, ("437".to_owned(), json!([{"number": number}])));
    }
    // Nobody else may tell it anything.
    let scene = serve(&route(&url, &format!("secret = \"not {secret}\""))).await?;
    let (mut socket, _) = scene.client().await?;
    assert_eq!(code_of(&mut socket, json!(["order.new"])).await?, "unavailable");
    scene.gateway.log().line("401").await?;
    Ok(())
}

#[tokio::test]
async fn the_endpoint_in_python_works() -> Result<()> {
    works(python()?, "python", "endpoint.py").await
}

#[tokio::test]
async fn the_endpoint_in_node_works() -> Result<()> {
    works("node".into(), "js", "endpoint.mjs").await
}
