//! The app on Hallporter's library.

use anyhow::Result;
use hallporter::adapters::url::BrokerUrl;
use hallporter::config::{self, Config, Sources};
use hallporter::{Args, Data, Error, Gateway, Handshake, Namespace, Sid, Talk};

use super::{ANY_PORT, listening, news};

pub(super) async fn serve(redis: Option<&str>) -> Result<()> {
    let mut config = Config {
        listen: ANY_PORT,
        ..Config::default()
    };
    if let Some(url) = redis {
        config.manager.url = BrokerUrl::parse(url)?;
    }
    run(config).await
}

/// The app with a route for its echo.
pub(crate) async fn route(to: &str, broker: &str) -> Result<()> {
    let toml = format!(
        "[manager]\nurl = \"{broker}\"\n[[namespace]]\nname = \"/\"\n[[route]]\nevent = \"echo\"\nto = \"{to}\"\n"
    );
    let sources = Sources {
        flags: vec![("--listen".into(), "listen".into(), ANY_PORT.to_string())],
        defaults: toml.leak(),
        ..Sources::default()
    };
    run(config::load(sources)?).await
}

async fn run(config: Config) -> Result<()> {
    let namespace = Namespace::new("/")
        .on_connect(connect)
        .on("echo", async |args: Args| args)
        .on("broadcast", broadcast);
    let gateway = Gateway::new(config).namespace(namespace).bind().await?;
    listening(gateway.address());
    Ok(gateway.serve(std::future::pending()).await?)
}

async fn connect(handshake: Handshake, Sid(sid): Sid, talk: Talk) -> Result<(), Error> {
    if let Some(room) = handshake.auth["room"].as_str() {
        talk.join(&sid, room).await?;
    }
    Ok(())
}

async fn broadcast(Data((room, first, count)): Data<(String, u64, u64)>, talk: Talk) -> Result<(), Error> {
    let talk = talk.to(room);
    for number in first..first + count {
        talk.emit("news", &news(number)).await?;
    }
    Ok(())
}
