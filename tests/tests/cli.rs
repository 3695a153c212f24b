//! The command line: what it says about mistakes, and how it ends.

use std::net::TcpListener;

use anyhow::{Result, ensure};
use e2e::{Connect, Driver, Ended, Gateway, RedisServer, Settings, hallporter, run};
use serde_json::json;

/// Runs `hallporter` to its end.
async fn call(args: &[&str]) -> Result<Ended> {
    run(&hallporter()?, args).await
}

/// Runs `hallporter`, which has to end with this code and say all of this on standard error.
async fn fails(args: &[&str], code: i32, says: &[&str]) -> Result<()> {
    let ended = call(args).await?;
    ensure!(
        ended.code == code,
        "{args:?} ends with {} and not {code}: {}",
        ended.code,
        ended.stderr
    );
    for text in says {
        ensure!(
            ended.stderr.contains(text),
            "{args:?} does not say {text:?}: {}",
            ended.stderr
        );
    }
    ensure!(
        !ended.stderr.contains("secret"),
        "{args:?} gives the password away: {}",
        ended.stderr
    );
    ensure!(!ended.stderr.contains("panicked"), "{args:?} panics: {}", ended.stderr);
    Ok(())
}

#[tokio::test]
async fn check_accepts_a_good_file() -> Result<()> {
    let good = Settings::new(
        "listen = \"127.0.0.1:0\"\npath = \"/socket.io/\"\nlog = \"info\"\ndemo = false\n\n[engine]\nping_interval = \"25s\"\nmax_payload = 1000000\n\n\
         [manager]\nurl = \"memory://\"\nchannel = \"socketio\"\n\n[[namespace]]\nname = \"/\"\npublic = true\nclient_rooms = [\"public-*\"]\n",
    )?;
    let ended = call(&["check", "--config", good.path()?]).await?;
    ensure!(ended.code == 0, "{}", ended.stderr);
    Ok(())
}

