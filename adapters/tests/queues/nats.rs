//! NATS, whose JetStream keeps queues in files.

use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use futures_util::StreamExt;
use hallporter_adapters::broker::{Broker, BrokerError, NatsBroker, QueueLimits, dead_name, queue_name};
use hallporter_adapters::url::BrokerUrl;

use crate::left_out::can_test;
use crate::servers::NatsServer;
use crate::suite::{self, Place};

impl Place for NatsServer {
    type Broker = NatsBroker;

    fn broker(&self, port: u16, limits: QueueLimits) -> NatsBroker {
        let url = BrokerUrl::parse(&format!("nats://127.0.0.1:{port}")).unwrap();
        NatsBroker::new(url, "c").unwrap().with_queue_limits(limits)
    }

    fn port(&self) -> Option<u16> {
        Some(self.port())
    }

    async fn restart(&self) {
        self.kill().await.unwrap();
        self.restart().await.unwrap();
    }

    async fn dead(&self, queue: &str) -> Vec<Bytes> {
        let name = dead_name(queue).replace('.', "+");
        let mut dead = raw(self).await.get_stream(name).await.unwrap();
        let state = dead.info().await.unwrap().state.clone();
        let mut bodies = Vec::new();
        for sequence in state.first_sequence..=state.last_sequence {
            bodies.push(dead.get_raw_message(sequence).await.unwrap().payload);
        }
        bodies
    }
}

/// JetStream past our broker.
async fn raw(server: &NatsServer) -> jetstream::Context {
    jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

async fn start(configuration: &str) -> Option<NatsServer> {
    if !can_test("nats-server") {
        return None;
    }
    Some(NatsServer::configured(configuration).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_on_nats() {
    let Some(nats) = start("jetstream: enabled").await else {
        return;
    };
    suite::run(&nats).await;
}

#[tokio::test]
async fn a_server_without_jetstream_is_told_from_one_that_is_away() {
    let Some(nats) = start("").await else { return };
    let broker = Place::broker(&nats, nats.port(), QueueLimits::default());
    let put = broker.put("q", Bytes::from("m")).await.unwrap_err();
    let take = broker.take("q", 1).await.map(drop).unwrap_err();
    for error in [put, take] {
        assert!(
            matches!(&error, BrokerError::Refused(said) if said.contains("start nats-server with --jetstream")),
            "{error:?}"
        );
    }
}

/// An operator may make the stream first, with replicas, say. But it has to be a queue.
#[tokio::test]
async fn a_stream_that_is_there_is_used_if_it_is_a_queue() {
    let Some(nats) = start("jetstream: enabled").await else {
        return;
    };
    let config = |name: &str| stream::Config {
        name: name.to_owned(),
        subjects: vec![name.to_owned()],
        ..stream::Config::default()
    };
    let queue = stream::Config {
        retention: stream::RetentionPolicy::WorkQueue,
        ..config("queue")
    };
    let raw = raw(&nats).await;
    raw.create_stream(queue).await.unwrap();
    raw.create_stream(config("log")).await.unwrap();
    let broker = Place::broker(&nats, nats.port(), QueueLimits::default());
    broker.put("queue", Bytes::from("m")).await.unwrap();
    let error = broker.put("log", Bytes::from("m")).await.unwrap_err();
    assert!(
        matches!(&error, BrokerError::Refused(said) if said.contains("\"log\"") && said.contains("delete it")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_queue_that_was_deleted_is_made_again() {
    let Some(nats) = start("jetstream: enabled").await else {
        return;
    };
    let broker = Place::broker(&nats, nats.port(), QueueLimits::default());
    broker.put("q", Bytes::from("1")).await.unwrap();
    raw(&nats).await.delete_stream("q").await.unwrap();
    let lost = broker.put("q", Bytes::from("2")).await;
    assert!(matches!(lost, Err(BrokerError::Unavailable(_))), "{lost:?}");
    broker.put("q", Bytes::from("3")).await.unwrap();
}

/// With no more rights than the documents ask for, and without waiting in vain where one is missing.
#[tokio::test]
async fn rights_that_are_missing_are_named() {
    let gateway = r#""c.hallporter.worker.>", "$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.INFO.*", "_INBOX.>""#;
    let worker = format!(r#"{gateway}, "$JS.API.CONSUMER.>", "$JS.ACK.>""#);
    let users = format!(
        "jetstream: enabled\nauthorization {{ users: [
            {{ user: gateway, password: p, permissions: {{ publish: [{gateway}], subscribe: \"_INBOX.>\" }} }},
            {{ user: worker, password: p, permissions: {{ publish: [{worker}], subscribe: \"_INBOX.>\" }} }},
        ] }}"
    );
    let Some(nats) = start(&users).await else { return };
    let broker = |user: &str| {
        let url = format!("nats://{user}:p@127.0.0.1:{}", nats.port());
        NatsBroker::new(BrokerUrl::parse(&url).unwrap(), "c").unwrap()
    };
    let (gateway, worker) = (broker("gateway"), broker("worker"));
    let queue = queue_name("c", "g");
    gateway.put(&queue, Bytes::from("m")).await.unwrap();
    let mut tasks = worker.take(&queue, 1).await.unwrap();
    tasks.next().await.unwrap().hold.bury().await.unwrap();
    for (error, right) in [
        (gateway.take(&queue, 1).await.map(drop).unwrap_err(), "$JS.API.CONSUMER"),
        (gateway.put("other", Bytes::from("m")).await.unwrap_err(), "\"other\""),
    ] {
        assert!(
            matches!(&error, BrokerError::Refused(said) if said.contains(right)),
            "{error:?}"
        );
    }
}
