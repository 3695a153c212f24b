//! What is answered to what cannot be done.

use anyhow::Result;
use e2e::{PATIENCE, poll};
use reqwest::Method;
use serde_json::{Value, json};

use crate::scene::{KEY, Scene, answer, code};

#[tokio::test]
async fn every_refusal_has_its_code() -> Result<()> {
    let scene = Scene::start().await?;
    let [host, _] = &scene.hosts;
    let invalid = |field: &str| (422, "invalid".to_owned(), Some(field.to_owned()));
    for (text, refused) in [
        ("", (400, "not_json".to_owned(), None)),
        ("{", (400, "not_json".into(), None)),
        ("{\"event\": \"\u{1}\"}", (400, "not_json".into(), None)),
        ("{\"event\": \"x\"} more", (400, "not_json".into(), None)),
        ("[]", (422, "invalid".into(), None)),
        ("{}", (422, "invalid".into(), None)),
        ("{\"event\": \"x\", \"romms\": [\"a\"]}", invalid("romms")),
        ("{\"event\": \"x\", \"event\": \"y\"}", (422, "invalid".into(), None)),
        ("{\"event\": \"disconnect\"}", invalid("event")),
        ("{\"event\": \"x\", \"rooms\": [\"a\", \"\"]}", invalid("rooms[1]")),
        ("{\"event\": \"x\", \"namespace\": \"chat\"}", invalid("namespace")),
        ("{\"event\": \"x\", \"args\": {}}", invalid("args")),
        ("{\"event\": \"x\", \"attachments\": [\"=\"]}", invalid("args")),
        ("{\"event\": \"x\", \"receipt\": \"61s\"}", invalid("receipt")),
        ("{\"event\": \"x\", \"ack\": \"soon\"}", invalid("ack")),
    ] {
        assert_eq!(code(host.post_text("emit", text.to_owned()).await?), refused, "{text}");
    }
    let many = json!({"event": "x", "rooms": vec!["a"; 1001]});
    assert_eq!(code(host.post("emit", &many).await?), invalid("rooms"));
    let deep = format!("{{\"event\": \"x\", \"args\": {}{}}}", "[".repeat(500), "]".repeat(500));
    assert_eq!(code(host.post_text("emit", deep).await?), invalid("args"));
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "romm=x",
        "room=",
        "namespace=chat",
        "room=a&room=b",
    ] {
        assert_eq!(code(host.get(&format!("sockets?{query}")).await?).0, 422, "{query}");
    }
    for (path, status, named) in [
        ("users/%ff", 400, "bad_path"),
        ("nothing", 404, "not_found"),
        ("", 404, "not_found"),
        ("methods/", 404, "not_found"),
        ("emit", 405, "method_not_allowed"),
    ] {
        let refused = code(host.get(path).await?);
        assert_eq!(refused, (status, named.into(), None), "{path}");
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx"] {
        let request = host.request(Method::POST, "emit").bearer_auth(KEY);
        let refused = answer(request.header("content-type", content_type).body("{\"event\": \"x\"}")).await?;
        assert_eq!(code(refused), (415, "not_json".into(), None), "{content_type}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_too_large_for_a_message_is_said_to_be() -> Result<()> {
    let scene = Scene::start().await?;
    let [host, _] = &scene.hosts;
    let text = |size: usize, of: &str| of.repeat(size);
    let too_large = |answer: (u16, Value)| assert_eq!(code(answer), (413, "too_large".into(), None));
    // The bound of these gateways is 64 KiB.
    too_large(
        host.post("emit", &json!({"event": "x", "args": [text(65_536, "x")]}))
            .await?,
    );
    too_large(
        host.post("message", &json!({"method": "emit", "data": text(65_536, "x")}))
            .await?,
    );
    // A body that fits becomes a message that does not: escapes are long.
    for path in ["emit", "rooms/join", "sockets/disconnect", "users/disconnect"] {
        let name = text(12_000, "\0");
        let body = match path {
            "emit" => json!({"event": "x", "rooms": [name]}),
            "rooms/join" => json!({"sid": name, "room": "x"}),
            "sockets/disconnect" => json!({"sid": name}),
            _ => json!({"user": name}),
        };
        let body = serde_json::to_string(&body)?.replace("\\u0000", "\u{7f}\u{ff}");
        let (status, _) = host.post_text(path, body).await?;
        assert!((200..500).contains(&status), "{path}: {status}");
    }
    let (status, _) = host.get(&format!("sockets?room={}", "%00".repeat(12_000))).await?;
    assert!([413, 431, 414].contains(&status), "{status}");
    Ok(())
}

#[tokio::test]
async fn a_broker_that_is_away_is_said_to_be_and_what_needs_none_goes_on() -> Result<()> {
    let scene = Scene::start().await?;
    let Scene { redis, hosts, .. } = scene;
    let [host, _] = &hosts;
    drop(redis);
    let away = async || Ok(host.find("cluster").await?["broker"]["status"] == "away");
    poll(PATIENCE, away, || "the broker stays".into()).await?;
    let unavailable = (503, "unavailable".to_owned(), None);
    for (path, body) in [
        ("emit", json!({"event": "x"})),
        ("emit", json!({"event": "x", "receipt": "1s"})),
        ("emit", json!({"event": "x", "ack": "1s"})),
        ("rooms/join", json!({"sid": "nobody", "room": "x"})),
        ("users/disconnect", json!({"user": "nobody"})),
        (
            "message",
            json!({"method": "emit", "event": "x", "data": [], "namespace": "/"}),
        ),
    ] {
        assert_eq!(code(host.post(path, &body).await?), unavailable, "{path} {body}");
    }
    assert_eq!(code(host.get("sockets").await?), unavailable);
    let batch = json!({"emits": vec![json!({"event": "x"}); 1000]});
    let (status, answer) = host.post("emit/batch", &batch).await?;
    let results = answer["results"].as_array().map(Vec::len);
    assert_eq!((status, results), (200, Some(1000)), "{answer}");
    assert_eq!(
        answer["results"][999]["error"]["code"],
        json!("unavailable"),
        "{answer}"
    );
    assert_eq!(host.find("users").await?["count"], json!(0));
    Ok(())
}
