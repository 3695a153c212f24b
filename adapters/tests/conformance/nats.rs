//! A real NATS on a free port, which the test starts, kills and starts again.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hallporter_adapters::broker::{Broker, BrokerError, NatsBroker};
use hallporter_adapters::conformance::{self, Cluster, Outage, RecordingSockets};
use hallporter_adapters::url::BrokerUrl;
use hallporter_adapters::{ClientManager, ManagerOptions, Status, manager};
use tokio::time::timeout;

use crate::certificates::Certificates;
use crate::left_out::can_test;
use crate::recorder;
use crate::servers::{NatsServer, free_ports};

/// How long anything may take that is expected to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server, where one is installed.
async fn start() -> Option<NatsServer> {
    configured("").await
}

async fn configured(configuration: &str) -> Option<NatsServer> {
    recorder::install();
    if !can_test("nats-server") {
        return None;
    }
    Some(NatsServer::configured(configuration).await.unwrap())
}

fn url_as(nats: &NatsServer, user: &str, query: &str) -> BrokerUrl {
    BrokerUrl::parse(&format!("nats://{user}127.0.0.1:{}{query}", nats.port())).unwrap()
}

fn broker(nats: &NatsServer) -> NatsBroker {
    NatsBroker::new(url_as(nats, "", ""), "socketio").unwrap()
}

#[async_trait::async_trait]
impl Cluster for NatsServer {
    fn manager(&self, options: ManagerOptions) -> Arc<dyn ClientManager> {
        manager(&url_as(self, "", ""), options).unwrap()
    }

