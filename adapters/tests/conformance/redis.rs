//! A real Redis on a free port, which the test starts, kills and starts again.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hallporter_adapters::broker::{Broker, BrokerError, RedisBroker};
use hallporter_adapters::conformance::{self, Cluster, Outage};
use hallporter_adapters::url::BrokerUrl;
use hallporter_adapters::{ClientManager, ManagerOptions, manager};
use tempfile::TempDir;

use crate::recorder;

struct Redis {
    port: u16,
    data: TempDir,
    process: Mutex<Option<Child>>,
}

impl Redis {
    async fn start() -> Self {
        recorder::install();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let redis = Self {
            port: free.local_addr().unwrap().port(),
            data: tempfile::tempdir().unwrap(),
            process: Mutex::default(),
        };
        drop(free);
        redis.restore().await;
        redis
    }

    fn url(&self) -> BrokerUrl {
        BrokerUrl::parse(&format!("redis://127.0.0.1:{}", self.port)).unwrap()
    }

    fn broker(&self) -> RedisBroker {
        RedisBroker::new(self.url()).unwrap()
    }

    fn spawn(&self) -> Child {
        let port = self.port.to_string();
        let spawned = Command::new("redis-server")
            .args([
                "--port",
                &port,
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .arg("--dir")
            .arg(self.data.path())
            .stdout(Stdio::null())
            .spawn();
        match spawned {
            Ok(process) => process,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("redis-server is not installed; `make setup` installs what the tests need")
            }
            Err(error) => panic!("redis-server does not start: {error}"),
        }
    }

    fn kill(&self) {
        if let Some(mut process) = self.process.lock().unwrap().take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

#[async_trait::async_trait]
impl Cluster for Redis {
    fn manager(&self, options: ManagerOptions) -> Arc<dyn ClientManager> {
        manager(&self.url(), options).unwrap()
    }

    async fn publish(&self, topic: &str, body: Bytes) {
        self.broker().publish(topic, body).await.unwrap();
    }

    fn outage(&self) -> Option<&dyn Outage> {
        Some(self)
    }

    fn rejected(&self, reason: &str) -> Option<u64> {
        Some(recorder::rejected(reason))
    }
}

#[async_trait::async_trait]
impl Outage for Redis {
    async fn cut(&self) {
        self.kill();
    }

    async fn restore(&self) {
        *self.process.lock().unwrap() = Some(self.spawn());
        let ready = async {
            while self.broker().connect().await.is_err() {
                let ended = self.process.lock().unwrap().as_mut().unwrap().try_wait().unwrap();
                assert_eq!(ended, None, "redis-server ended");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let ready = tokio::time::timeout(Duration::from_secs(20), ready).await;
        ready.expect("redis-server accepts connections");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_behaves() {
    assert!(conformance::run(&Redis::start().await).await.is_empty());
}

/// Emitters may be idle for hours, and whatever stands between them and Redis may close the connection meanwhile.
#[tokio::test]
async fn a_message_after_the_connection_ended_is_published() {
    let redis = Redis::start().await;
    let broker = redis.broker();
    broker.publish("t", Bytes::from("1")).await.unwrap();
    redis.cut().await;
    assert!(broker.publish("t", Bytes::from("2")).await.is_err());
    redis.restore().await;
    broker.publish("t", Bytes::from("3")).await.unwrap();
    redis.cut().await;
    redis.restore().await;
    broker.publish("t", Bytes::from("4")).await.unwrap();
}

/// A server that accepts connections and says nothing.
#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_for_a_connection_than_the_first() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let broker = RedisBroker::new(BrokerUrl::parse(&url).unwrap()).unwrap();
    let asked = tokio::time::Instant::now();
    let publish = || broker.publish("t", Bytes::new());
    let published = tokio::join!(publish(), publish(), publish(), publish());
    for published in <[_; 4]>::from(published) {
        assert!(matches!(published, Err(BrokerError::TimedOut(_))), "{published:?}");
    }
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
}
