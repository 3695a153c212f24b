//! A real Redis on a free port, which the test starts, kills and starts again.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hallporter_adapters::broker::{Broker, BrokerError, RedisBroker};
use hallporter_adapters::conformance::{self, Cluster, Outage, RecordingSockets};
use hallporter_adapters::url::BrokerUrl;
use hallporter_adapters::{ClientManager, ManagerOptions, Status, manager};
use tokio::time::timeout;

use crate::certificates::Certificates;
use crate::left_out::can_test;
use crate::recorder;
use crate::servers::{PATIENCE, RedisServer, free_ports, valkey};

/// A server, where one is installed.
async fn start() -> Option<RedisServer> {
    configured("").await
}

async fn configured(lines: &str) -> Option<RedisServer> {
    recorder::install();
    if !can_test("redis-server") {
        return None;
    }
    Some(RedisServer::configured(lines).await.unwrap())
}

pub(crate) fn broker(url: &str) -> Result<RedisBroker, BrokerError> {
    RedisBroker::new(BrokerUrl::parse(url).unwrap(), "c")
}

/// What is published comes back.
pub(crate) async fn carries(broker: &RedisBroker) {
    let mut messages = broker.listen(&["c".to_owned()]).await.unwrap();
    broker.publish("c", Bytes::from("m")).await.unwrap();
    let message = timeout(PATIENCE, messages.next()).await.unwrap().unwrap();
    assert_eq!(message.body, "m");
}

#[async_trait::async_trait]
impl Cluster for RedisServer {
    fn manager(&self, options: ManagerOptions) -> Arc<dyn ClientManager> {
        manager(&BrokerUrl::parse(&self.url()).unwrap(), options).unwrap()
    }

