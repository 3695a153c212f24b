//! What the user's code says to clients, wherever they are: on one gateway, or on two over a broker.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::RedisServer;
use e2e::raw::WebSocket;
use hallporter::{DisconnectReason, Gateway, Namespace, Sid, Talk, TalkError};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::scene::{Host, accepted, client, client_with, cluster_config, config, meet, next, serve};

/// Three clients of two gateways, which are one unless there is a broker between them.
struct Scene {
    hosts: Vec<Host>,
    clients: Vec<WebSocket>,
    sids: Vec<String>,
    /// Who has gone, and why.
    gone: UnboundedReceiver<(String, DisconnectReason)>,
    _redis: Option<RedisServer>,
}

impl Scene {
    async fn alone() -> Result<Self> {
        Self::start(None).await
    }

    async fn cluster() -> Result<Self> {
        Self::start(Some(RedisServer::start().await?)).await
    }

    async fn start(redis: Option<RedisServer>) -> Result<Self> {
        let (sender, gone) = unbounded_channel();
        let on_disconnect = async move |Sid(sid): Sid, reason: DisconnectReason| sender.send((sid, reason)).is_ok();
        let configs = match &redis {
            Some(redis) => vec![cluster_config(redis)?, cluster_config(redis)?],
            None => vec![config()],
        };
        let mut hosts = Vec::new();
        for config in configs {
            let namespace = Namespace::new("/").public().on_disconnect(on_disconnect.clone());
            hosts.push(Host::start(Gateway::new(config).namespace(namespace)).await?);
        }
        meet(hosts.iter()).await?;
        let (mut clients, mut sids) = (Vec::new(), Vec::new());
        for number in 0..3 {
            let (socket, sid) = client_with(&hosts[number % hosts.len()], json!({})).await?;
            clients.push(socket);
            sids.push(sid);
        }
        Ok(Self {
            hosts,
            clients,
            sids,
            gone,
            _redis: redis,
        })
    }

    /// The way from the first gateway, which has the clients 0 and 2.
    fn talk(&self) -> &Talk {
        &self.hosts[0].talk
    }

