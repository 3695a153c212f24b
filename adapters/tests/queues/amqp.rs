//! RabbitMQ, one for all tests of this process.

use bytes::Bytes;
use futures_util::StreamExt;
use hallporter_adapters::broker::{AmqpBroker, Broker, BrokerError, QueueLimits, dead_name};
use hallporter_adapters::url::BrokerUrl;
use lapin::options::{BasicGetOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use tokio::time::timeout;

use crate::left_out::can_test;
use crate::servers::{PATIENCE, RabbitServer};
use crate::suite::{self, Place};

impl Place for RabbitServer {
    type Broker = AmqpBroker;

    fn broker(&self, port: u16, limits: QueueLimits) -> AmqpBroker {
        let url = BrokerUrl::parse(&format!("amqp://127.0.0.1:{port}")).unwrap();
        AmqpBroker::new(url, "c").unwrap().with_queue_limits(limits)
    }

    fn port(&self) -> Option<u16> {
        Some(self.port())
    }

    async fn restart(&self) {
        self.kill();
        self.restart().await;
    }

    async fn dead(&self, queue: &str) -> Vec<Bytes> {
        let (_connection, channel) = raw(self).await;
        let mut bodies = Vec::new();
        let options = BasicGetOptions { no_ack: true };
        while let Some(message) = channel.basic_get(dead_name(queue).into(), options).await.unwrap() {
            bodies.push(message.delivery.data.into());
        }
        bodies
    }
}

/// A channel past our broker, and the connection it is on.
async fn raw(server: &RabbitServer) -> (Connection, lapin::Channel) {
    let (url, properties) = (server.url(), ConnectionProperties::default());
    let connection = Connection::connect(&url, properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_on_rabbitmq() {
    if !can_test("rabbitmq-server") {
        return;
    }
    let rabbit = RabbitServer::start().await;
    suite::run(&rabbit).await;
    a_queue_of_another_kind_is_named(&rabbit).await;
    a_queue_that_was_deleted_is_made_again(&rabbit).await;
}

async fn a_queue_of_another_kind_is_named(rabbit: &RabbitServer) {
    let (_connection, channel) = raw(rabbit).await;
    let options = QueueDeclareOptions::default();
    let declared = channel.queue_declare("classic".into(), options, FieldTable::default());
    declared.await.unwrap();
    let broker = Place::broker(rabbit, rabbit.port(), QueueLimits::default());
    let put = broker.put("classic", Bytes::from("m")).await.unwrap_err();
    let take = broker.take("classic", 1).await.map(drop).unwrap_err();
    for error in [put, take] {
        assert!(
            matches!(&error, BrokerError::Refused(said) if said.contains("\"classic\"") && said.contains("delete that")),
            "{error:?}"
        );
    }
    // What else is published over that connection goes on.
    broker.put("other", Bytes::from("m")).await.unwrap();
}

async fn a_queue_that_was_deleted_is_made_again(rabbit: &RabbitServer) {
    let broker = Place::broker(rabbit, rabbit.port(), QueueLimits::default());
    broker.put("q", Bytes::from("1")).await.unwrap();
    let mut tasks = broker.take("q", 1).await.unwrap();
    let held = tasks.next().await.unwrap();
    let (_connection, channel) = raw(rabbit).await;
    channel
        .queue_delete("q".into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    let ended = timeout(PATIENCE, tasks.next()).await.expect("the stream ends");
    assert!(ended.is_none(), "{ended:?}");
    drop(held);
    let lost = broker.put("q", Bytes::from("2")).await;
    assert!(matches!(lost, Err(BrokerError::Unavailable(_))), "{lost:?}");
    broker.put("q", Bytes::from("3")).await.unwrap();
    let task = timeout(PATIENCE, broker.take("q", 1).await.unwrap().next()).await;
    assert_eq!(task.expect("it comes").unwrap().body, "3");
}
