//! Every way a client may move bytes carries the same events.

use anyhow::Result;
use e2e::{Client, Cluster, Connect, Driver, settle};
use serde_json::json;

#[tokio::test]
async fn polling_websocket_and_upgrades_receive_the_same() -> Result<()> {
    let (node, python) = (Driver::node()?, Driver::python()?);
    let cluster = Cluster::start().await?;
    let mut clients: Vec<Client> = Vec::new();
    // Each event of these is handled in a thread of its own, in any order, so they are not asked for more than one.
    let mut synchronous: Vec<Client> = Vec::new();
    for (place, url) in [("a", cluster.a.url()), ("b", cluster.b.url())] {
        for transport in ["polling", "websocket"] {
            let only = Connect::to_reference(&url).transports(&[transport]);
            let name = |kind: &str| format!("{kind}-{transport}-{place}");
            for client in [
                node.connect(&name("node"), only.clone()).await?,
                python.connect(&name("python"), only.clone()).await?,
            ] {
                assert_eq!(client.transport().await?, transport, "{}", client.name());
                clients.push(client);
            }
            synchronous.push(python.connect(&name("sync"), only.synchronous()).await?);
        }
        let client = node
            .connect(&format!("node-upgrade-{place}"), Connect::to_reference(&url))
            .await?;
        assert_eq!(client.upgraded().await?, "websocket");
        clients.push(client);
        let client = python
            .connect(&format!("python-upgrade-{place}"), Connect::to_reference(&url))
            .await?;
        assert_eq!(client.transport().await?, "websocket");
        clients.push(client);
    }

    let data = json!({"text": "grüß", "binary": [{"$bytes": "AAH/"}]});
    for client in clients.iter().chain(&synchronous) {
        assert_eq!(
            client.ask("echo", json!([data, 2])).await?,
            json!([data, 2]),
            "{}",
            client.name()
        );
        client.join("everyone").await?;
    }
    let request = json!({"event": "hello", "data": data, "room": "everyone", "self": true});
    clients[0].ask("broadcast", json!([request])).await?;
    for client in &mut synchronous {
        assert_eq!(client.event("hello").await?, json!([data]), "{}", client.name());
    }
    let last = clients.len() - 1;
    let received = settle(&mut clients, [0, last]).await?;
    for (client, reports) in clients.iter().zip(received) {
        assert_eq!(reports, [("hello".to_owned(), json!([data]))], "{}", client.name());
    }
    Ok(())
}
