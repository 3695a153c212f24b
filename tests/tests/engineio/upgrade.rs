//! Engine.IO 4, "Upgrade": from polling to WebSocket, and what must survive it.

use anyhow::{Context, Result, bail, ensure};
use e2e::raw::{Frame, Opcode, Polling, WebSocket, reset};
use e2e::{PATIENCE, disconnect_reason, shared};
use serde_json::{Value, json};
use tokio::time::Instant;

/// A session in the namespace `/`, and a WebSocket that has been probed for it.
async fn probed(tag: &str) -> Result<(Polling, WebSocket)> {
    let mut polling = Polling::open(shared().await?).await?;
    polling.enter(json!({"tag": tag})).await?;
    let mut socket = WebSocket::connect(shared().await?, &polling.upgrade_query()?).await?;
    socket.send("2probe").await?;
    assert_eq!(socket.text().await?, "3probe");
    Ok((polling, socket))
}

/// Polls until the server ends polling by a noop, and returns the other packets.
async fn drained(polling: &Polling) -> Result<Vec<String>> {
    let mut packets = Vec::new();
    loop {
        let response = polling.poll().await?;
        ensure!(response.status == 200, "{} {}", response.status, response.text()?);
        packets.extend(response.text()?.split('\x1e').map(str::to_owned));
        if packets.pop_if(|packet| packet == "6").is_some() {
            packets.retain(|packet| packet != "2");
            return Ok(packets);
        }
    }
}

#[tokio::test]
async fn a_session_moves_to_websocket() -> Result<()> {
    let (polling, mut socket) = probed("").await?;
    assert_eq!(drained(&polling).await?, [""; 0]);
    socket.send("5").await?;
    assert_eq!(socket.ask("echo", json!("hello")).await?, "hello");
    Ok(())
}

#[tokio::test]
async fn a_poll_that_waits_is_ended_by_a_noop() -> Result<()> {
    let mut polling = Polling::open(shared().await?).await?;
    polling.enter(json!({})).await?;
    let waiting = polling.start_poll().await?;
    let mut socket = WebSocket::connect(shared().await?, &polling.upgrade_query()?).await?;
    socket.send("2probe").await?;
    assert_eq!(socket.text().await?, "3probe");
    let answer = waiting.response().await?;
    assert_eq!((answer.status, answer.text()?), (200, "6"));
    Ok(())
}

#[tokio::test]
async fn polling_is_over_after_the_upgrade() -> Result<()> {
    let (polling, mut socket) = probed("").await?;
    socket.send("5").await?;
    assert_eq!(socket.ask("echo", json!(1)).await?, 1);
    assert_eq!(polling.poll().await?.error_code()?, 3);
    assert_eq!(polling.post("6").await?.error_code()?, 3);
    assert_eq!(socket.ask("echo", json!(2)).await?, 2);
    Ok(())
}

/// "A client MUST NOT open more than one WebSocket connection per session. Should it happen, the server MUST close the WebSocket connection."
#[tokio::test]
async fn a_second_websocket_is_closed() -> Result<()> {
    let (polling, mut socket) = probed("").await?;
    for upgraded in [false, true] {
        if upgraded {
            socket.send("5").await?;
            assert_eq!(socket.ask("echo", json!(1)).await?, 1);
        }
        if let Ok(second) = WebSocket::connect(shared().await?, &polling.upgrade_query()?).await {
            second.closed().await?;
        }
    }
    assert_eq!(socket.ask("echo", json!(2)).await?, 2);
    Ok(())
}

/// The numbers in packets of the event `name`.
fn numbers(packets: &[String], name: &str) -> Vec<u64> {
    let number = |packet: &String| {
        let args: Vec<Value> = serde_json::from_str(packet.strip_prefix("42")?).ok()?;
        (args[0] == name).then(|| args[1].as_u64())?
    };
    packets.iter().filter_map(number).collect()
}

