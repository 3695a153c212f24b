//! Users: those who are behind the sockets, over the whole cluster.

use std::sync::Arc;

use anyhow::{Result, ensure};
use e2e::RedisServer;
use e2e::raw::WebSocket;
use hallporter::config::Config;
use hallporter::{
    Data, DisconnectReason, Error, Gateway, Handshake, Namespace, Session, State, UserChange, UserPolicy,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::scene::{
    Host, accepted, ask, client_with, cluster_config, config, error_of, meet, next, panic_quietly, refusal, serve,
};

/// What a gateway is told of users, and of sockets that go.
#[derive(Debug, PartialEq)]
enum Report {
    User(UserChange),
    Gone(DisconnectReason),
}

fn online(user: &str) -> Report {
    let user = user.to_owned();
    Report::User(UserChange { user, is_online: true })
}

fn offline(user: &str) -> Report {
    let user = user.to_owned();
    Report::User(UserChange { user, is_online: false })
}

type Reports = State<UnboundedSender<Report>>;

/// A gateway whose clients are who they say they are, and what it is told.
async fn start(config: Config, policy: UserPolicy) -> Result<(Host, UnboundedReceiver<Report>)> {
    let (sender, reports) = unbounded_channel();
    let namespace = Namespace::new("/")
        .users(policy)
        .on_connect(
            async |session: Session, handshake: Handshake| match handshake.auth["user"].as_str() {
                Some(user) => session.bind_user(user).await,
                None => Ok(()),
            },
        )
        .on_user(async |change: UserChange, reports: Reports| reports.send(Report::User(change)).is_ok())
        .on_disconnect(async |reason: DisconnectReason, reports: Reports| reports.send(Report::Gone(reason)).is_ok())
        .on("bind", async |session: Session, Data(user): Data<String>| {
            session.bind_user(&user).await
        })
        .on("unbind", async |session: Session| session.unbind_user())
        .on("user", async |session: Session| session.user());
    let gateway = Gateway::new(config).state(Arc::new(sender)).namespace(namespace);
    Ok((Host::start(gateway).await?, reports))
}

/// Two gateways, which are one unless there is a broker between them.
struct Scene {
    hosts: Vec<(Host, UnboundedReceiver<Report>)>,
    _redis: Option<RedisServer>,
}

impl Scene {
    async fn alone(policy: UserPolicy) -> Result<Self> {
        let hosts = vec![start(config(), policy).await?];
        Ok(Self { hosts, _redis: None })
    }

    async fn cluster(policy: UserPolicy) -> Result<Self> {
        let redis = RedisServer::start().await?;
        let mut hosts = Vec::new();
        for _ in 0..2 {
            hosts.push(start(cluster_config(&redis)?, policy).await?);
        }
        meet(hosts.iter().map(|(host, _)| host)).await?;
        Ok(Self {
            hosts,
            _redis: Some(redis),
        })
    }

    fn first(&self) -> &Host {
        &self.hosts[0].0
    }

    fn last(&self) -> &Host {
        &self.hosts[self.hosts.len() - 1].0
    }

    /// Waits until each gateway is told this next, and nothing else before, of users.
    async fn all_are_told(&mut self, expected: &[Report]) -> Result<()> {
        for (_, reports) in &mut self.hosts {
            for expected in expected {
                let got = next_of_users(reports).await?;
                ensure!(got == *expected, "{got:?} comes instead of {expected:?}");
            }
        }
        Ok(())
    }
}

async fn next_of_users(reports: &mut UnboundedReceiver<Report>) -> Result<Report> {
    loop {
        match next(reports).await? {
            Report::Gone(_) => {}
            user => return Ok(user),
        }
    }
}

async fn user(host: &Host, user: &str) -> Result<WebSocket> {
    Ok(client_with(host, json!({"user": user})).await?.0)
}

/// Ada is there twice, on each gateway once, and Bob once.
async fn many(mut scene: Scene) -> Result<()> {
    let mut first = user(scene.first(), "ada").await?;
    scene.all_are_told(&[online("ada")]).await?;
    let mut second = user(scene.last(), "ada").await?;
    let mut bob = user(scene.last(), "bob").await?;
    // Not for each socket of hers.
    scene.all_are_told(&[online("bob")]).await?;
    for (host, _) in &scene.hosts {
        let mut users = host.talk.users();
        users.sort();
        assert_eq!(users, ["ada", "bob"]);
        assert_eq!(host.talk.user_count(), 2);
        assert!(host.talk.is_online("ada") && !host.talk.is_online("eve"));

        host.talk.to_user("ada").emit("for ada", &1).await?;
        host.talk.except_user("ada").emit("for others", &2).await?;
        host.talk.to_user("ada").to_user("bob").emit("for both", &3).await?;
        host.talk.to_user("eve").emit("for nobody", &4).await?;
        for (socket, event) in [
            (&mut first, r#"42["for ada",1]"#),
            (&mut second, r#"42["for ada",1]"#),
            (&mut bob, r#"42["for others",2]"#),
        ] {
            assert_eq!(socket.text().await?, event);
            assert_eq!(socket.text().await?, r#"42["for both",3]"#);
        }
    }
    drop(first);
    bob.send("41").await?;
    // She is there as long as one of her sockets is.
    scene.all_are_told(&[offline("bob")]).await?;
    assert!(scene.first().talk.is_online("ada"));
    scene.first().talk.disconnect_user("ada").await?;
    assert_eq!(second.text().await?, "41");
    scene.all_are_told(&[offline("ada")]).await?;
    assert_eq!(scene.first().talk.user_count() + scene.last().talk.user_count(), 0);
    Ok(())
}

#[tokio::test]
async fn a_user_is_all_their_sockets() -> Result<()> {
    many(Scene::alone(UserPolicy::Many).await?).await
}

#[tokio::test]
async fn a_user_is_all_their_sockets_on_all_gateways() -> Result<()> {
    many(Scene::cluster(UserPolicy::Many).await?).await
}

/// The newest socket of a user takes the place of the older one.
async fn replaced(mut scene: Scene) -> Result<()> {
    let mut old = user(scene.first(), "ada").await?;
    scene.all_are_told(&[online("ada")]).await?;
    let mut new = user(scene.last(), "ada").await?;
    assert_eq!(old.text().await?, "41");
    let gone = next(&mut scene.hosts[0].1).await?;
    assert_eq!(gone, Report::Gone(DisconnectReason::ServerNamespaceDisconnect));
    scene.first().talk.to_user("ada").emit("for ada", &1).await?;
    assert_eq!(new.text().await?, r#"42["for ada",1]"#);
    // Back on the connection that is still there.
    old.send(r#"40{"user":"ada"}"#).await?;
    accepted(&mut old).await?;
    assert_eq!(new.text().await?, "41");
    assert_eq!(ask(&mut old, json!(["user"])).await?, json!(["ada"]));
    // All the while she was there.
    let _bob = user(scene.last(), "bob").await?;
    scene.all_are_told(&[online("bob")]).await
}

#[tokio::test]
async fn the_newest_socket_of_a_user_stays() -> Result<()> {
    replaced(Scene::alone(UserPolicy::ReplaceOld).await?).await
}

#[tokio::test]
async fn the_newest_socket_of_a_user_stays_on_whatever_gateway() -> Result<()> {
    replaced(Scene::cluster(UserPolicy::ReplaceOld).await?).await
}

/// Who is there already is not let in again.
async fn refused(mut scene: Scene) -> Result<()> {
    let taken = json!({"code": "user_taken", "message": "\"ada\" is here already"});
    let mut old = user(scene.first(), "ada").await?;
    scene.all_are_told(&[online("ada")]).await?;
    let refusal = refusal(scene.last(), json!({"user": "ada"})).await?;
    assert_eq!(
        refusal,
        json!({"message": taken["message"], "data": {"code": "user_taken"}})
    );
    // Nor may somebody who is in become her.
    let mut bob = user(scene.last(), "bob").await?;
    assert_eq!(error_of(&mut bob, json!(["bind", "ada"])).await?, taken);
    assert_eq!(ask(&mut bob, json!(["user"])).await?, json!(["bob"]));
    assert_eq!(ask(&mut old, json!(["user"])).await?, json!(["ada"]));
    scene.all_are_told(&[online("bob")]).await?;
    drop(old);
    scene.all_are_told(&[offline("ada")]).await?;
    let mut new = user(scene.last(), "ada").await?;
    assert_eq!(ask(&mut new, json!(["user"])).await?, json!(["ada"]));
    scene.all_are_told(&[online("ada")]).await
}

#[tokio::test]
async fn the_first_socket_of_a_user_stays() -> Result<()> {
    refused(Scene::alone(UserPolicy::RefuseNew).await?).await
}

#[tokio::test]
async fn the_first_socket_of_a_user_stays_on_whatever_gateway() -> Result<()> {
    refused(Scene::cluster(UserPolicy::RefuseNew).await?).await
}

#[tokio::test]
async fn a_socket_has_one_user_and_may_change() -> Result<()> {
    let mut scene = Scene::alone(UserPolicy::Many).await?;
    let (mut socket, _) = client_with(scene.first(), json!({})).await?;
    for (event, is) in [
        (json!(["unbind"]), Value::Null),
        (json!(["bind", "ada"]), json!("ada")),
        (json!(["bind", "ada"]), json!("ada")),
        (json!(["bind", "bob"]), json!("bob")),
        (json!(["unbind"]), Value::Null),
        (json!(["bind", "eve"]), json!("eve")),
    ] {
        assert_eq!(ask(&mut socket, event.clone()).await?, json!([]), "{event}");
        assert_eq!(ask(&mut socket, json!(["user"])).await?, json!([is]), "{event}");
        let talk = &scene.first().talk;
        assert_eq!(talk.users(), Vec::from_iter(is.as_str()), "{event}");
        for user in ["ada", "bob", "eve"] {
            talk.to_user(user).emit("for", &user).await?;
        }
        if let Some(user) = is.as_str() {
            assert_eq!(socket.text().await?, format!(r#"42["for","{user}"]"#), "{event}");
        }
    }
    let changes = [
        online("ada"),
        offline("ada"),
        online("bob"),
        offline("bob"),
        online("eve"),
    ];
    // Which of two at once is told first does not matter.
    let mut told = Vec::new();
    for _ in &changes {
        told.push(next_of_users(&mut scene.hosts[0].1).await?);
    }
    for change in &changes {
        ensure!(told.contains(change), "{change:?} is not told: {told:?}");
    }
    Ok(())
}

/// A user of one namespace is nobody in another.
#[tokio::test]
async fn users_are_of_a_namespace() -> Result<()> {
    let bind = async |session: Session| -> Result<(), Error> { session.bind_user("ada").await };
    let gateway = Gateway::new(config())
        .namespace(Namespace::new("/").on_connect(bind))
        .namespace(Namespace::new("/other").public());
    let host = Host::start(gateway).await?;
    let (_socket, _) = client_with(&host, json!({})).await?;
    assert!(host.talk.is_online("ada"));
    let other = host.talk.namespace("/other");
    assert_eq!((other.is_online("ada"), other.user_count()), (false, 0));
    Ok(())
}

/// Who is told of one change and panics is told of the next.
#[tokio::test]
async fn a_panic_while_told_of_users_leaves_the_next() -> Result<()> {
    let (sender, mut told) = unbounded_channel();
    let namespace = Namespace::new("/")
        .public()
        .on("bind", async |session: Session, Data(user): Data<String>| {
            session.bind_user(&user).await
        })
        .on_user(async move |change: UserChange| {
            let _ = sender.send(change);
            panic_quietly();
        });
    let host = serve(namespace).await?;
    let (mut socket, _) = client_with(&host, json!({})).await?;
    for name in ["ada", "bob"] {
        ask(&mut socket, json!(["bind", name])).await?;
    }
    socket.send("41").await?;
    let mut users = Vec::new();
    for _ in 0..4 {
        let UserChange { user, is_online } = next(&mut told).await?;
        users.push((user, is_online));
    }
    users.sort();
    let both = ["ada", "bob"].map(|user| [(user.to_owned(), false), (user.to_owned(), true)]);
    assert_eq!(users, both.concat());
    Ok(())
}
