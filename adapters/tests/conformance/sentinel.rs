//! A master, its replica and a Sentinel that has them change places.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hallporter_adapters::broker::{Broker, BrokerError, RedisBroker};
use hallporter_adapters::conformance::RecordingSockets;
use hallporter_adapters::url::BrokerUrl;
use hallporter_adapters::{ClientManager, ManagerOptions, Status, manager};
use tokio::time::timeout;

use crate::left_out::can_test;
use crate::redis::{broker, carries};
use crate::servers::RedisServer;

/// A Sentinel looks at a demoted master only every ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// On one password, which the Sentinel knows.
struct Servers {
    one: RedisServer,
    two: RedisServer,
    sentinel: RedisServer,
}

impl Servers {
    async fn start() -> Self {
        let password = "requirepass s3cret\nmasterauth s3cret\nrepl-diskless-sync-delay 0";
        let one = RedisServer::configured(password).await.unwrap();
        let replica = format!("{password}\nreplicaof 127.0.0.1 {}", one.port());
        let two = RedisServer::configured(&replica).await.unwrap();
        two.log().unwrap().line("Finished with success").await.unwrap();
        let lines = format!(
            "sentinel monitor main 127.0.0.1 {} 1\nsentinel auth-pass main s3cret\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000",
            one.port()
        );
        let sentinel = RedisServer::sentinel(&lines).await.unwrap();
        sentinel.log().unwrap().line("+slave slave").await.unwrap();
        Self { one, two, sentinel }
    }

    /// Behind one that nobody answers on.
    fn url(&self, service: &str) -> String {
        format!(
            "redis+sentinel://:s3cret@127.0.0.1:1,127.0.0.1:{}/0/{service}",
            self.sentinel.port()
        )
    }

    /// Makes the replica the master, as an operator does.
    async fn promote(&self) {
        let promoted = async {
            // Not before the Sentinel has seen the replica.
            while command(&self.sentinel, "", &["SENTINEL", "FAILOVER", "main"])
                .await
                .is_err()
            {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, promoted).await.expect("the Sentinel agrees");
    }

    fn direct(&self, server: &RedisServer) -> RedisBroker {
        broker(&format!("redis://:s3cret@127.0.0.1:{}", server.port())).unwrap()
    }
}

async fn command(server: &RedisServer, login: &str, words: &[&str]) -> redis::RedisResult<()> {
    let client = redis::Client::open(format!("redis://{login}127.0.0.1:{}", server.port()))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await
}

async fn until_listeners(broker: &RedisBroker, count: usize) {
    let counted = async {
        while broker.listeners(["main", "main.hallporter"]).await != Some([count; 2]) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, counted).await.expect("so many listen there");
}

fn host(url: &str) -> Arc<dyn ClientManager> {
    let options = ManagerOptions {
        channel: "main".into(),
        ..ManagerOptions::default()
    };
    manager(&BrokerUrl::parse(url).unwrap(), options).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_is_followed() {
    if !can_test("redis-server") {
        return;
    }
    let servers = Servers::start().await;
    carries(&broker(&servers.url("main")).unwrap()).await;
    // The service is the channel where the URL names none.
    let host = host(&servers.url(""));
    host.start(Arc::new(RecordingSockets::default()));
    until_listeners(&servers.direct(&servers.one), 1).await;

    // The master dies.
    let emitter = broker(&servers.url("main")).unwrap();
    emitter.publish("main", Bytes::new()).await.unwrap();
    servers.one.kill().await.unwrap();
    until_listeners(&servers.direct(&servers.two), 1).await;
    let mut status = host.status();
    let listening = status.wait_for(|status| *status == Status::Listening);
    drop(timeout(PATIENCE, listening).await.unwrap().unwrap());
    while emitter.publish("main", Bytes::new()).await.is_err() {}

    // It comes back, as a replica, and is made the master again while the other lives.
    servers.one.restart().await.unwrap();
    let log = servers.one.log().unwrap();
    let replicates = async { while log.line("Finished with success").await.is_err() {} };
    timeout(PATIENCE, replicates).await.expect("it becomes a replica");
    servers.promote().await;
    until_listeners(&servers.direct(&servers.one), 1).await;
    until_listeners(&servers.direct(&servers.two), 0).await;
}

#[tokio::test]
async fn what_is_no_master_is_not_used() {
    if !can_test("redis-server") {
        return;
    }
    let servers = Servers::start().await;
    let unknown = broker(&servers.url("unknown")).unwrap().connect().await;
    let Err(BrokerError::Unavailable(reason)) = unknown else {
        panic!("{unknown:?}");
    };
    assert!(reason.contains("\"unknown\""), "{reason}");
    let error = broker(&servers.url("main").replace("s3cret", "wr0ng"))
        .unwrap()
        .connect()
        .await;
    let error = error.unwrap_err();
    assert!(matches!(error, BrokerError::Refused(_)), "{error:?}");
    assert!(!error.to_string().contains("wr0ng"), "{error}");

    // The Sentinel does not know yet.
    let port = servers.two.port().to_string();
    for (server, master) in [(&servers.two, ["NO", "ONE"]), (&servers.one, ["127.0.0.1", &port])] {
        let [host, port] = master;
        command(server, ":s3cret@", &["REPLICAOF", host, port]).await.unwrap();
    }
    let demoted = broker(&servers.url("main")).unwrap().connect().await;
    assert!(matches!(demoted, Err(BrokerError::Unavailable(_))), "{demoted:?}");
}
