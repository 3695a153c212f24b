//! Rooms, and who receives a broadcast.

use anyhow::{Context, Result};
use e2e::raw::WebSocket;
use e2e::shared;
use serde_json::{Value, json};

/// Some sockets in a namespace of their own, so that other tests are not heard, and their sids.
struct Members {
    namespace: String,
    sockets: Vec<WebSocket>,
    sids: Vec<String>,
}

impl Members {
    async fn new(name: &str, count: usize) -> Result<Self> {
        let namespace = format!("/tenant-rooms-{name}");
        let (mut sockets, mut sids) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let mut socket = WebSocket::open(shared().await?).await?;
            sids.push(socket.enter(&namespace, json!({})).await?);
            sockets.push(socket);
        }
        Ok(Self {
            namespace,
            sockets,
            sids,
        })
    }

    async fn ask(&mut self, member: usize, event: &str, data: Value) -> Result<Value> {
        self.sockets[member].ask_in(&self.namespace, event, data).await
    }

    async fn join(&mut self, room: &str, members: &[usize]) -> Result<()> {
        for &member in members {
            assert_eq!(self.ask(member, "join", json!(room)).await?, "ok");
        }
        Ok(())
    }

    /// Has the first one broadcast and checks that exactly these receive it, once.
    async fn broadcast(&mut self, request: Value, receivers: &[usize]) -> Result<()> {
        let what = request.to_string();
        self.reaches(request, receivers).await.context(what)
    }

    async fn reaches(&mut self, mut request: Value, receivers: &[usize]) -> Result<()> {
        request["event"] = "news".into();
        request["data"] = 1.into();
        let what = request.to_string();
        self.sockets[0]
            .send(&format!("42{},7{}", self.namespace, json!(["broadcast", request])))
            .await?;
        let (event, ack) = (
            format!("42{},[\"news\",1]", self.namespace),
            format!("43{},7[\"ok\"]", self.namespace),
        );
        if receivers.contains(&0) {
            assert_eq!(self.sockets[0].text().await?, event, "{what}");
        }
        assert_eq!(self.sockets[0].text().await?, ack, "{what}");
        for member in 1..self.sockets.len() {
            if receivers.contains(&member) {
                assert_eq!(self.sockets[member].text().await?, event, "{what} to {member}");
            }
        }
        for member in 0..self.sockets.len() {
            assert_eq!(self.ask(member, "echo", json!(member)).await?, member, "{what}");
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_broadcast_reaches_whom_it_is_meant_for() -> Result<()> {
    let mut members = Members::new("broadcast", 5).await?;
    members.join("a", &[0, 1, 2]).await?;
    members.join("b", &[2, 3]).await?;
    let sid = |member: usize| members.sids[member].clone();
    let (one, two, three) = (sid(1), sid(2), sid(3));
    members.broadcast(json!({}), &[1, 2, 3, 4]).await?;
    members.broadcast(json!({"self": true}), &[0, 1, 2, 3, 4]).await?;
    members.broadcast(json!({"room": "a"}), &[1, 2]).await?;
    members
        .broadcast(json!({"room": "a", "self": true}), &[0, 1, 2])
        .await?;
    members.broadcast(json!({"room": ["a", "b"]}), &[1, 2, 3]).await?;
    members.broadcast(json!({"room": ["a", "a"]}), &[1, 2]).await?;
    members.broadcast(json!({"room": "nowhere"}), &[]).await?;
    members.broadcast(json!({"except": "b"}), &[1, 4]).await?;
    members.broadcast(json!({"room": "a", "except": "b"}), &[1]).await?;
    members.broadcast(json!({"except": ["a", "b"]}), &[4]).await?;
    members.broadcast(json!({"except": "nowhere"}), &[1, 2, 3, 4]).await?;
    members.broadcast(json!({"room": one}), &[1]).await?;
    members
        .broadcast(json!({"room": [one, three, "b"]}), &[1, 2, 3])
        .await?;
    members.broadcast(json!({"except": [one, two]}), &[3, 4]).await?;
    Ok(())
}

#[tokio::test]
async fn each_sid_is_a_room() -> Result<()> {
    let mut members = Members::new("sid", 2).await?;
    let sids = members.sids.clone();
    assert_eq!(members.ask(0, "rooms", json!(null)).await?, json!([sids[0]]));
    let request = json!({"id": sids[1], "event": "hello", "data": "you"});
    assert_eq!(members.ask(0, "to-id", request).await?, "ok");
    let expected = format!("42{},[\"hello\",\"you\"]", members.namespace);
    assert_eq!(members.sockets[1].text().await?, expected);
    let request = json!({"id": "nobody", "event": "hello", "data": "you"});
    assert_eq!(members.ask(0, "to-id", request).await?, "ok");
    Ok(())
}

#[tokio::test]
async fn rooms_are_joined_and_left() -> Result<()> {
    let mut members = Members::new("joined", 2).await?;
    let sid = members.sids[0].clone();
    let listed = async |members: &mut Members| -> Result<Vec<String>> {
        let mut rooms: Vec<String> = serde_json::from_value(members.ask(0, "rooms", json!(null)).await?)?;
        rooms.retain(|room| *room != sid);
        rooms.sort();
        Ok(rooms)
    };
    assert_eq!(members.ask(0, "join", json!(["a", "b", "grüß 😀", ""])).await?, "ok");
    assert_eq!(members.ask(0, "join", json!("a")).await?, "ok");
    assert_eq!(listed(&mut members).await?, ["", "a", "b", "grüß 😀"]);
    assert_eq!(members.ask(0, "leave", json!(["a", "never joined"])).await?, "ok");
    assert_eq!(listed(&mut members).await?, ["", "b", "grüß 😀"]);
    members.join("a", &[1]).await?;
    members.broadcast(json!({"room": "a"}), &[1]).await?;
    Ok(())
}

#[tokio::test]
async fn who_has_left_receives_nothing() -> Result<()> {
    let mut members = Members::new("left", 3).await?;
    members.join("a", &[0, 1, 2]).await?;
    assert_eq!(members.ask(1, "leave", json!("a")).await?, "ok");
    members.broadcast(json!({"room": "a"}), &[2]).await?;
    // Nor does who comes back have the rooms of before.
    let namespace = members.namespace.clone();
    members.sockets[2].enter("/", json!({})).await?;
    members.sockets[2].send(&format!("41{namespace},")).await?;
    assert_eq!(members.sockets[2].ask("echo", json!(1)).await?, 1);
    members.sids[2] = members.sockets[2].enter(&namespace, json!({})).await?;
    members.broadcast(json!({"room": "a"}), &[]).await?;
    Ok(())
}

#[tokio::test]
async fn volatile_broadcasts_reach_who_can_take_them() -> Result<()> {
    let mut members = Members::new("volatile", 3).await?;
    members.broadcast(json!({"volatile": true}), &[1, 2]).await?;
    members
        .broadcast(json!({"volatile": true, "self": true}), &[0, 1, 2])
        .await
}
