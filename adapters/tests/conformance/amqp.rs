//! A real RabbitMQ, one for all tests of this process; what one test does to it no other may see, so they take turns.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hallporter_adapters::broker::{AmqpBroker, Broker, BrokerError};
use hallporter_adapters::conformance::{self, Cluster, Outage, RecordingSockets};
use hallporter_adapters::url::BrokerUrl;
use hallporter_adapters::{ClientManager, ManagerError, ManagerOptions, Status, manager};
use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, ExchangeKind};
use tokio::sync::{Mutex, MutexGuard};

use crate::left_out::can_test;
use crate::recorder;
use crate::servers::RabbitServer;

/// Not dropped at the end, but the server ends with the process all the same.
static SERVER: Mutex<Option<RabbitServer>> = Mutex::const_new(None);

/// The server, for one test.
pub(crate) struct Rabbit {
    server: MutexGuard<'static, Option<RabbitServer>>,
}

impl Rabbit {
    /// Where one is installed.
    pub(crate) async fn take() -> Option<Self> {
        recorder::install();
        if !can_test("rabbitmq-server") {
            return None;
        }
        let mut server = SERVER.lock().await;
        if server.is_none() {
            *server = Some(RabbitServer::start().await);
        }
        Some(Self { server })
    }

    pub(crate) fn server(&self) -> &RabbitServer {
        self.server.as_ref().unwrap()
    }

    fn url(&self) -> BrokerUrl {
        BrokerUrl::parse(&self.server().url()).unwrap()
    }

    pub(crate) fn broker(&self, channel: &str) -> AmqpBroker {
        AmqpBroker::new(self.url(), channel).unwrap()
    }