#[tokio::test]
async fn check_names_file_line_key_and_the_nearest_known_one() -> Result<()> {
    let cases: [(&str, &str, &[&str]); 9] = [
        (
            "listen = \"127.0.0.1:0\"\n\n[engine]\nping_intervall = \"25s\"\n",
            "4",
            &["ping_intervall", "ping_interval"],
        ),
        ("lisen = \"127.0.0.1:0\"\n", "1", &["lisen", "listen"]),
        (
            "[manager]\nurl = \"memory://\"\nchanel = \"x\"\n",
            "3",
            &["chanel", "channel"],
        ),
        (
            "[[namespace]]\nname = \"/\"\nclient_room = [\"*\"]\n",
            "3",
            &["client_room", "client_rooms"],
        ),
        ("\n[engine]\nping_interval = \"soon\"\n", "3", &["ping_interval"]),
        (
            "[manager]\nurl = \"carrier-pigeon://user:secret@coop\"\n",
            "2",
            &["url", "carrier-pigeon"],
        ),
        ("listen = \n", "1", &[]),
        (
            "demo = false\n[[namespace]]\nname = \"/chat\"\n",
            "2",
            &["nobody can connect to \"/chat\"", "public = true", "[token]"],
        ),
        (
            "[token]\nkey_file = \"/nowhere/issuer.pem\"\n",
            "2",
            &["token.key_file", "/nowhere/issuer.pem cannot be read"],
        ),
    ];
    for (toml, line, says) in cases {
        let file = Settings::new(toml)?;
        let place = format!("{}:{line}", file.path()?);
        for command in ["check", "serve"] {
            let args = [command, "--config", file.path()?];
            let ended = call(&args).await?;
            ensure!(
                ended.stderr.contains(&place) || ended.stderr.contains(&format!("line {line}")),
                "{command} of {toml:?} does not name line {line}: {}",
                ended.stderr
            );
            fails(&args, 2, &[file.path()?]).await?;
            fails(&args, 2, says).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn check_names_every_mistake() -> Result<()> {
    let file =
        Settings::new("lisen = \"127.0.0.1:0\"\n\n[engine]\nping_intervall = \"25s\"\nping_timeout = \"later\"\n")?;
    fails(
        &["check", "--config", file.path()?],
        2,
        &["lisen", "ping_intervall", "ping_timeout"],
    )
    .await?;
    fails(
        &["check", "--config", "/nowhere/at-all.toml"],
        2,
        &["/nowhere/at-all.toml"],
    )
    .await
}

/// A file whose overlay `production` has a mistake in line 7.
const OVERLAID: &str = "listen = \"127.0.0.1:0\"\n[env.development]\npath = \"/development/\"\n[env.staging.app]\nx = 1\n\
    [env.production]\npaht = \"/production/\"\n";

#[tokio::test]
async fn check_looks_into_every_overlay() -> Result<()> {
    let file = Settings::new(OVERLAID)?;
    let place = format!("{}:7: env.production.paht: unknown key", file.path()?);
    for env in [&[][..], &["--env", "development"], &["--env", "production"]] {
        let args = [&["check", "--config", file.path()?], env].concat();
        fails(&args, 2, &["1 mistake in", &place, "path"]).await?;
    }
    fails(
        &["serve", "--config", file.path()?, "--env", "production"],
        2,
        &[&place],
    )
    .await?;
    fails(
        &["serve", "--config", file.path()?, "--env", "stagign"],
        2,
        &["--env", "env.stagign", "staging"],
    )
    .await
}

#[tokio::test]
async fn serve_takes_the_chosen_overlay() -> Result<()> {
    let file = Settings::new(OVERLAID)?;
    let config = ["serve", "--config", file.path()?];
    let by_flag = Gateway::hallporter("flag", &[&config[..], &["--env", "development"]].concat(), &[]).await?;
    let by_variable = Gateway::hallporter("variable", &config, &[("HALLPORTER_ENV", "development")]).await?;
    let by_none = Gateway::hallporter("none", &config, &[]).await?;
    for (gateway, path) in [
        (by_flag, "/development/"),
        (by_variable, "/development/"),
        (by_none, "/socket.io/"),
    ] {
        let (status, _) = gateway.get(&format!("{path}?EIO=4&transport=polling")).await?;
        ensure!(status == 200, "{path} answers {status}");
    }
    Ok(())
}

#[tokio::test]
async fn serve_names_the_address_of_a_taken_port() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let file = Settings::new(&format!("listen = \"{address}\"\n"))?;
    fails(&["serve", "--config", file.path()?], 1, &[&address]).await
}

#[tokio::test]
async fn emit_tells_what_is_wrong_with_its_input() -> Result<()> {
    let redis = RedisServer::start().await?;
    let url = redis.url();
    fails(
        &["emit", "event", "{\"unclosed\": ", "--url", &url],
        2,
        &["JSON", "{\"unclosed\": "],
    )
    .await?;
    fails(&["emit", "event", "unquoted", "--url", &url], 2, &["JSON", "unquoted"]).await?;
    fails(
        &["emit", "event", "--url", "carrier-pigeon://user:secret@coop"],
        2,
        &["carrier-pigeon"],
    )
    .await?;
    fails(&["emit", "event", "--url", "no url"], 2, &["--url", "not a URL"]).await?;
    fails(&["emit", "--url", &url], 2, &["EVENT"]).await?;
    fails(&["emit", "event", "--url", &url, "--unknown"], 2, &["--unknown"]).await?;
    fails(&["explode"], 2, &["explode"]).await
}

#[tokio::test]
async fn emit_names_the_masked_url_of_who_cannot_be_reached() -> Result<()> {
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let url = format!("redis://user:secret@{free}/0");
    fails(&["emit", "event", "1", "--url", &url], 1, &[&free.to_string(), "***"]).await?;
    let url = format!("http://{free}");
    fails(&["emit", "event", "1", "--url", &url], 1, &[&free.to_string()]).await
}

#[tokio::test]
async fn every_command_has_help() -> Result<()> {
    for args in [
        &["--help"][..],
        &["serve", "--help"],
        &["check", "--help"],
        &["emit", "--help"],
        &["ctl", "--help"],
        &["ctl", "list", "--help"],
        &["--version"],
    ] {
        let ended = call(args).await?;
        ensure!(
            ended.code == 0 && !ended.stdout.is_empty(),
            "{args:?} ends with {}",
            ended.code
        );
    }
    Ok(())
}

/// Emits by the command line to a client in the room `lobby`; the same on every kind of broker.
async fn emits_arrive(gateway: &Gateway, url: &str, channel: &[&str]) -> Result<()> {
    let node = Driver::node()?;
    let mut client = node.connect("client", Connect::to(gateway.url())).await?;
    let mut other = node.connect("other", Connect::to(gateway.url())).await?;
    client.join("lobby").await?;
    let emit = async |args: &[&str]| {
        let args = [&["emit"], args, &["--url", url], channel].concat();
        let ended = call(&args).await?;
        ensure!(ended.code == 0, "{args:?} ends with {}: {}", ended.code, ended.stderr);
        Ok(())
    };
    emit(&["nothing"]).await?;
    emit(&["several", "1", "{\"two\": [null]}", "\"three\"", "--room", "lobby"]).await?;
    emit(&["except", "1", "--except", other.sid()]).await?;
    emit(&["rooms", "1", "--room", "lobby", "--room", other.sid()]).await?;
    emit(&["elsewhere", "--namespace", "/chat"]).await?;
    emit(&["end"]).await?;
    let event = |name: &str, args| (name.to_owned(), args);
    assert_eq!(
        client.until("end").await?,
        [
            event("nothing", json!([])),
            event("several", json!([1, {"two": [null]}, "three"])),
            event("except", json!([1])),
            event("rooms", json!([1])),
        ]
    );
    assert_eq!(
        other.until("end").await?,
        [event("nothing", json!([])), event("rooms", json!([1]))]
    );
    Ok(())
}

#[tokio::test]
async fn emit_reaches_clients_over_redis() -> Result<()> {
    let redis = RedisServer::start().await?;
    let url = redis.url();
    let toml = format!(
        "[manager]\nurl = \"{url}\"\nchannel = \"porter\"\n[[namespace]]\nname = \"/\"\npublic = true\nclient_rooms = [\"lobby\"]\n"
    );
    let settings = Settings::new(&toml)?;
    let gateway = Gateway::hallporter("gateway", &["serve", "--config", settings.path()?], &[]).await?;
    emits_arrive(&gateway, &url, &["--channel", "porter"]).await
}

#[tokio::test]
async fn emit_reaches_clients_over_http_with_no_broker() -> Result<()> {
    let gateway = Gateway::hallporter("gateway", &[], &[]).await?;
    emits_arrive(&gateway, &gateway.url(), &[]).await
}
