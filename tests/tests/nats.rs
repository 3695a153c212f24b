//! Two gateways on one NATS.

use anyhow::{Result, ensure};
use e2e::{Client, Connect, Driver, Gateway, NatsServer, Report, hallporter, run, settle};
use hallporter_emitter::{EmitError, Emitter, ManagerError};
use serde_bytes::Bytes;
use serde_json::{Value, json};

/// Two reference applications with two clients each: 0 and 1 on `a`, 2 and 3 on `b`.
struct Scene {
    nats: NatsServer,
    a: Gateway,
    b: Gateway,
    clients: Vec<Client>,
}

impl Scene {
    async fn start() -> Result<Self> {
        let nats = NatsServer::start().await?;
        let url = nats.url();
        let environment = [("HALLPORTER_MANAGER__URL", url.as_str())];
        let (a, b) = tokio::try_join!(
            Gateway::reference("gateway-a", &environment),
            Gateway::reference("gateway-b", &environment)
        )?;
        let node = Driver::node()?;
        let mut clients = Vec::new();
        for (gateway, names) in [(&a, ["a0", "a1"]), (&b, ["b2", "b3"])] {
            for name in names {
                clients.push(node.connect(name, Connect::to_reference(gateway.url())).await?);
            }
            gateway.answers("/readyz", 200).await?;
        }
        Ok(Self { nats, a, b, clients })
    }

    fn sid(&self, client: usize) -> String {
        self.clients[client].sid().to_owned()
    }

    /// Checks that these clients received exactly this event since the last check, and the others nothing.
    async fn only(&mut self, receivers: &[usize], event: &str, args: Value) -> Result<()> {
        let received = settle(&mut self.clients, [0, 2]).await?;
        for (index, reports) in received.iter().enumerate() {
            let expected: Vec<Report> = match receivers.contains(&index) {
                true => vec![(event.to_owned(), args.clone())],
                false => vec![],
            };
            ensure!(
                *reports == expected,
                "{index} received {reports:?} and not {expected:?}"
            );
        }
        Ok(())
    }
}

#[tokio::test]
async fn clients_of_both_gateways_hear_each_other() -> Result<()> {
    let mut scene = Scene::start().await?;
    let everyone = [0, 1, 2, 3];
    let all = json!([{"event": "all", "data": {"n": 1}, "self": true}]);
    scene.clients[0].ask("broadcast", all).await?;
    scene.only(&everyone, "all", json!([{"n": 1}])).await?;
    for member in [1, 2] {
        scene.clients[member].join("room").await?;
    }
    let room = json!([{"event": "room", "data": "x", "room": "room", "except": scene.sid(1)}]);
    scene.clients[3].ask("broadcast", room).await?;
    scene.only(&[2], "room", json!(["x"])).await?;
    let direct = json!([{"id": scene.sid(3), "event": "direct", "data": "psst"}]);
    scene.clients[0].ask("to-id", direct).await?;
    scene.only(&[3], "direct", json!(["psst"])).await
}

#[tokio::test]
async fn acks_come_back_from_clients_of_both_gateways() -> Result<()> {
    let nats = NatsServer::start().await?;
    let url = nats.url();
    let environment = [("HALLPORTER_MANAGER__URL", url.as_str())];
    let a = Gateway::reference("gateway-a", &environment).await?;
    let b = Gateway::reference("gateway-b", &environment).await?;
    for gateway in [&a, &b] {
        gateway.metric_reaches("hallporter_hosts", "", 2.0).await?;
    }
    let node = Driver::node()?;
    let connect = |gateway: &Gateway| Connect::to_reference(gateway.url()).replies(json!({"question": ["answer"]}));
    let one = node.connect("one", connect(&a)).await?;
    let _two = node.connect("two", connect(&b)).await?;
    let all = json!([{"event": "question", "data": 1, "self": true, "timeout": 5000}]);
    let answer = one.ask("broadcast-ack", all).await?;
    assert_eq!(answer, json!([{"acks": ["answer", "answer"], "failed": 0}]));
    Ok(())
}

#[tokio::test]
async fn workers_reach_clients_on_both_gateways() -> Result<()> {
    let mut scene = Scene::start().await?;
    for member in [0, 3] {
        scene.clients[member].join("room").await?;
    }
    let url = scene.nats.url();
    let emitter = Emitter::connect(&url).await?;
    emitter.emit("all", &("é", Bytes::new(b"\x00\xff"))).await?;
    scene
        .only(&[0, 1, 2, 3], "all", json!(["é", {"$bytes": "AP8="}]))
        .await?;
    emitter.to("room").except(scene.sid(0)).emit("room", &1).await?;
    scene.only(&[3], "room", json!([1])).await?;
    emitter.enter_room(&scene.sid(1), "room").await?;
    let emit = ["emit", "shell", "{\"x\": 1}", "--room", "room", "--url", &url];
    let ended = run(&hallporter()?, emit).await?;
    ensure!(ended.code == 0, "{}", ended.stderr);
    scene.only(&[0, 1, 3], "shell", json!([{"x": 1}])).await
}

#[tokio::test]
async fn gateways_notice_an_outage_and_recover_while_clients_stay() -> Result<()> {
    let mut scene = Scene::start().await?;
    let url = scene.nats.url();
    let emitter = Emitter::connect(&url).await?;
    let sids: Vec<_> = (0..4).map(|client| scene.sid(client)).collect();
    scene.only(&[], "", json!([])).await?;
    scene.nats.kill().await?;
    for gateway in [&scene.a, &scene.b] {
        gateway.log().line("broker is away").await?;
        gateway.answers("/readyz", 503).await?;
    }
    let error = emitter.emit("lost", &1).await;
    ensure!(
        matches!(error, Err(EmitError::Manager(ManagerError::Unavailable { .. }))),
        "{error:?}"
    );
    scene.nats.restart().await?;
    for gateway in [&scene.a, &scene.b] {
        gateway.log().line("broker is back").await?;
        gateway.answers("/readyz", 200).await?;
        assert_eq!(gateway.log().count("broker is away"), 1);
        assert_eq!(gateway.log().count("async_nats"), 0);
    }
    emitter.emit("back", &1).await?;
    scene.only(&[0, 1, 2, 3], "back", json!([1])).await?;
    for (client, sid) in sids.iter().enumerate() {
        assert_eq!(*sid, scene.sid(client));
    }
    Ok(())
}