    /// Checks that these clients, and no others, have this event before the one that is emitted last.
    async fn only(&mut self, clients: &[usize], event: Value) -> Result<()> {
        self.talk().emit("fence", &()).await?;
        for (number, socket) in self.clients.iter_mut().enumerate() {
            if clients.contains(&number) {
                let got = socket.text().await?;
                ensure!(got == format!("42{event}"), "{number} reads {got} instead of {event}");
            }
            let got = socket.text().await?;
            ensure!(got == r#"42["fence"]"#, "{number} reads {got}");
        }
        Ok(())
    }
}

async fn speaks(mut scene: Scene) -> Result<()> {
    let sids = scene.sids.clone();
    let talk = scene.talk().clone();
    talk.emit("all", &(1, "a")).await?;
    scene.only(&[0, 1, 2], json!(["all", 1, "a"])).await?;
    talk.send(&"hello").await?;
    scene.only(&[0, 1, 2], json!(["message", "hello"])).await?;
    talk.to(&sids[1]).emit("one", &1).await?;
    scene.only(&[1], json!(["one", 1])).await?;
    talk.except(&sids[1]).volatile().emit("others", &()).await?;
    scene.only(&[0, 2], json!(["others"])).await?;
    talk.to_rooms(&sids[..2])
        .except(&sids[0])
        .emit("rooms", &[1, 2][..])
        .await?;
    scene.only(&[1], json!(["rooms", [1, 2]])).await?;
    talk.to_rooms([""; 0]).emit("nobody", &()).await?;
    scene.only(&[], json!([])).await?;
    talk.namespace("/other").emit("elsewhere", &()).await?;
    scene.only(&[], json!([])).await?;
    let here: &[usize] = if scene.hosts.len() == 1 { &[0, 1, 2] } else { &[0, 2] };
    talk.local().emit("here", &()).await?;
    scene.only(here, json!(["here"])).await
}

#[tokio::test]
async fn everybody_some_or_one_are_spoken_to() -> Result<()> {
    speaks(Scene::alone().await?).await
}

#[tokio::test]
async fn everybody_some_or_one_are_spoken_to_on_all_gateways() -> Result<()> {
    speaks(Scene::cluster().await?).await
}

async fn moves(mut scene: Scene) -> Result<()> {
    let sids = scene.sids.clone();
    let talk = scene.talk().clone();
    for sid in &sids[..2] {
        talk.join(sid, "red").await?;
    }
    talk.join(&sids[1], "blue").await?;
    scene.only(&[], json!([])).await?;
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(talk.members("red").await?), sorted(sids[..2].to_vec()));
    let rooms = [sids[1].as_str(), "blue", "red"].map(str::to_owned);
    assert_eq!(sorted(talk.rooms(&sids[1]).await?), sorted(rooms.to_vec()));
    talk.to("red").to("blue").emit("once", &1).await?;
    scene.only(&[0, 1], json!(["once", 1])).await?;
    talk.to("red").except("blue").emit("red alone", &1).await?;
    scene.only(&[0], json!(["red alone", 1])).await?;
    talk.leave(&sids[1], "red").await?;
    talk.to("red").emit("left", &1).await?;
    scene.only(&[0], json!(["left", 1])).await?;
    talk.close_room("blue").await?;
    talk.to("blue").emit("closed", &1).await?;
    scene.only(&[], json!([])).await?;
    assert_eq!(talk.rooms(&sids[1]).await?, [sids[1].as_str()]);
    assert_eq!(talk.sockets().await?.len(), 3);
    assert!(talk.rooms("nobody").await?.is_empty());
    // Those of users are joined by binding the user.
    let reserved = "hallporter:user:ada";
    for refused in [
        talk.join(&sids[0], reserved).await,
        talk.leave(&sids[0], reserved).await,
        talk.close_room(reserved).await,
    ] {
        assert!(matches!(refused, Err(TalkError::Reserved(room)) if room == reserved));
    }
    Ok(())
}

#[tokio::test]
async fn sockets_are_put_into_rooms() -> Result<()> {
    moves(Scene::alone().await?).await
}

#[tokio::test]
async fn sockets_are_put_into_rooms_on_all_gateways() -> Result<()> {
    moves(Scene::cluster().await?).await
}

