//! Events of one client are handled in order, and acks match their events, whatever becomes of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use hallporter::{Data, Error, Namespace};
use serde_json::json;

use crate::scene::{client, panic_quietly, serve};

const EVENTS: u64 = 10_000;

/// What becomes of an event: most are answered at once, some fail, some panic, some take time.
async fn number(Data(number): Data<u64>) -> Result<u64, Error> {
    if number.is_multiple_of(13) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    if number.is_multiple_of(11) {
        panic_quietly();
    }
    match number.is_multiple_of(7) {
        true => Err(Error::new("seventh", number.to_string())),
        false => Ok(number),
    }
}

/// The ack of an event.
fn ack(number: u64) -> String {
    let answer = if number.is_multiple_of(11) {
        json!({"error": {"code": "internal", "message": "internal error"}})
    } else if number.is_multiple_of(7) {
        json!({"error": {"code": "seventh", "message": number.to_string()}})
    } else {
        json!(number)
    };
    format!("43{number}{}", json!([answer]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acks_match_their_events_in_order() -> Result<()> {
    static HANDLED: AtomicU64 = AtomicU64::new(0);
    let namespace = Namespace::new("/").public().on("number", async |data: Data<u64>| {
        let before = HANDLED.fetch_add(1, Ordering::Relaxed);
        if before != data.0 {
            return Err(Error::new("order", format!("{before} were handled before {}", data.0)));
        }
        number(data).await
    });
    let host = serve(namespace).await?;
    let mut socket = client(&host).await?;
    let mut writer = socket.writer()?;
    let sending = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        for number in 0..EVENTS {
            let text = format!("42{number}{}", json!(["number", number]));
            writer
                .write_all(&e2e::raw::Frame::new(e2e::raw::Opcode::Text, text).masked())
                .await?;
        }
        std::io::Result::Ok(())
    });
    for number in 0..EVENTS {
        let got = socket.text().await?;
        ensure!(got == ack(number), "{got} comes instead of {}", ack(number));
    }
    sending.await??;
    assert_eq!(HANDLED.load(Ordering::Relaxed), EVENTS);
    Ok(())
}