    async fn publish(&self, topic: &str, body: Bytes) {
        broker(&self.url()).unwrap().publish(topic, body).await.unwrap();
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
impl Outage for RedisServer {
    async fn cut(&self) {
        self.kill().await.unwrap();
    }

    async fn restore(&self) {
        self.restart().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_behaves() {
    let Some(redis) = start().await else { return };
    assert!(conformance::run(&redis).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn valkey_behaves() {
    recorder::install();
    if !can_test("valkey-server") {
        return;
    }
    let valkey = RedisServer::of(&valkey(), "").await.unwrap();
    assert!(conformance::run(&valkey).await.is_empty());
}

/// Emitters may be idle for hours, and whatever stands between them and Redis may close the connection meanwhile.
#[tokio::test]
async fn a_message_after_the_connection_ended_is_published() {
    let Some(redis) = start().await else { return };
    let broker = broker(&redis.url()).unwrap();
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
    let broker = broker(&format!("redis://{}", silent.local_addr().unwrap())).unwrap();
    let asked = tokio::time::Instant::now();
    let publish = || broker.publish("t", Bytes::new());
    let published = tokio::join!(publish(), publish(), publish(), publish());
    for published in <[_; 4]>::from(published) {
        assert!(matches!(published, Err(BrokerError::TimedOut(_))), "{published:?}");
    }
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
}

/// Redis closes the connection of a listener that has too much waiting for it.
#[tokio::test]
async fn a_listener_killed_by_the_output_buffer_limit_is_back_at_once() {
    let Some(redis) = configured("client-output-buffer-limit pubsub 64kb 0 0").await else {
        return;
    };
    let host = redis.manager(ManagerOptions::default());
    host.start(Arc::new(RecordingSockets::default()));
    let mut status = host.status();
    let listening = |status: &Status| *status == Status::Listening;
    drop(timeout(PATIENCE, status.wait_for(listening)).await.unwrap().unwrap());
    let before = recorder::count("hallporter_broker_reconnects_total", "");
    redis.publish("socketio", vec![b' '; 1 << 20].into()).await;
    let away = status.wait_for(|status| matches!(status, Status::Away(_)));
    drop(timeout(PATIENCE, away).await.unwrap().unwrap());
    let back = timeout(Duration::from_secs(1), status.wait_for(listening)).await;
    drop(back.expect("it is back at once").unwrap());
    assert!(recorder::count("hallporter_broker_reconnects_total", "") > before);
    // The listener hears itself again.
    let other = redis.manager(ManagerOptions::default());
    other.start(Arc::new(RecordingSockets::default()));
    let met = async {
        while host.hosts().len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, met).await.expect("hosts meet");
}

/// With no more rights than the documents ask for.
#[tokio::test]
async fn an_acl_user_needs_few_rights() {
    let rights = "resetchannels &c &c.hallporter* -@all +publish +subscribe +pubsub|numsub";
    let worker = "resetchannels &c -@all +publish";
    let users = format!("user default off\nuser me on >p@ss/w {rights}\nuser worker on >w0rk {worker}");
    let Some(redis) = configured(&users).await else { return };
    let url = |user: &str| format!("redis://{user}@127.0.0.1:{}", redis.port());
    let me = broker(&url("me:p%40ss%2Fw")).unwrap();
    carries(&me).await;
    let topics = ["c".to_owned(), "c.hallporter".to_owned(), "c.hallporter.h".to_owned()];
    let _messages = me.listen(&topics).await.unwrap();
    assert_eq!(me.listeners(["c", "c.hallporter"]).await, Some([1, 1]));
    let worker = broker(&url("worker:w0rk")).unwrap();
    worker.publish("c", Bytes::new()).await.unwrap();
    let refused = |result: Result<(), BrokerError>, expected: &str| {
        let error = result.unwrap_err();
        assert!(matches!(error, BrokerError::Refused(_)), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    };
    refused(worker.listen(&topics).await.map(drop), "no permission");
    refused(me.publish("d", Bytes::new()).await, "no permission");
    refused(
        broker(&url("me:s3cret")).unwrap().connect().await,
        "invalid username-password",
    );
    let nobody = broker(&redis.url()).unwrap().publish("c", Bytes::new()).await;
    refused(nobody, "NOAUTH");
    assert!(!format!("{:?}", broker(&url("me:s3cret")).unwrap()).contains("s3cret"));
}

#[tokio::test]
async fn a_unix_socket_is_named_as_redis_py_and_redis_rs_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("redis.sock");
    let socket = format!("unixsocket {}\nuser me on >s3cret allchannels +@all", path.display());
    let Some(_redis) = configured(&socket).await else {
        return;
    };
    let path = path.display();
    for url in [
        format!("unix://{path}"),
        format!("unix://{path}?db=0"),
        format!("redis+unix://{path}?user=me&pass=s3cret"),
        format!("valkey+unix://{path}?username=me&password=s3cret"),
    ] {
        carries(&broker(&url).unwrap()).await;
        assert!(!BrokerUrl::parse(&url).unwrap().to_string().contains("s3cret"));
    }
    let refused = broker(&format!("unix://{path}?user=me&pass=wrong")).unwrap();
    let refused = refused.connect().await;
    assert!(matches!(refused, Err(BrokerError::Refused(_))), "{refused:?}");
    let nowhere = broker("unix:///nowhere/redis.sock").unwrap().connect().await;
    assert!(matches!(nowhere, Err(BrokerError::Unavailable(_))), "{nowhere:?}");
}

#[tokio::test]
async fn tls_is_checked_against_the_ca_file() {
    let certificates = Certificates::new();
    let [port] = free_ports();
    let tls = format!(
        "tls-port {port}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients no",
        certificates.file("server.pem"),
        certificates.file("server.key"),
        certificates.file("ca.pem")
    );
    let Some(_redis) = configured(&tls).await else { return };
    for scheme in ["rediss", "valkeys"] {
        let url = format!("{scheme}://127.0.0.1:{port}/0?ca={}", certificates.file("ca.pem"));
        carries(&broker(&url).unwrap()).await;
    }
    let stranger = certificates.file("stranger.pem");
    let error = broker(&format!("rediss://127.0.0.1:{port}?ca={stranger}")).unwrap();
    let error = error.connect().await.unwrap_err();
    assert!(matches!(error, BrokerError::Refused(_)), "{error:?}");
    assert!(error.to_string().contains(&stranger), "{error}");
    let error = broker(&format!("rediss://127.0.0.1:{port}")).unwrap();
    let error = error.connect().await.unwrap_err();
    assert!(error.to_string().contains("?ca=/path/to/ca.pem"), "{error}");
}

#[test]
fn what_a_url_may_not_say_is_named() {
    let certificates = Certificates::new();
    certificates.write("none.pem", "no certificate");
    for (url, expected) in [
        ("redis://h?ssl_cert_reqs=none", "\"ssl_cert_reqs\"; known are db"),
        ("redis://h?ca=/ca.pem", "\"ca\"; known are db"),
        ("rediss://h?tls=yes", "\"tls\"; known are ca"),
        ("unix:///s.sock?path=x", "\"path\"; known are user"),
        ("redis+sentinel://h/0/s?ca=x", "\"ca\"; there are none"),
        ("unix://host/s.sock", "unix:///path/to/socket"),
        ("rediss://h?ca=/nowhere/ca.pem", "CA file /nowhere/ca.pem"),
        (&format!("rediss://h?ca={}", certificates.file("none.pem")), "none.pem"),
    ] {
        let error = broker(url).unwrap_err().to_string();
        assert!(error.contains(expected), "{url}: {error}");
    }
}
