//! Redis, which keeps what its own persistence keeps.

use std::time::Duration;

use ::redis::{Value, cmd};
use bytes::Bytes;
use futures_util::StreamExt;
use hallporter_adapters::broker::{Broker, BrokerError, QueueLimits, RedisBroker, dead_name, queue_name};
use hallporter_adapters::url::BrokerUrl;
use tokio::time::{sleep, timeout};

use crate::left_out::can_test;
use crate::servers::{PATIENCE, RedisServer};
use crate::suite::{self, Place};

impl Place for RedisServer {
    type Broker = RedisBroker;

    fn broker(&self, port: u16, limits: QueueLimits) -> RedisBroker {
        let url = BrokerUrl::parse(&format!("redis://127.0.0.1:{port}")).unwrap();
        RedisBroker::new(url, "c").unwrap().with_queue_limits(limits)
    }

    fn port(&self) -> Option<u16> {
        Some(self.port())
    }

    async fn restart(&self) {
        self.kill().await.unwrap();
        self.restart().await.unwrap();
    }

    async fn dead(&self, queue: &str) -> Vec<Bytes> {
        let entries = raw(self, cmd("XRANGE").arg(dead_name(queue)).arg("-").arg("+")).await;
        let entries: Vec<(String, (String, Bytes))> = ::redis::from_redis_value(entries).unwrap();
        entries.into_iter().map(|(_, (_, body))| body).collect()
    }
}

/// Says something past our broker.
async fn raw(server: &RedisServer, command: &::redis::Cmd) -> Value {
    let client = ::redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    command.query_async(&mut connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_on_redis() {
    if can_test("redis-server") {
        let redis = RedisServer::configured("appendonly yes").await.unwrap();
        suite::run(&redis).await;
    }
}

/// Each taker is a consumer of its own, and they come and go.
#[tokio::test]
async fn takers_that_have_gone_are_forgotten() {
    if !can_test("redis-server") {
        return;
    }
    let redis = RedisServer::configured("").await.unwrap();
    let limits = QueueLimits {
        patience: Duration::from_millis(100),
        ..QueueLimits::default()
    };
    let broker = Place::broker(&redis, redis.port(), limits);
    let queue = queue_name("c", "g");
    for _ in 0..5 {
        drop(broker.take(&queue, 1).await.unwrap());
    }
    let one_is_left = async {
        loop {
            let _tasks = broker.take(&queue, 1).await.unwrap();
            let consumers = raw(&redis, cmd("XINFO").arg("CONSUMERS").arg(&queue).arg("workers")).await;
            if consumers.as_sequence().unwrap().len() <= 2 {
                return;
            }
            sleep(limits.patience).await;
        }
    };
    timeout(PATIENCE, one_is_left).await.expect("they are forgotten");
}

#[tokio::test]
async fn what_is_no_stream_is_refused() {
    if !can_test("redis-server") {
        return;
    }
    let redis = RedisServer::configured("").await.unwrap();
    let broker = Place::broker(&redis, redis.port(), QueueLimits::default());
    raw(&redis, cmd("SET").arg("q").arg("text")).await;
    let put = broker.put("q", Bytes::from("m")).await.unwrap_err();
    let take = broker.take("q", 1).await.map(drop).unwrap_err();
    for error in [put, take] {
        assert!(
            matches!(&error, BrokerError::Refused(said) if said.contains("WRONGTYPE")),
            "{error:?}"
        );
    }
}

/// With no more rights than the documents ask for.
#[tokio::test]
async fn an_acl_user_needs_few_rights() {
    if !can_test("redis-server") {
        return;
    }
    let keys = "resetchannels ~c.hallporter.worker.* -@all";
    let gateway = format!("user gateway on >p {keys} +eval +xlen +xadd");
    let worker = "+eval +xlen +xadd +xgroup +xinfo +xreadgroup +xautoclaim +xclaim +xpending +xack +xdel +multi +exec";
    let users = format!("user default off\n{gateway}\nuser worker on >p {keys} {worker}");
    let redis = RedisServer::configured(&users).await.unwrap();
    let broker = |user: &str| {
        let url = format!("redis://{user}:p@127.0.0.1:{}", redis.port());
        RedisBroker::new(BrokerUrl::parse(&url).unwrap(), "c").unwrap()
    };
    let queue = queue_name("c", "g");
    let mut tasks = broker("worker").take(&queue, 1).await.unwrap();
    for expected in ["1", "2"] {
        broker("gateway").put(&queue, Bytes::from(expected)).await.unwrap();
        let task = tasks.next().await.unwrap();
        assert_eq!(task.body, expected);
        task.hold.again().await.unwrap();
        let task = timeout(PATIENCE, tasks.next()).await.expect("it comes again").unwrap();
        match expected {
            "1" => task.hold.done().await.unwrap(),
            _ => task.hold.bury().await.unwrap(),
        }
    }
}

/// Where workers in other languages look for them.
#[tokio::test]
async fn queues_are_in_the_database_of_the_url() {
    if !can_test("redis-server") {
        return;
    }
    let redis = RedisServer::configured("").await.unwrap();
    for (url, database) in [("", 0), ("/3", 3), ("?db=4", 4)] {
        let broker = BrokerUrl::parse(&format!("{}{url}", redis.url())).unwrap();
        let broker = RedisBroker::new(broker, "c").unwrap();
        broker.put("q", Bytes::from("m")).await.unwrap();
        let client = ::redis::Client::open(format!("{}/{database}", redis.url())).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let length: usize = cmd("XLEN").arg("q").query_async(&mut connection).await.unwrap();
        assert_eq!(length, 1, "{url}");
    }
    let wrong = BrokerUrl::parse("redis://h/socketio").unwrap();
    let error = RedisBroker::new(wrong, "c").unwrap_err();
    assert!(error.to_string().contains("\"socketio\""), "{error}");
}