    /// A channel past our broker, and the connection it is on.
    async fn raw(&self) -> (Connection, lapin::Channel) {
        let url = self.server().url();
        let connection = Connection::connect(&url, ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        (connection, channel)
    }

    async fn until(&self, what: &str, args: &[&str], reached: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        for _ in 0..30 {
            last = self.server().ctl(args).await;
            if reached(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("not {what}: {last}");
    }
}

#[async_trait::async_trait]
impl Cluster for Rabbit {
    fn manager(&self, options: ManagerOptions) -> Arc<dyn ClientManager> {
        manager(&self.url(), options).unwrap()
    }

    async fn publish(&self, topic: &str, body: Bytes) {
        // The topic is a channel, or one of the channel's topics for Hallporter hosts.
        let channel = topic.split(".hallporter").next().unwrap();
        self.broker(channel).publish(topic, body).await.unwrap();
    }

    fn outage(&self) -> Option<&dyn Outage> {
        Some(self)
    }

    fn rejected(&self, reason: &str) -> Option<u64> {
        Some(recorder::rejected(reason))
    }

    fn replies_dropped(&self, reason: &str) -> Option<u64> {
        Some(recorder::count("hallporter_replies_dropped_total", reason))
    }
}

#[async_trait::async_trait]
impl Outage for Rabbit {
    async fn cut(&self) {
        self.server().kill();
    }

    async fn restore(&self) {
        self.server().restart().await;
    }
}

async fn listening(manager: &dyn ClientManager) {
    manager.start(Arc::new(RecordingSockets::default()));
    let mut status = manager.status();
    let listening = status.wait_for(|status| *status == Status::Listening);
    tokio::time::timeout(Duration::from_secs(20), listening)
        .await
        .expect("it listens")
        .unwrap();
}

fn on(channel: &str) -> ManagerOptions {
    ManagerOptions {
        channel: channel.into(),
        ..ManagerOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_behaves() {
    let Some(rabbit) = Rabbit::take().await else { return };
    assert!(conformance::run(&rabbit).await.is_empty());
}

/// Emitters may be idle for hours, and whatever stands between them and RabbitMQ may close the connection meanwhile.
#[tokio::test]
async fn a_message_after_the_connection_ended_is_published() {
    let Some(rabbit) = Rabbit::take().await else { return };
    let broker = rabbit.broker("ended");
    broker.publish("ended", Bytes::from("1")).await.unwrap();
    rabbit.server().ctl(&["close_all_connections", "over"]).await;
    let mut attempts = 0;
    while broker.publish("ended", Bytes::from("2")).await.is_err() {
        attempts += 1;
        assert!(attempts < 3);
    }
}

#[tokio::test]
async fn the_shared_exchange_is_the_one_of_python_socketio() {
    let Some(rabbit) = Rabbit::take().await else { return };
    rabbit.broker("flags").connect().await.unwrap();
    let columns = [
        "list_exchanges",
        "name",
        "type",
        "durable",
        "auto_delete",
        "internal",
        "arguments",
    ];
    let exchanges = rabbit.server().ctl(&columns).await;
    let of = |name: &str| {
        let mut lines = exchanges.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        lines.find(|line| line[0] == name).map(|line| line[1..].join(" "))
    };
    assert_eq!(of("flags").as_deref(), Some("fanout false false false []"));
    assert_eq!(of("flags.hallporter").as_deref(), Some("direct false false false []"));
}

#[tokio::test]
async fn an_exchange_of_another_kind_is_named() {
    let Some(rabbit) = Rabbit::take().await else { return };
    let (_connection, channel) = rabbit.raw().await;
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let declared = channel.exchange_declare("other".into(), ExchangeKind::Fanout, durable, FieldTable::default());
    declared.await.unwrap();
    let refused = rabbit.broker("other").connect().await;
    let Err(BrokerError::Refused(reason)) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        reason.contains("the exchange \"other\"") && reason.contains("'durable'"),
        "{reason}"
    );
    let options = ExchangeDeleteOptions::default();
    channel.exchange_delete("other".into(), options).await.unwrap();
    rabbit.broker("other").connect().await.unwrap();
}

#[tokio::test]
async fn who_may_not_enter_is_told_so_without_the_password() {
    let Some(rabbit) = Rabbit::take().await else { return };
    let host = rabbit.server().url().split_once("//").unwrap().1.to_owned();
    for (url, expected) in [
        (format!("amqp://guest:s3cret@{host}"), "ACCESS_REFUSED"),
        (format!("amqp://guest:guest@{host}/nowhere"), "nowhere"),
    ] {
        let manager = manager(&BrokerUrl::parse(&url).unwrap(), on("enter")).unwrap();
        let error = manager.connect().await.unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, ManagerError::Refused { .. }), "{said}");
        assert!(said.contains("guest:***@") && said.contains(expected), "{said}");
        assert!(!format!("{said} {manager:?}").contains("s3cret"));
    }
    for path in ["", "/", "//", "/%2f"] {
        let url = BrokerUrl::parse(&format!("amqp://{host}{path}")).unwrap();
        AmqpBroker::new(url, "enter").unwrap().connect().await.unwrap();
    }
}

#[tokio::test]
async fn a_host_leaves_no_queue_behind() {
    let Some(rabbit) = Rabbit::take().await else { return };
    let host = rabbit.manager(on("leaves"));
    listening(host.as_ref()).await;
    let columns = [
        "list_queues",
        "name",
        "exclusive",
        "auto_delete",
        "durable",
        "arguments",
    ];
    let queues = rabbit
        .until("one queue", &columns, |queues| queues.contains("amq.gen"))
        .await;
    assert!(queues.contains("true\ttrue\tfalse"), "{queues}");
    assert!(queues.contains("67108864") && queues.contains("drop-head"), "{queues}");
    drop(host);
    rabbit
        .until("left", &columns, |queues| !queues.contains("amq.gen"))
        .await;
    let exchanges = rabbit.server().ctl(&["list_bindings", "source_name"]).await;
    assert!(!exchanges.contains("leaves"), "{exchanges}");
}

/// Of the connection, and of the queue under the consumer.
#[tokio::test]
async fn the_stream_ends_with_what_it_reads_from() {
    let Some(rabbit) = Rabbit::take().await else { return };
    let broker = rabbit.broker("stream");
    let topics = ["stream".to_owned()];
    for end in ["connection", "server"] {
        let mut messages = broker.listen(&topics).await.unwrap();
        broker.publish("stream", Bytes::from("m")).await.unwrap();
        assert_eq!(messages.next().await.unwrap().body, "m");
        match end {
            "connection" => drop(rabbit.server().ctl(&["close_all_connections", "over"]).await),
            _ => rabbit.server().kill(),
        }
        let last = tokio::time::timeout(Duration::from_secs(20), messages.next()).await;
        assert_eq!(last.expect("the stream ends"), None, "{end}");
        // The connection that published may have ended unnoticed.
        if end == "connection" {
            while broker.connect().await.is_err() {}
            let _ = broker.publish("stream", Bytes::new()).await;
        }
    }
    rabbit.server().restart().await;
    let mut messages = broker.listen(&topics).await.unwrap();
    let queues = rabbit.server().ctl(&["list_queues", "name"]).await;
    let queue = queues.lines().find(|line| line.starts_with("amq.gen")).unwrap();
    // Nobody but the host itself may delete its queue, short of the server's own administration.
    let (_connection, channel) = rabbit.raw().await;
    let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
    assert!(deleted.is_err());
    rabbit.server().ctl(&["delete_queue", queue]).await;
    let last = tokio::time::timeout(Duration::from_secs(20), messages.next()).await;
    assert_eq!(last.expect("the stream ends"), None);
}

/// Nothing holds up the others while a confirm is waited for, and nothing is lost of what is more than the prefetch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_at_once_all_arrive() {
    let Some(rabbit) = Rabbit::take().await else { return };
    let broker = Arc::new(rabbit.broker("many"));
    let mut messages = broker.listen(&["many".to_owned()]).await.unwrap();
    let publish = move |number: u32| {
        let broker = broker.clone();
        async move { broker.publish("many", Bytes::from(number.to_string())).await.unwrap() }
    };
    let count = 3000;
    let published = futures_util::stream::iter((0..count).map(publish)).buffer_unordered(64);
    let published = tokio::spawn(published.collect::<Vec<_>>());
    let mut seen = std::collections::HashSet::new();
    for _ in 0..count {
        let message = tokio::time::timeout(Duration::from_secs(20), messages.next()).await;
        assert!(seen.insert(message.expect("all messages come").unwrap().body), "twice");
    }
    published.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_is_an_error_and_passes() {
    let Some(rabbit) = Rabbit::take().await else { return };
    let broker = rabbit.broker("alarm");
    let mut messages = broker.listen(&["alarm".to_owned()]).await.unwrap();
    broker.publish("alarm", Bytes::from("before")).await.unwrap();
    rabbit.server().ctl(&["set_vm_memory_high_watermark", "0.0001"]).await;
    let mut refused = Vec::new();
    let asked = tokio::time::Instant::now();
    for body in ["first", "second"] {
        refused.push(broker.publish("alarm", Bytes::from(body)).await);
    }
    let waited = asked.elapsed();
    rabbit.server().ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    for refused in refused {
        let Err(BrokerError::Unavailable(reason)) = refused else {
            panic!("{refused:?}");
        };
        assert!(reason.contains("RabbitMQ has blocked publishers"), "{reason}");
    }
    assert!(waited < Duration::from_secs(13), "{waited:?}");
    broker.publish("alarm", Bytes::from("after")).await.unwrap();
    // RabbitMQ blocks whoever publishes, so it has the first by then; the second it never gets.
    for expected in ["before", "first", "after"] {
        assert_eq!(messages.next().await.unwrap().body, expected);
    }
}

#[tokio::test]
async fn names_too_long_for_amqp_are_refused() {
    let url = BrokerUrl::parse("amqp://127.0.0.1:1").unwrap();
    assert!(AmqpBroker::new(url.clone(), &"c".repeat(250)).is_err());
    let broker = AmqpBroker::new(url, "c").unwrap();
    let refused = broker.publish(&"t".repeat(256), Bytes::new()).await;
    assert!(matches!(refused, Err(BrokerError::Refused(_))), "{refused:?}");
}
