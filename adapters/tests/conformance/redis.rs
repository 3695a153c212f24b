//! A real Redis on a free port, which the test starts, kills and starts again.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hallporter_adapters::broker::{Broker, RedisBroker};
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
