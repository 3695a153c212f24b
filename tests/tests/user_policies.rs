//! Who is online, and how often a user may be there, on three gateways of which one dies and comes back.

use anyhow::{Context, Result};
use e2e::{Client, Connect, Driver, Gateway, RedisServer};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The example irc, where this policy holds for users.
async fn gateway(folder: &TempDir, name: &str, broker: &str, policy: &str) -> Result<Gateway> {
    let file = folder.path().join(name);
    let namespace = format!(r#"[{{name = "/", users = "{policy}"}}]"#);
    let environment = [
        ("HALLPORTER_MANAGER__URL", broker),
        ("HALLPORTER_MANAGER__CANARY_INTERVAL", "500ms"),
        ("HALLPORTER_NAMESPACE", &namespace),
        ("HALLPORTER_APP__IRC__FILE", file.to_str().context("the path is UTF-8")?),
    ];
    let gateway = Gateway::example(name, "irc", &environment).await?;
    gateway.answers("/readyz", 200).await?;
    Ok(gateway)
}

fn named(gateway: &Gateway, name: &str) -> Connect {
    Connect::to(gateway.url()).auth(json!({ "name": name }))
}

/// Waits until this client is told so of a user, with so many online.
async fn told(client: &mut Client, event: &str, user: &str, online: u64) -> Result<()> {
    let expected: Value = json!([user, online]);
    while client.find(event).await? != expected {}
    Ok(())
}

#[tokio::test]
async fn a_user_who_is_here_is_refused_until_the_gateway_has_gone() -> Result<()> {
    let redis = RedisServer::start().await?;
    let (folder, url, node) = (TempDir::new()?, redis.url(), Driver::node()?);
    let start = async |name| gateway(&folder, name, &url, "refuse_new").await;
    let (a, b, mut c) = tokio::try_join!(start("a"), start("b"), start("c"))?;
    let mut bob = node.connect("bob", named(&a, "bob")).await?;
    let mut carl = node.connect("carl", named(&b, "carl")).await?;
    let _ann = node.connect("ann", named(&c, "ann")).await?;
    told(&mut bob, "joined", "ann", 3).await?;
    for gateway in [&a, &b, &c] {
        let refused = node.refused("ann again", named(gateway, "ann")).await?;
        assert_eq!(refused, r#""ann" is here already"#);
    }

    c.process().kill().await?;
    // Each gateway finds out by itself.
    told(&mut bob, "left", "ann", 2).await?;
    told(&mut carl, "left", "ann", 2).await?;
    let mut ann = node.connect("ann on b", named(&b, "ann")).await?;
    told(&mut bob, "joined", "ann", 3).await?;

    let c = start("c again").await?;
    let refused = node.refused("ann once more", named(&c, "ann")).await?;
    assert_eq!(refused, r#""ann" is here already"#);
    let _dora = node.connect("dora", named(&c, "dora")).await?;
    told(&mut bob, "joined", "dora", 4).await?;
    told(&mut ann, "joined", "dora", 4).await
}

#[tokio::test]
async fn the_older_socket_of_a_user_gives_way_wherever_it_is() -> Result<()> {
    let redis = RedisServer::start().await?;
    let (folder, url, node) = (TempDir::new()?, redis.url(), Driver::node()?);
    let start = async |name| gateway(&folder, name, &url, "replace_old").await;
    let (a, b, mut c) = tokio::try_join!(start("a"), start("b"), start("c"))?;
    let mut bob = node.connect("bob", named(&a, "bob")).await?;
    let mut first = node.connect("ann on b", named(&b, "ann")).await?;
    told(&mut bob, "joined", "ann", 2).await?;
    let _second = node.connect("ann on c", named(&c, "ann")).await?;
    assert_eq!(first.disconnected().await?, "io server disconnect");

    c.process().kill().await?;
    told(&mut bob, "left", "ann", 1).await?;
    let c = start("c again").await?;
    let mut third = node.connect("ann on c again", named(&c, "ann")).await?;
    told(&mut bob, "joined", "ann", 2).await?;
    let last = node.connect("ann on a", named(&a, "ann")).await?;
    assert_eq!(third.disconnected().await?, "io server disconnect");
    assert_eq!(last.ask("say", json!(["still here"])).await?, json!([]));
    // It has not been away meanwhile.
    assert_eq!(bob.find("said").await?[0]["text"], "still here");
    Ok(())
}