#[tokio::test]
async fn what_is_sent_meanwhile_is_neither_lost_nor_reordered() -> Result<()> {
    const EVENTS: u64 = 500;
    let mut sender = WebSocket::joined(shared().await?).await?;
    let mut polling = Polling::open(shared().await?).await?;
    polling.enter(json!({})).await?;
    polling.send(r#"421["join","upgrading"]"#).await?;
    assert_eq!(polling.packet().await?, r#"431["ok"]"#);
    let broadcasts = tokio::spawn(async move {
        for number in 0..=EVENTS {
            let event = if number == EVENTS { "last" } else { "number" };
            let request = json!({"event": event, "data": number, "room": "upgrading"});
            sender.ask("broadcast", request).await?;
        }
        anyhow::Ok(())
    });
    let mut before = Vec::new();
    // The upgrade starts in the middle of them.
    while numbers(&before, "number").len() < 50 {
        before.push(polling.packet().await?);
    }
    before.extend(polling.waiting());
    let mut socket = WebSocket::connect(shared().await?, &polling.upgrade_query()?).await?;
    socket.send("2probe").await?;
    assert_eq!(socket.text().await?, "3probe");
    let mut packets = before;
    packets.extend(drained(&polling).await?);
    socket.send("5").await?;
    while numbers(&packets, "last").is_empty() {
        packets.push(socket.text().await?);
    }
    broadcasts.await??;
    assert_eq!(numbers(&packets, "number"), (0..EVENTS).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn what_was_queued_arrives_after_an_upgrade_without_polls() -> Result<()> {
    let mut polling = Polling::open(shared().await?).await?;
    polling.enter(json!({})).await?;
    polling.send(r#"42["burst",{"n":100,"size":100}]"#).await?;
    let mut socket = WebSocket::connect(shared().await?, &polling.upgrade_query()?).await?;
    socket.send("2probe").await?;
    assert_eq!(socket.text().await?, "3probe");
    socket.send("5").await?;
    for number in 0..100 {
        let packet = socket.text().await?;
        assert_eq!(numbers(std::slice::from_ref(&packet), "burst"), [number], "{packet}");
    }
    Ok(())
}

/// Checks that a session still works by polling.
async fn works(mut polling: Polling) -> Result<()> {
    polling.send(r#"42["message","still here"]"#).await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match polling.packet().await?.as_str() {
            "6" => ensure!(Instant::now() < deadline, "nothing but noops"),
            r#"42["message-back","still here"]"# => return Ok(()),
            packet => bail!("{packet} came"),
        }
    }
}

#[tokio::test]
async fn a_probe_that_fails_leaves_polling_as_it_was() -> Result<()> {
    for way in ["closed", "reset", "no upgrade", "no probe", "nothing"] {
        let mut polling = Polling::open(shared().await?).await?;
        polling.enter(json!({})).await?;
        let mut socket = WebSocket::connect(shared().await?, &polling.upgrade_query()?).await?;
        match way {
            "nothing" => {}
            "no probe" => socket.send("4hello").await?,
            _ => {
                socket.send("2probe").await?;
                assert_eq!(socket.text().await?, "3probe");
            }
        }
        match way {
            "closed" => socket.send_frame(&Frame::close(1000)).await?,
            "no upgrade" => socket.send_frame(&Frame::new(Opcode::Text, "4hello")).await?,
            _ => {}
        }
        if matches!(way, "closed" | "no upgrade" | "no probe") {
            socket.closed().await?;
        } else {
            reset(socket.into_stream())?;
        }
        works(polling).await.with_context(|| format!("after {way}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn another_probe_may_succeed_where_one_failed() -> Result<()> {
    let (polling, socket) = probed("").await?;
    reset(socket.into_stream())?;
    let deadline = Instant::now() + PATIENCE;
    // Until the server has seen the reset, it closes the next WebSocket as a second one.
    let mut socket = loop {
        let probe = async {
            let mut socket = WebSocket::connect(shared().await?, &polling.upgrade_query()?).await?;
            socket.send("2probe").await?;
            ensure!(socket.text().await? == "3probe");
            Ok(socket)
        };
        match probe.await {
            Ok(socket) => break socket,
            Err(error) => ensure!(Instant::now() < deadline, "no second probe: {error:#}"),
        }
    };
    socket.send("5").await?;
    assert_eq!(socket.ask("echo", json!(1)).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_session_that_moved_ends_with_its_websocket() -> Result<()> {
    let (_polling, mut socket) = probed("moved").await?;
    socket.send("5").await?;
    assert_eq!(socket.ask("echo", json!(1)).await?, 1);
    socket.send_frame(&Frame::close(1000)).await?;
    socket.closed().await?;
    assert_eq!(disconnect_reason(shared().await?, "moved").await?, "transport close");
    Ok(())
}
