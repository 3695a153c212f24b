//! Nothing that is published on the channel stops a gateway from listening; each piece of garbage is counted.

use anyhow::Result;
use e2e::{Pair, emit};
use serde_json::json;

const REJECTED: &str = "hallporter_broker_rejected_total";

/// Garbage, and the reason under which it is counted; empty where that is the gateway's to choose.
fn garbage() -> Vec<(Vec<u8>, &'static str)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let emit_with = |key: &str, value: serde_json::Value| {
        let mut message = json!({"method": "emit", "event": "x", "data": [1], "namespace": "/"});
        message[key] = value;
        message.to_string().into_bytes()
    };
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let mut pickle = b"\x80\x04\x95\x20\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x06method\x94\x8c\x04emit\x94s.".to_vec();
    pickle.push(0);
    vec![
        (text("not JSON"), "not_json"),
        (text(""), "not_json"),
        (text("   "), "not_json"),
        (text("{\"method\": \"emit\""), "not_json"),
        (text("\"method\""), "not_json"),
        (text("null"), "not_json"),
        (text("12"), "not_json"),
        (text("[]"), ""),
        (text("{}"), "field"),
        (vec![0; 64], ""),
        (vec![0xff; 64], "not_text"),
        (vec![0xc3, 0x28], "not_text"),
        (pickle, "pickle"),
        (vec![b'x'; 5_000_000], ""),
        (emit_with("data", json!(["x".repeat(5_000_000)])), ""),
        (text(&nested(100_000)), "too_deep"),
        (text(&"[".repeat(100_000)), "too_deep"),
        (
            text(&emit("x", json!([]), None).replace("[]", &nested(100_000))),
            "too_deep",
        ),
        (emit_with("method", json!(7)), "field"),
        (emit_with("method", json!("explode")), "unknown_method"),
        (emit_with("event", json!({"not": "a name"})), "field"),
        (emit_with("event", json!(null)), "field"),
        (emit_with("namespace", json!(["/"])), "field"),
        (emit_with("room", json!({"a": 1})), "field"),
        (emit_with("room", json!([])), "field"),
        (emit_with("skip_sid", json!(true)), "field"),
        (emit_with("binary", json!("yes")), "field"),
        (emit_with("host_id", json!(1)), "field"),
        (emit_with("callback", json!("back")), "field"),
        (emit_with("callback", json!([1, 2, 3])), "field"),
        (
            json!({"method": "emit", "event": "x", "namespace": "/"})
                .to_string()
                .into_bytes(),
            "field",
        ),
        (
            text(r#"{"method":"emit","event":"x","namespace":"/","binary":true,"data":[]}"#),
            "field",
        ),
        (
            text(r#"{"method":"emit","event":"x","namespace":"/","binary":true,"data":[["a"],"!"]}"#),
            "field",
        ),
        (
            text(
                r#"{"method":"emit","event":"x","namespace":"/","binary":true,"data":[[{"_placeholder":true,"num":9}],"AA=="]}"#,
            ),
            "field",
        ),
        (
            text(r#"{"method":"enter_room","namespace":"/","sid":1,"room":"x"}"#),
            "field",
        ),
        (text(r#"{"method":"enter_room","namespace":"/","sid":"x"}"#), "field"),
        (
            text(r#"{"method":"close_room","namespace":"/","room":["a","b"]}"#),
            "field",
        ),
        (text(r#"{"method":"disconnect","namespace":"/"}"#), "field"),
        (text(r#"{"method":"callback"}"#), "field"),
        (
            text(r#"{"method":"callback","host_id":{},"sid":1,"id":[],"args":"none"}"#),
            "field",
        ),
    ]
}

#[tokio::test]
async fn garbage_is_counted_and_the_next_message_arrives() -> Result<()> {
    let mut pair = Pair::start(&[]).await?;
    let mut rejected = 0.0;
    for (index, (payload, reason)) in garbage().into_iter().enumerate() {
        let start = String::from_utf8_lossy(&payload[..payload.len().min(80)]).into_owned();
        let label = format!("reason=\"{reason}");
        let mut before = Vec::new();
        for gateway in &pair.gateways {
            before.push(gateway.metric(REJECTED, &label).await?);
        }
        pair.redis.publish("socketio", &payload).await?;
        pair.reaches_everyone(&format!("after-{index}")).await?;
        rejected += 1.0;
        for (gateway, before) in pair.gateways.iter().zip(before) {
            assert_eq!(gateway.metric(REJECTED, "").await?, rejected, "{start}");
            assert_eq!(
                gateway.metric(REJECTED, &label).await?,
                before + 1.0,
                "{start} is counted as {reason}"
            );
        }
    }
    Ok(())
}

/// What is harmless: for somebody else, from the future, or about nobody.
#[tokio::test]
async fn messages_about_nobody_are_neither_rejected_nor_delivered() -> Result<()> {
    let mut pair = Pair::start(&[]).await?;
    let harmless = [
        r#"{"method":"callback","host_id":"another","sid":"x","namespace":"/","id":1,"args":[]}"#,
        r#"{"method":"emit","event":"x","data":[1],"namespace":"/nowhere"}"#,
        r#"{"method":"emit","event":"x","data":[1],"namespace":"/","room":"","future":{"key":[1]}}"#,
        r#"{"method":"emit","event":"x","data":[1],"namespace":"/","room":"nobody","callback":[1,"/"]}"#,
        r#"{"method":"enter_room","sid":"nobody","room":"x","namespace":"/"}"#,
        r#"{"method":"leave_room","sid":"nobody","room":"x","namespace":"/"}"#,
        r#"{"method":"close_room","room":"x","namespace":"/"}"#,
        r#"{"method":"disconnect","sid":"nobody","namespace":"/"}"#,
    ];
    for message in harmless {
        pair.redis.publish("socketio", message.as_bytes()).await?;
        pair.reaches_everyone("after").await?;
    }
    for gateway in &pair.gateways {
        assert_eq!(gateway.metric(REJECTED, "").await?, 0.0);
    }
    Ok(())
}
