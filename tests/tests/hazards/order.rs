//! Order on one connection while many write to it: what is written at once, what is queued, what is half written.

use std::time::Duration;

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use e2e::raw::{WebSocket, connect_narrow};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::scene::{NO_HEARTBEAT, Scene};

const SENDERS: u64 = 6;
const EACH: u64 = 100;

/// From a few bytes to more than the kernel takes at once.
fn size(number: u64) -> usize {
    [1, 100, 125, 4000, 30_000][number as usize % 5]
}

fn payload(number: u64) -> Value {
    let letter = char::from(b'a' + (number % 26) as u8);
    json!(letter.to_string().repeat(size(number)))
}

/// Sends numbered broadcasts, each as soon as the one before is under way.
async fn send(address: String, sender: u64) -> Result<()> {
    let mut socket = WebSocket::joined(&address).await?;
    for number in 0..EACH {
        let data = json!([sender, number, payload(number)]);
        let request = json!({"event": "number", "data": data, "room": "receivers"});
        ensure!(socket.ask("broadcast", request).await? == "ok");
    }
    Ok(())
}

/// Reads all broadcasts, and the replies to events it sends meanwhile, and checks that none is lost, doubled, damaged or out of order.
async fn receive(mut socket: WebSocket, pause: Duration) -> Result<()> {
    let mut next = [0; SENDERS as usize];
    let (mut asked, mut answered) = (0_u64, 0);
    // How slow it is to read.
    let mut pace = interval(pause);
    for _ in 0..SENDERS * EACH {
        if asked < EACH {
            socket.emit("message", json!([asked, payload(asked)])).await?;
            asked += 1;
        }
        loop {
            let (_, mut message) = socket.packet().await?;
            let data = message[1].take();
            if message[0] == "message-back" {
                ensure!(
                    data == json!([answered, payload(answered)]),
                    "reply {answered} is missing"
                );
                answered += 1;
                continue;
            }
            let (sender, number, text): (usize, u64, Value) = serde_json::from_value(data)?;
            ensure!(
                number == next[sender],
                "{number} of {sender} comes instead of {}",
                next[sender]
            );
            ensure!(text == payload(number), "{number} of {sender} is damaged");
            next[sender] += 1;
            break;
        }
        pace.tick().await;
    }
    while answered < asked {
        let (_, message) = socket.packet().await?;
        ensure!(
            message[1] == json!([answered, payload(answered)]),
            "reply {answered} is missing"
        );
        answered += 1;
    }
    ensure!(socket.ask("echo", json!("last")).await? == "last");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_out_of_order_under_concurrency() -> Result<()> {
    let scene = Scene::start(&[NO_HEARTBEAT, ("HALLPORTER_LIMITS__CLIENT_BUFFER", "64MiB")]).await?;
    let mut tasks = JoinSet::new();
    for receiver in 0..6 {
        let mut socket = match receiver % 2 {
            0 => WebSocket::open_on(connect_narrow(scene.address()).await?).await?,
            _ => WebSocket::open(scene.address()).await?,
        };
        socket.enter("/", json!({})).await?;
        assert_eq!(socket.ask("join", json!("receivers")).await?, "ok");
        // Some read as fast as they can, some let it pile up.
        tasks.spawn(receive(socket, Duration::from_micros(1 + receiver / 2 * 1000)));
    }
    for sender in 0..SENDERS {
        tasks.spawn(send(scene.address().to_owned(), sender));
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    scene.ends_well().await
}

/// The attachments of a packet follow it, whatever others send meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attachments_stay_with_their_packet_under_concurrency() -> Result<()> {
    let scene = Scene::start(&[NO_HEARTBEAT, ("HALLPORTER_LIMITS__CLIENT_BUFFER", "64MiB")]).await?;
    let mut receivers = Vec::new();
    for narrow in [false, true] {
        let mut socket = match narrow {
            true => WebSocket::open_on(connect_narrow(scene.address()).await?).await?,
            false => WebSocket::open(scene.address()).await?,
        };
        socket.enter("/", json!({})).await?;
        assert_eq!(socket.ask("join", json!("receivers")).await?, "ok");
        receivers.push(socket);
    }
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS as u8 {
        let address = scene.address().to_owned();
        senders.spawn(async move {
            let mut socket = WebSocket::joined(&address).await?;
            let placeholders = json!([{"_placeholder": true, "num": 0}, {"_placeholder": true, "num": 1}]);
            let request = json!({"event": "pair", "data": placeholders, "room": "receivers"});
            for number in 0..EACH as u8 {
                let attachment = [sender, number].repeat(size(number.into()));
                let packet = format!("452-7{}", json!(["broadcast", request]));
                socket.send_packet(&packet, &[&attachment, &attachment]).await?;
                ensure!(socket.text().await? == r#"437["ok"]"#);
            }
            Ok(())
        });
    }
    for socket in &mut receivers {
        let mut next = [0; SENDERS as usize];
        for _ in 0..SENDERS * EACH {
            let (_, payload) = socket.packet().await?;
            let pair: [Value; 2] = serde_json::from_value(payload[1].clone())?;
            ensure!(pair[0] == pair[1], "attachments of two packets are mixed");
            let bytes = STANDARD.decode(pair[0]["$bytes"].as_str().unwrap_or_default())?;
            let (sender, number) = (usize::from(bytes[0]), bytes[1]);
            ensure!(
                number == next[sender],
                "{number} of {sender} comes instead of {}",
                next[sender]
            );
            ensure!(
                bytes == [bytes[0], number].repeat(size(number.into())),
                "{number} of {sender} is damaged"
            );
            next[sender] += 1;
        }
    }
    while let Some(sender) = senders.join_next().await {
        sender??;
    }
    drop(receivers);
    scene.ends_well().await
}
