//! Emitting.

use anyhow::Result;
use serde_json::{Value, json};

use crate::scene::{Scene, code};

#[tokio::test]
async fn emits_reach_those_who_are_meant_on_both_gateways() -> Result<()> {
    let scene = Scene::start().await?;
    let [mut a, mut b] = scene.clients().await?;
    let [host, _] = &scene.hosts;
    let emit = async |body: Value| host.take("emit", body).await;
    let binary = json!({"_placeholder": true, "num": 0});
    emit(json!({"event": "all", "args": [1, {"two": []}]})).await?;
    emit(json!({"event": "one", "rooms": [b.sid()]})).await?;
    emit(json!({"event": "user", "users": ["ann"], "namespace": "/"})).await?;
    emit(json!({"event": "both", "users": ["ann"], "rooms": [b.sid()], "volatile": false})).await?;
    emit(json!({"event": "but", "except": [b.sid()]})).await?;
    emit(json!({"event": "nobody", "rooms": []})).await?;
    emit(json!({"event": "elsewhere", "namespace": "/chat"})).await?;
    emit(json!({"event": "binary", "args": [binary], "attachments": ["AAH/"]})).await?;
    emit(json!({"event": "end"})).await?;
    let event = |name: &str, args: Value| (name.to_owned(), args);
    let bytes = || event("binary", json!([{"$bytes": "AAH/"}]));
    let all = || event("all", json!([1, {"two": []}]));
    let none = |name: &str| event(name, json!([]));
    assert_eq!(
        a.until("end").await?,
        [all(), none("user"), none("both"), none("but"), bytes()]
    );
    assert_eq!(b.until("end").await?, [all(), none("one"), none("both"), bytes()]);
    Ok(())
}

#[tokio::test]
async fn a_batch_is_emitted_in_its_order_or_not_at_all() -> Result<()> {
    let scene = Scene::start().await?;
    let [_, mut b] = scene.clients().await?;
    let [host, _] = &scene.hosts;
    let emits: Vec<Value> = (0..1000)
        .map(|number| json!({"event": "n", "args": [number]}))
        .collect();
    let (status, answer) = host.post("emit/batch", &json!({"emits": emits})).await?;
    assert_eq!((status, answer), (200, json!({"results": vec![json!({}); 1000]})));
    for (wrong, field) in [
        (json!([{"event": "no"}, {"event": 3}]), "emits[1].event"),
        (
            json!([{"event": "no"}, {"event": "no", "args": ["x", {"_placeholder": true, "num": 1}], "attachments": ["AA=="]}]),
            "emits[1]",
        ),
        (json!([{"event": "no", "receipt": "1s"}]), "emits[0]"),
        (json!(vec![json!({"event": "no"}); 1001]), "emits"),
    ] {
        let refused = code(host.post("emit/batch", &json!({"emits": wrong})).await?);
        assert_eq!(refused, (422, "invalid".into(), Some(field.into())));
    }
    host.take("emit", json!({"event": "end"})).await?;
    let received = b.until("end").await?;
    let expected: Vec<_> = (0..1000).map(|number| ("n".to_owned(), json!([number]))).collect();
    assert_eq!(received, expected);
    Ok(())
}

#[tokio::test]
async fn who_asks_is_told_where_it_was_delivered_and_who_answered() -> Result<()> {
    let scene = Scene::start().await?;
    let [a, b] = scene.clients().await?;
    let silent = scene
        .node
        .connect("silent", e2e::Connect::to(&scene.hosts[0].url))
        .await?;
    let [host, _] = &scene.hosts;
    let receipt = |sockets: usize| json!({"sockets": sockets, "gateways": 2, "missing": []});
    let (status, answer) = host.post("emit", &json!({"event": "x", "receipt": "5s"})).await?;
    assert_eq!((status, answer), (200, json!({"receipt": receipt(3)})));
    let (_, answer) = host
        .post("emit", &json!({"event": "x", "rooms": ["nobody"], "receipt": "5s"}))
        .await?;
    assert_eq!(answer, json!({"receipt": receipt(0)}));

    let both = json!({"event": "ask", "args": ["how are you?"], "rooms": [a.sid(), b.sid()], "ack": "5s"});
    let (status, mut answer) = host.post("emit", &both).await?;
    let acks = answer["acks"].as_array_mut().map(std::mem::take).unwrap_or_default();
    assert_eq!(
        (status, answer),
        (200, json!({"acks": [], "missing": 0, "receipt": receipt(2)}))
    );
    for client in [&a, &b] {
        let ack = json!({"sid": client.sid(), "args": ["fine"]});
        assert!(acks.contains(&ack), "{acks:?} has no {ack}");
    }
    let (_, answer) = host
        .post("emit", &json!({"event": "x", "rooms": [silent.sid()], "ack": "300ms"}))
        .await?;
    assert_eq!((&answer["missing"], &answer["acks"]), (&json!(1), &json!([])));
    Ok(())
}