async fn disconnects(mut scene: Scene) -> Result<()> {
    let sids = scene.sids.clone();
    let talk = scene.talk().clone();
    talk.disconnect(&sids[1]).await?;
    assert_eq!(scene.clients[1].text().await?, "41");
    let reason = DisconnectReason::ServerNamespaceDisconnect;
    assert_eq!(next(&mut scene.gone).await?, (sids[1].clone(), reason));
    scene.clients[1].send("40").await?;
    assert!(scene.clients[1].text().await?.starts_with("40"));
    talk.close_connection(&sids[2]).await?;
    let closed = scene.clients.pop().context("the last")?;
    closed.closed().await?;
    assert_eq!(next(&mut scene.gone).await?.0, sids[2]);
    talk.emit("still here", &()).await?;
    for socket in &mut scene.clients {
        assert_eq!(socket.text().await?, r#"42["still here"]"#);
    }
    Ok(())
}

#[tokio::test]
async fn sockets_are_disconnected_or_their_connections_closed() -> Result<()> {
    disconnects(Scene::alone().await?).await
}

#[tokio::test]
async fn sockets_are_disconnected_or_their_connections_closed_on_all_gateways() -> Result<()> {
    disconnects(Scene::cluster().await?).await
}

/// Reads an event with ack, and answers it with these arguments.
async fn answers(socket: &mut WebSocket, event: Value, answer: Value) -> Result<()> {
    let (head, got) = socket.packet().await?;
    ensure!(got == event, "{got} comes instead of {event}");
    let id = head.strip_prefix("42").with_context(|| head.clone())?;
    socket.send(&format!("43{id}{answer}")).await
}

const SOON: Duration = Duration::from_millis(300);

async fn asks(mut scene: Scene) -> Result<()> {
    let sids = scene.sids.clone();
    let talk = scene.talk().clone();
    let asking = talk.to(&sids[1]);
    let call = asking.call::<(u32, String)>("ask", &"how?", e2e::PATIENCE);
    let answer = answers(&mut scene.clients[1], json!(["ask", "how?"]), json!([1, "well"]));
    let (answered, ()) = tokio::try_join!(async { Ok(call.await?) }, answer)?;
    assert_eq!(answered, (1, "well".to_owned()));
    let call = asking.call::<u32>("ask", &"how?", e2e::PATIENCE);
    let answer = answers(&mut scene.clients[1], json!(["ask", "how?"]), json!(["no number"]));
    let (answered, ()) = tokio::try_join!(async { anyhow::Ok(call.await) }, answer)?;
    assert!(matches!(answered, Err(TalkError::Answer(_))), "{answered:?}");
    // Nobody has to answer.
    let unanswered = asking.call::<u32>("ask", &"again?", SOON).await;
    assert!(matches!(unanswered, Err(TalkError::TimedOut(SOON))), "{unanswered:?}");
    assert!(scene.clients[1].text().await?.ends_with(r#"["ask","again?"]"#));
    // Two of three do.
    let asked = talk.emit_with_ack("count", &(), SOON);
    let [first, second, _] = scene.clients.as_mut_slice() else {
        anyhow::bail!("three clients")
    };
    let first = answers(first, json!(["count"]), json!([1]));
    let second = answers(second, json!(["count"]), json!([2]));
    let (acks, (), ()) = tokio::try_join!(async { Ok(asked.await?) }, first, second)?;
    let mut answers = Vec::from_iter(acks.answers.iter().map(|ack| ack.args.as_json()));
    answers.sort_unstable();
    assert_eq!((answers, acks.missing), (vec!["1", "2"], 1));
    Ok(())
}

#[tokio::test]
async fn clients_are_asked() -> Result<()> {
    asks(Scene::alone().await?).await
}

#[tokio::test]
async fn clients_are_asked_on_all_gateways() -> Result<()> {
    asks(Scene::cluster().await?).await
}

#[tokio::test]
async fn a_handler_may_ask_the_very_client_it_answers() -> Result<()> {
    let namespace = Namespace::new("/")
        .public()
        .on("ask me", async |talk: Talk, Sid(sid): Sid| {
            talk.to(sid).call::<u32>("how many?", &(), e2e::PATIENCE).await
        });
    let host = serve(namespace).await?;
    let mut socket = client(&host).await?;
    socket.send(r#"427["ask me"]"#).await?;
    answers(&mut socket, json!(["how many?"]), json!([12])).await?;
    assert_eq!(socket.text().await?, "437[12]");
    Ok(())
}

/// Nothing comes after the packet that disconnects, though the handler goes on.
#[tokio::test]
async fn a_handler_may_disconnect_its_own_client() -> Result<()> {
    let namespace = Namespace::new("/")
        .public()
        .on("out", async |talk: Talk, Sid(sid): Sid| {
            talk.to(&sid).emit("before", &()).await?;
            talk.disconnect(&sid).await?;
            talk.to(&sid).emit("after", &()).await
        });
    let host = serve(namespace).await?;
    let mut socket = client(&host).await?;
    socket.send(r#"427["out"]"#).await?;
    for packet in [r#"42["before"]"#, "41"] {
        assert_eq!(socket.text().await?, packet);
    }
    socket.send("40").await?;
    accepted(&mut socket).await?;
    Ok(())
}
