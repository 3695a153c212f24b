//! How connections to RabbitMQ are made, and that nothing is left of them.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hallporter_adapters::broker::{AmqpBroker, Broker, BrokerError};
use hallporter_adapters::url::BrokerUrl;

use crate::amqp::Rabbit;
use crate::certificates::Certificates;
use crate::servers::RabbitServer;

#[tokio::test]
async fn tls_is_checked_against_the_ca_file() {
    let Some(_turn) = Rabbit::take().await else { return };
    let certificates = Certificates::new();
    let [ca, cert, key] = ["ca.pem", "server.pem", "server.key"].map(|name| certificates.file(name));
    let rabbit = RabbitServer::configured(|port| {
        format!(
            "listeners.ssl.default = 127.0.0.1:{port}\nssl_options.cacertfile = {ca}\n\
             ssl_options.certfile = {cert}\nssl_options.keyfile = {key}\n"
        )
    });
    let rabbit = rabbit.await;
    let broker = |query: &str| {
        let url = format!("amqps://guest:guest@127.0.0.1:{}/%2f{query}", rabbit.tls_port());
        AmqpBroker::new(BrokerUrl::parse(&url).unwrap(), "tls").unwrap()
    };
    let trusting = broker(&format!("?ca={ca}&heartbeat=5"));
    let mut messages = trusting.listen(&["tls".to_owned()]).await.unwrap();
    trusting.publish("tls", Bytes::from("m")).await.unwrap();
    assert_eq!(messages.next().await.unwrap().body, "m");
    let stranger = certificates.file("stranger.pem");
    for (query, expected) in [
        (format!("?ca={stranger}"), &*stranger),
        (String::new(), "?ca=/path/to/ca.pem"),
    ] {
        let error = broker(&query).connect().await.unwrap_err();
        assert!(matches!(error, BrokerError::Refused(_)), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn what_a_url_may_not_say_is_named() {
    for (url, expected) in [
        ("amqp://h?ca=/ca.pem", "\"ca\"; known are heartbeat"),
        ("amqps://h?cacertfile=/ca.pem", "\"cacertfile\"; known are heartbeat"),
        ("amqps://h?ca=/nowhere/ca.pem", "CA file /nowhere/ca.pem"),
    ] {
        let error = AmqpBroker::new(BrokerUrl::parse(url).unwrap(), "c")
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{url}: {error}");
    }
}

/// lapin's threads, of which there is one for each connection.
fn threads() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).ok());
    names.filter(|name| name.starts_with("lapin")).count()
}

async fn until_threads(count: usize) {
    let ended = async {
        while threads() > count {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
    assert!(ended.is_ok(), "{} threads are left", threads());
}

/// As when RabbitMQ hangs: the kernel accepts connections, and nobody says anything on them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_that_are_given_up_leave_no_thread_behind() {
    // While it is this test's turn, all threads are its own.
    let Some(_turn) = Rabbit::take().await else { return };
    until_threads(0).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = BrokerUrl::parse(&format!("amqp://{}", silent.local_addr().unwrap())).unwrap();
    let attempts = (0..20).map(|_| async {
        let broker = AmqpBroker::new(url.clone(), "c").unwrap();
        let connected = tokio::time::timeout(Duration::from_millis(500), broker.connect()).await;
        assert!(connected.is_err(), "{connected:?}");
    });
    futures_util::future::join_all(attempts).await;
    assert_eq!(threads(), 20, "the attempts got as far as the handshake");
    until_threads(0).await;
}

/// The server cannot take leave of those who let go of their connections meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_a_frozen_server_leave_no_thread_behind() {
    let Some(rabbit) = Rabbit::take().await else { return };
    until_threads(0).await;
    let brokers = ["a", "b", "c"].map(|channel| rabbit.broker(channel));
    for broker in &brokers {
        broker.connect().await.unwrap();
    }
    assert_eq!(threads(), 3);
    rabbit.server().freeze();
    drop(brokers);
    until_threads(0).await;
    rabbit.server().thaw();
    rabbit.broker("a").connect().await.unwrap();
}
