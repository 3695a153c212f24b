//! The command line, where it asks the cluster.

use anyhow::{Result, ensure};
use e2e::{Ended, Gateway, RedisServer, Settings, hallporter, run};
use serde_json::{Value, json};

use crate::scene::{KEY, SMALL_KEY, Scene};

async fn call(args: &[&str]) -> Result<Ended> {
    run(&hallporter()?, args).await
}

#[tokio::test]
async fn ctl_lists_the_cluster() -> Result<()> {
    let scene = Scene::start().await?;
    let [here, there] = &scene.hosts;
    let ended = call(&["ctl", "list", "--url", &here.url, "--key", SMALL_KEY]).await?;
    ensure!(ended.code == 0, "{}", ended.stderr);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let [head, one, other] = lines.as_slice() else {
        anyhow::bail!("{}", ended.stdout)
    };
    assert_eq!(
        head.split_whitespace().collect::<Vec<_>>(),
        ["TYPE", "ID", "HOST", "ID", "THIS"]
    );
    let this = here.manager.host_id();
    for (line, is_this) in [(one, one.contains(this)), (other, other.contains(this))] {
        assert_eq!(line.ends_with('*'), is_this, "{line}");
        assert_eq!(line.find("hallporter-"), head.find("ID"), "{line}");
    }
    ensure!(ended.stdout.contains(there.manager.host_id()), "{}", ended.stdout);

    let ended = call(&["ctl", "list", "--url", &here.url_with_key(), "--json"]).await?;
    let listed: Value = serde_json::from_str(&ended.stdout)?;
    assert_eq!(listed, here.find("cluster").await?);
    for (args, code, says) in [
        (&["--url", &here.url, "--key", "wrong"][..], 1, "401"),
        (&["--url", "http://127.0.0.1:1", "--key", KEY], 1, "127.0.0.1:1"),
        (&["--url", "redis://127.0.0.1:1"], 2, "names no gateway"),
        (&["--url", "no url"], 2, "not a URL"),
    ] {
        let ended = call(&[&["ctl", "list"], args].concat()).await?;
        assert!(
            ended.code == code && ended.stderr.contains(says),
            "{args:?}: {}",
            ended.stderr
        );
        assert!(!ended.stderr.contains(KEY), "{}", ended.stderr);
    }
    Ok(())
}

#[tokio::test]
async fn emit_tells_where_it_went_and_who_answered() -> Result<()> {
    let scene = Scene::start().await?;
    let [a, b] = scene.clients().await?;
    for url in [scene.hosts[0].url_with_key(), scene.redis.url()] {
        let emit = async |args: &[&str]| {
            let ended = call(&[&["emit", "--url", &url], args].concat()).await?;
            ensure!(ended.code == 0, "{args:?}: {}", ended.stderr);
            Ok(ended)
        };
        let ended = emit(&["x", "--receipt", "5s"]).await?;
        assert_eq!(ended.stdout, "delivered to 2 sockets on 2 gateways\n");
        let ended = emit(&["ask", "1", "--user", "ann", "--ack", "5s"]).await?;
        let line: Value = serde_json::from_str(&ended.stdout)?;
        assert_eq!(line, json!({"sid": a.sid(), "args": ["fine"]}));
        let ended = emit(&["ask", "--room", b.sid(), "--ack", "5s", "--receipt", "5s"]).await?;
        ensure!(
            ended.stdout.ends_with("delivered to 1 socket on 2 gateways\n"),
            "{}",
            ended.stdout
        );
        let ended = emit(&["unanswered", "--ack", "300ms"]).await?;
        assert!(
            ended.stderr.contains("2 of 2 sockets did not answer in time"),
            "{}",
            ended.stderr
        );
    }
    let ended = call(&["emit", "x", "--receipt", "soon"]).await?;
    assert!(
        ended.code == 2 && ended.stderr.contains("--receipt"),
        "{}",
        ended.stderr
    );
    let ended = call(&["emit", "x", "--receipt", "1s", "--url", "redis://127.0.0.1:1"]).await?;
    assert!(
        ended.code == 1 && ended.stderr.contains("127.0.0.1:1"),
        "{}",
        ended.stderr
    );
    Ok(())
}

#[tokio::test]
async fn keys_from_the_environment_open_the_api() -> Result<()> {
    let redis = RedisServer::start().await?;
    let settings = Settings::new("[[namespace]]\nname = \"/\"\npublic = true\n")?;
    let environment = [
        ("HALLPORTER_MANAGER__URL", redis.url()),
        (
            "HALLPORTER_API__KEYS",
            format!("[{{name = \"c\", key = \"{KEY}\", scopes = [\"cluster\"]}}]"),
        ),
    ];
    let environment: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let gateway = Gateway::hallporter("gateway", &["serve", "--config", settings.path()?], &environment).await?;
    gateway.answers("/readyz", 200).await?;
    let ended = call(&["ctl", "list", "--url", &gateway.url(), "--key", KEY, "--json"]).await?;
    ensure!(ended.code == 0, "{}", ended.stderr);
    let ended = call(&["ctl", "list", "--url", &gateway.url()]).await?;
    assert!(
        ended.code == 1 && ended.stderr.contains("wrong or missing key"),
        "{}",
        ended.stderr
    );
    Ok(())
}