    async fn publish(&self, topic: &str, body: Bytes) {
        broker(self).publish(topic, body).await.unwrap();
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
impl Outage for NatsServer {
    async fn cut(&self) {
        self.kill().await.unwrap();
    }

    async fn restore(&self) {
        self.restart().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_behaves() {
    // A host has to refuse messages that are too large for it; this server does not do it first.
    let Some(nats) = configured("max_payload: 2MB").await else {
        return;
    };
    assert!(conformance::run(&nats).await.is_empty());
}

/// Emitters may be idle for hours, and whatever stands between them and NATS may close the connection meanwhile.
#[tokio::test]
async fn a_message_after_the_connection_ended_is_published() {
    let Some(nats) = start().await else { return };
    let broker = broker(&nats);
    broker.publish("t", Bytes::from("1")).await.unwrap();
    nats.cut().await;
    assert!(broker.publish("t", Bytes::from("2")).await.is_err());
    nats.restore().await;
    broker.publish("t", Bytes::from("3")).await.unwrap();
}

#[tokio::test]
async fn published_means_that_the_server_has_it() {
    let Some(nats) = start().await else { return };
    let first = broker(&nats);
    let mut messages = first.listen(&["t".to_owned()]).await.unwrap();
    for number in 0..1000_u32 {
        first.publish("t", number.to_string().into()).await.unwrap();
    }
    // Nothing of it may have stayed here.
    drop(first);
    for number in 0..1000_u32 {
        let message = timeout(PATIENCE, messages.next()).await.unwrap().unwrap();
        assert_eq!(message.body, number.to_string());
    }
    let broker = broker(&nats);
    broker.connect().await.unwrap();
    nats.freeze().unwrap();
    let asked = tokio::time::Instant::now();
    let publish = || broker.publish("t", Bytes::new());
    let published = tokio::join!(publish(), publish(), publish());
    nats.thaw().unwrap();
    for published in <[_; 3]>::from(published) {
        assert!(matches!(published, Err(BrokerError::TimedOut(_))), "{published:?}");
    }
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    broker.publish("t", Bytes::new()).await.unwrap();
}

/// A server that accepts connections and says nothing.
#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_for_a_connection_than_the_first() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("nats://{}", silent.local_addr().unwrap());
    let broker = NatsBroker::new(BrokerUrl::parse(&url).unwrap(), "c").unwrap();
    let asked = tokio::time::Instant::now();
    let publish = || broker.publish("t", Bytes::new());
    let published = tokio::join!(publish(), publish(), publish(), publish());
    for published in <[_; 4]>::from(published) {
        assert!(matches!(published, Err(BrokerError::TimedOut(_))), "{published:?}");
    }
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_message_above_max_payload_names_both_sizes() {
    let Some(nats) = configured("max_payload: 1000").await else {
        return;
    };
    let broker = broker(&nats);
    broker.publish("t", vec![0; 1000].into()).await.unwrap();
    let error = broker.publish("t", vec![0; 1001].into()).await.unwrap_err();
    let shown = error.to_string();
    assert!(matches!(error, BrokerError::Refused(_)), "{error:?}");
    assert!(shown.contains("1001 bytes") && shown.contains("1000 bytes"), "{shown}");
    broker.publish("t", Bytes::new()).await.unwrap();
}

async fn connects(url: BrokerUrl) {
    NatsBroker::new(url, "c").unwrap().connect().await.unwrap();
}

/// Neither may publish nor listen, and is told so by an error that shows no secret.
async fn is_refused(url: BrokerUrl, secret: &str) {
    let broker = NatsBroker::new(url.clone(), "c").unwrap();
    let published = broker.publish("c", Bytes::new()).await;
    assert!(matches!(published, Err(BrokerError::Refused(_))), "{published:?}");
    let listening = broker.listen(&["c".to_owned()]).await.map(drop);
    assert!(matches!(listening, Err(BrokerError::Refused(_))), "{listening:?}");
    let error = manager(&url, ManagerOptions::default()).unwrap().connect().await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("nats://") && error.contains("refused"), "{error}");
    for shown in [error, format!("{broker:?}")] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn users_prove_who_they_are_by_password() {
    let Some(nats) = configured("authorization { user: me, password: \"p@ss/w\" }").await else {
        return;
    };
    connects(url_as(&nats, "me:p%40ss%2Fw@", "")).await;
    is_refused(url_as(&nats, "me:wr0ng@", ""), "wr0ng").await;
    is_refused(url_as(&nats, "", ""), "p@ss").await;
}

#[tokio::test]
async fn users_prove_who_they_are_by_token() {
    let Some(nats) = configured("authorization { token: \"t0ken\" }").await else {
        return;
    };
    connects(url_as(&nats, "t0ken@", "")).await;
    is_refused(url_as(&nats, "wr0ng@", ""), "wr0ng").await;
}

#[tokio::test]
async fn users_prove_who_they_are_by_nkey() {
    let (known, unknown) = (nkeys::KeyPair::new_user(), nkeys::KeyPair::new_user());
    let users = format!("authorization {{ users: [{{ nkey: {} }}] }}", known.public_key());
    let Some(nats) = configured(&users).await else { return };
    let path = nats.file("seed.nk");
    let url = url_as(&nats, "", &format!("?nkey={}", path.display()));
    std::fs::write(&path, format!("{}\n", known.seed().unwrap())).unwrap();
    connects(url.clone()).await;
    let seed = unknown.seed().unwrap();
    std::fs::write(&path, &seed).unwrap();
    is_refused(url.clone(), &seed).await;
    std::fs::write(&path, "no seed").unwrap();
    is_refused(url, "no seed").await;
}

/// A JWT as the NATS tools make them: signed by `issuer`, about `subject`.
fn jwt(issuer: &nkeys::KeyPair, subject: &nkeys::KeyPair, kind: &str) -> String {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
    let header = BASE64.encode(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let claims = serde_json::json!({
        "jti": "test", "iat": 1_700_000_000, "iss": issuer.public_key(), "sub": subject.public_key(), "name": "test",
        "nats": {
            "type": kind, "version": 2, "subs": -1, "data": -1, "payload": -1,
            "limits": {"subs": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "data": -1, "payload": -1, "wildcards": true},
        },
    });
    let signed = format!("{header}.{}", BASE64.encode(claims.to_string()));
    let signature = BASE64.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

#[tokio::test]
async fn users_prove_who_they_are_by_credentials() {
    let (operator, account) = (nkeys::KeyPair::new_operator(), nkeys::KeyPair::new_account());
    let (user, stranger) = (nkeys::KeyPair::new_user(), nkeys::KeyPair::new_user());
    let accounts = format!(
        "operator: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {} }}",
        jwt(&operator, &operator, "operator"),
        account.public_key(),
        jwt(&operator, &account, "account")
    );
    let Some(nats) = configured(&accounts).await else {
        return;
    };
    let path = nats.file("user.creds");
    let url = url_as(&nats, "", &format!("?creds={}", path.display()));
    let write = |key: &nkeys::KeyPair| {
        let (jwt, seed) = (jwt(&account, &user, "user"), key.seed().unwrap());
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        std::fs::write(&path, text).unwrap();
        seed
    };
    write(&user);
    connects(url.clone()).await;
    let seed = write(&stranger);
    is_refused(url.clone(), &seed).await;
    std::fs::write(&path, "s3cret").unwrap();
    let error = NatsBroker::new(url, "c").unwrap_err().to_string();
    assert!(error.contains("user.creds") && !error.contains("s3cret"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_rights_are_named() {
    let Some(nats) = configured(
        "authorization { users: [
            { user: a, password: a, permissions: { publish: [c, \"_INBOX.>\"], subscribe: [c, \"_INBOX.>\"] } },
            { user: b, password: b, permissions: { publish: [c], subscribe: [c] } },
        ] }",
    )
    .await
    else {
        return;
    };
    let broker = |user| NatsBroker::new(url_as(&nats, user, ""), "c").unwrap();
    let named = |result: Result<(), BrokerError>, subject: &str| {
        let error = result.unwrap_err();
        assert!(matches!(error, BrokerError::Refused(_)), "{error:?}");
        assert!(error.to_string().contains(subject), "{error}");
    };
    let allowed = broker("a:a@");
    allowed.publish("c", Bytes::new()).await.unwrap();
    named(allowed.publish("d", Bytes::new()).await, "\"d\"");
    allowed.publish("c", Bytes::new()).await.unwrap();
    allowed.listen(&["c".to_owned()]).await.map(drop).unwrap();
    named(
        allowed.listen(&["c".to_owned(), "d".to_owned()]).await.map(drop),
        "\"d\"",
    );
    let without_inbox = broker("b:b@");
    named(without_inbox.publish("c", Bytes::new()).await, "\"_INBOX.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lame_duck_is_left_for_another_server_of_its_cluster() {
    let [one, two] = free_ports();
    let member = |port: u16, other: u16| {
        format!("cluster {{ name: c, listen: \"127.0.0.1:{port}\", routes: [\"nats://127.0.0.1:{other}\"] }}")
    };
    let (first, second) = (member(one, two), member(two, one));
    let (Some(first), Some(second)) = tokio::join!(configured(&first), configured(&second)) else {
        return;
    };
    // A connection made before the servers have met would know of one only.
    let met = async {
        while async_nats::connect(first.url())
            .await
            .unwrap()
            .server_info()
            .connect_urls
            .len()
            < 2
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, met).await.expect("the servers meet");
    let host = first.manager(ManagerOptions::default());
    host.start(Arc::new(RecordingSockets::default()));
    host.connect().await.unwrap();
    let mut status = host.status();
    let listening = |status: &Status| *status == Status::Listening;
    timeout(PATIENCE, status.wait_for(listening)).await.unwrap().unwrap();
    first.lame_duck().unwrap();
    let away = status.wait_for(|status| *status != Status::Listening);
    drop(timeout(PATIENCE, away).await.unwrap().unwrap());
    timeout(PATIENCE, status.wait_for(listening)).await.unwrap().unwrap();
    first.kill().await.unwrap();
    host.connect().await.unwrap();
    // It hears what is published on the other server only.
    let published = second.manager(ManagerOptions::default());
    published.start(Arc::new(RecordingSockets::default()));
    let met = async {
        while host.hosts().len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, met).await.expect("hosts on one server meet");
}

#[tokio::test]
async fn tls_is_checked_against_the_ca_file() {
    let certificates = Certificates::new();
    let [cert, key] = ["server.pem", "server.key"].map(|name| certificates.file(name));
    let Some(nats) = configured(&format!("tls {{ cert_file: {cert:?}, key_file: {key:?} }}")).await else {
        return;
    };
    let broker = |scheme: &str, query: &str| {
        let url = format!("{scheme}://127.0.0.1:{}{query}", nats.port());
        NatsBroker::new(BrokerUrl::parse(&url).unwrap(), "c").unwrap()
    };
    let (ca, stranger) = (certificates.file("ca.pem"), certificates.file("stranger.pem"));
    for scheme in ["tls", "nats"] {
        let broker = broker(scheme, &format!("?ca={ca}"));
        let mut messages = broker.listen(&["c".to_owned()]).await.unwrap();
        broker.publish("c", Bytes::from("m")).await.unwrap();
        assert_eq!(timeout(PATIENCE, messages.next()).await.unwrap().unwrap().body, "m");
    }
    for (query, expected) in [
        (format!("?ca={stranger}"), &*stranger),
        (String::new(), "?ca=/path/to/ca.pem"),
    ] {
        let error = broker("tls", &query).connect().await.unwrap_err();
        assert!(matches!(error, BrokerError::Refused(_)), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}
