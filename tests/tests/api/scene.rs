//! Two gateways on one Redis, and what is asked of them over HTTP.

use anyhow::{Context, Result, ensure};
use e2e::{Client, Connect, Driver, PATIENCE, RedisServer, poll};
use hallporter::adapters::url::BrokerUrl;
use hallporter::adapters::{ClientManager, Status};
use hallporter::config::{ApiKey, Config, Scope, Secret};
use hallporter::{Error, Gateway, Handshake, List, Namespace, Session};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::timeout;

/// The key for everything.
pub(super) const KEY: &str = "a key for all that there is";

/// A key that is good for emitting and for the cluster.
pub(super) const SMALL_KEY: &str = "a key for some of what there is";

/// A cluster, and who connects to it.
pub(super) struct Scene {
    pub(super) redis: RedisServer,
    pub(super) hosts: [Host; 2],
    pub(super) node: Driver,
}

/// A gateway in the test's own process; it ends with the test.
pub(super) struct Host {
    pub(super) url: String,
    pub(super) manager: Arc<dyn ClientManager>,
    http: reqwest::Client,
}

/// Status and body of an answer.
pub(super) type Answer = (u16, Value);

impl Scene {
    pub(super) async fn start() -> Result<Self> {
        let redis = RedisServer::start().await?;
        let hosts = [Host::start(&redis).await?, Host::start(&redis).await?];
        for host in &hosts {
            let met = async || Ok(host.manager.hosts().len() == 2 && host.manager.instances().len() == 2);
            poll(PATIENCE, met, || "the gateways do not meet".into()).await?;
        }
        let node = Driver::node()?;
        Ok(Self { redis, hosts, node })
    }

    /// A client of each gateway, the first of the user `ann`.
    pub(super) async fn clients(&self) -> Result<[Client; 2]> {
        let answering = |host: &Host| Connect::to(&host.url).replies(json!({"ask": ["fine"]}));
        let [a, b] = &self.hosts;
        Ok([
            self.node
                .connect("a", answering(a).auth(json!({"user": "ann"})))
                .await?,
            self.node.connect("b", answering(b)).await?,
        ])
    }
}

/// Clients are who they say they are; there is a method that adds, and one that fails.
fn namespace() -> Namespace {
    Namespace::new("/")
        .public()
        .on_connect(
            async |session: Session, handshake: Handshake| match handshake.auth["user"].as_str() {
                Some(user) => session.bind_user(user).await,
                None => Ok(()),
            },
        )
        .method("sum", async |List(numbers): List<i64>| numbers.iter().sum::<i64>())
        .method("full", async || Err::<(), _>(Error::new("full", "no room")))
}

impl Host {
    async fn start(redis: &RedisServer) -> Result<Self> {
        let mut config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            ..Config::default()
        };
        config.manager.url = BrokerUrl::parse(&redis.url())?;
        config.manager.max_message = 64 << 10;
        config.api.key = Some(Secret::new(KEY));
        config.api.keys = vec![ApiKey {
            name: "jobs".into(),
            key: Secret::new(SMALL_KEY),
            scopes: vec![Scope::Emit, Scope::Cluster],
        }];
        let gateway = Gateway::new(config).namespace(namespace()).bind().await?;
        let (url, manager) = (format!("http://{}", gateway.address()), gateway.manager().clone());
        tokio::spawn(gateway.serve(std::future::pending()));
        let mut status = manager.status();
        let listening = status.wait_for(|status| *status == Status::Listening);
        timeout(PATIENCE, listening).await.context("it listens in time")??;
        let http = reqwest::Client::new();
        Ok(Self { url, manager, http })
    }

    /// The URL of an emitter with the key for everything.
    pub(super) fn url_with_key(&self) -> String {
        let key = KEY.replace(' ', "%20");
        self.url.replace("http://", &format!("http://:{key}@"))
    }

    pub(super) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}/api/v1/{path}", self.url))
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer> {
        answer(self.request(reqwest::Method::GET, path).bearer_auth(KEY)).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.post_text(path, body.to_string()).await
    }

    /// Posts what need not be JSON.
    pub(super) async fn post_text(&self, path: &str, body: String) -> Result<Answer> {
        let request = self.request(reqwest::Method::POST, path).bearer_auth(KEY);
        answer(request.header("content-type", "application/json").body(body)).await
    }

    /// Posts what has to be taken.
    pub(super) async fn take(&self, path: &str, body: Value) -> Result<Value> {
        let (status, answer) = self.post(path, &body).await?;
        ensure!(status == 202, "{path} with {body}: {status} {answer}");
        Ok(answer)
    }

    /// Gets what has to be there.
    pub(super) async fn find(&self, path: &str) -> Result<Value> {
        let (status, answer) = self.get(path).await?;
        ensure!(status == 200, "{path}: {status} {answer}");
        Ok(answer)
    }
}

/// Sends a request. What is not done is answered with an error that has a code and a message.
pub(super) async fn answer(request: reqwest::RequestBuilder) -> Result<Answer> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let text = response.text().await?;
    let body: Value = match text.as_str() {
        "" => Value::Null,
        text => serde_json::from_str(text).with_context(|| format!("{status}: {text}"))?,
    };
    if status >= 400 {
        let error = &body["error"];
        ensure!(
            error["code"].is_string() && error["message"].is_string(),
            "{status}: {body}"
        );
    }
    Ok((status, body))
}

/// The code, and the field, of an error.
pub(super) fn code((status, body): Answer) -> (u16, String, Option<String>) {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let error = &body["error"];
    (status, text(&error["code"]).unwrap_or_default(), text(&error["field"]))
}
