//! What an endpoint is told of an event, and what its reply brings about.

use anyhow::{Result, ensure};
use axum::Json;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::endpoint::Endpoint;
use crate::scene::{ask, code_of, route, serve};

/// Replies what the event's first argument says.
async fn obedient() -> Result<Endpoint> {
    Endpoint::start(async |post| Json(post.event["args"][0].clone())).await
}

#[tokio::test]
async fn an_event_is_told_with_all_that_is_known() -> Result<()> {
    let endpoint = Endpoint::start(async |_| Json(json!({"ack": ["one", {"two": 2}]}))).await?;
    let scene = serve(&route(&endpoint.url, "")).await?;
    let (mut socket, sid) = scene.client().await?;
    let answer = ask(&mut socket, json!(["order.new", 1, "two", [3]])).await?;
    assert_eq!(answer, json!(["one", {"two": 2}]));
    let post = endpoint.next().await?;
    let event = &post.event;
    assert_eq!(post.header("content-type")?, "application/json");
    assert_eq!(Some(post.header("hallporter-id")?), event["id"].as_str());
    assert!(post.header("hallporter-timestamp")?.parse::<u64>()? > 1_700_000_000);
    assert!(post.header("hallporter-signature").is_err());
    let host = scene.gateway.log().line("listening").await?;
    let gateway = event["gateway"].as_str().unwrap_or_default();
    assert!(!gateway.is_empty() && host.contains(gateway), "{gateway} {host}");
    let mut told = event.clone();
    told["id"].take();
    told["gateway"].take();
    let expected = json!({
        "version": 1, "id": null, "gateway": null, "namespace": "/", "event": "order.new", "sid": sid, "user": null,
        "args": [1, "two", [3]], "session": {}, "session_version": 0,
    });
    assert_eq!(told, expected);
    ask(&mut socket, json!(["again"])).await?;
    let again = endpoint.next().await?.event;
    assert_eq!(again["args"], json!([]));
    assert!(again["id"].is_string() && again["id"] != event["id"]);
    Ok(())
}

#[tokio::test]
async fn binary_data_goes_there_and_back() -> Result<()> {
    let endpoint = Endpoint::start(async |post| {
        let (args, attachments) = (&post.event["args"], &post.event["attachments"]);
        Json(json!({"ack": args, "attachments": attachments}))
    })
    .await?;
    let scene = serve(&route(&endpoint.url, "")).await?;
    let (mut socket, _) = scene.client().await?;
    let packet = format!("451-7{}", json!(["file", {"_placeholder": true, "num": 0}, "name"]));
    socket.send_packet(&packet, &[b"\x00\xff"]).await?;
    let (head, answer) = socket.packet().await?;
    assert_eq!((head.as_str(), answer), ("467", json!([{"$bytes": "AP8="}, "name"])));
    assert_eq!(endpoint.next().await?.event["attachments"], json!(["AP8="]));
    Ok(())
}

#[tokio::test]
async fn nothing_at_all_is_an_ack_without_arguments() -> Result<()> {
    for status in [StatusCode::OK, StatusCode::NO_CONTENT] {
        let endpoint = Endpoint::start(move |_| async move { status }).await?;
        let scene = serve(&route(&endpoint.url, "")).await?;
        let (mut socket, _) = scene.client().await?;
        assert_eq!(ask(&mut socket, json!(["order"])).await?, json!([]), "{status}");
    }
    Ok(())
}

#[tokio::test]
async fn rooms_are_entered_and_left_and_emits_come_before_the_ack() -> Result<()> {
    let endpoint = obedient().await?;
    let scene = serve(&route(&endpoint.url, "")).await?;
    let (mut one, one_sid) = scene.client().await?;
    let (mut two, _) = scene.client().await?;
    for socket in [&mut one, &mut two] {
        assert_eq!(ask(socket, json!(["x", {"join": ["a", "b"]}])).await?, json!([]));
    }
    assert_eq!(ask(&mut two, json!(["x", {"leave": ["b"]}])).await?, json!([]));
    let emits = json!([
        {"event": "both", "args": [1, "x"], "rooms": ["a"]},
        {"event": "left", "rooms": ["b"]},
        {"event": "other", "rooms": ["a"], "except": [one_sid]},
        {"event": "all"},
    ]);
    one.send(&format!("427{}", json!(["x", {"ack": ["done"], "emits": emits}])))
        .await?;
    for expected in ["42[\"both\",1,\"x\"]", "42[\"left\"]", "42[\"all\"]", "437[\"done\"]"] {
        assert_eq!(one.text().await?, expected);
    }
    for expected in ["42[\"both\",1,\"x\"]", "42[\"other\"]", "42[\"all\"]"] {
        assert_eq!(two.text().await?, expected);
    }
    Ok(())
}

#[tokio::test]
async fn a_socket_is_bound_to_a_user_and_let_go() -> Result<()> {
    let endpoint = obedient().await?;
    let scene = serve(&format!("users = \"refuse_new\"\n{}", route(&endpoint.url, ""))).await?;
    let (mut socket, _) = scene.client().await?;
    let (mut other, _) = scene.client().await?;
    ask(&mut socket, json!(["x", {"user": "ada"}])).await?;
    assert_eq!(endpoint.next().await?.event["user"], Value::Null);
    assert_eq!(code_of(&mut other, json!(["x", {"user": "ada"}])).await?, "user_taken");
    ask(
        &mut other,
        json!(["x", {"emits": [{"event": "hello", "users": ["ada"]}]}]),
    )
    .await?;
    assert_eq!(socket.text().await?, "42[\"hello\"]");
    endpoint.next().await?;
    endpoint.next().await?;
    ask(&mut socket, json!(["x", {"user": null}])).await?;
    assert_eq!(endpoint.next().await?.event["user"], "ada");
    ask(&mut socket, json!(["x", {}])).await?;
    assert_eq!(endpoint.next().await?.event["user"], Value::Null);
    ask(&mut other, json!(["x", {"user": "ada"}])).await?;
    Ok(())
}

#[tokio::test]
async fn an_error_is_the_ack_and_nothing_else_is_done() -> Result<()> {
    let endpoint = obedient().await?;
    let scene = serve(&route(&endpoint.url, "")).await?;
    let (mut socket, _) = scene.client().await?;
    let error = json!({"code": "sold_out", "message": "none is left", "data": {"in": 3}});
    let reply = json!({"error": error, "ack": [1], "session": {"version": 0, "set": {"a": 1}}, "disconnect": true});
    assert_eq!(ask(&mut socket, json!(["x", reply])).await?, json!([{"error": error}]));
    endpoint.next().await?;
    ask(&mut socket, json!(["x", {}])).await?;
    assert_eq!(endpoint.next().await?.event["session"], json!({}));
    Ok(())
}

#[tokio::test]
async fn a_disconnect_follows_the_ack() -> Result<()> {
    let endpoint = obedient().await?;
    let scene = serve(&route(&endpoint.url, "")).await?;
    let (mut socket, _) = scene.client().await?;
    assert_eq!(
        ask(&mut socket, json!(["x", {"ack": ["bye"], "disconnect": true}])).await?,
        json!(["bye"])
    );
    assert_eq!(socket.text().await?, "41");
    Ok(())
}

#[tokio::test]
async fn a_reply_that_cannot_be_carried_out_is_not_begun() -> Result<()> {
    let endpoint = obedient().await?;
    let scene = serve(&route(&endpoint.url, "")).await?;
    let (mut socket, _) = scene.client().await?;
    let change = json!({"version": 0, "set": {"a": 1}});
    for wrong in [
        json!({"session": change, "refuse": {"message": "no"}}),
        json!({"session": change, "join": ["hallporter:user:ada"]}),
        json!({"session": change, "leave": ["hallporter:user:ada"]}),
        json!({"session": change, "ack": "no array"}),
        json!({"session": change, "emits": [{"event": "x", "args": {"no": "array"}}]}),
        json!({"session": change, "ack": [{"_placeholder": true, "num": 3}], "attachments": ["AA=="]}),
        json!({"session": change, "ack": [], "attachments": ["no base64"]}),
        json!({"session": change, "acks": []}),
        json!([]),
        json!("text"),
    ] {
        assert_eq!(code_of(&mut socket, json!(["x", wrong])).await?, "bad_reply", "{wrong}");
        let event = endpoint.next().await?.event;
        ensure!(
            event["session"] == json!({}),
            "something was done of an earlier reply: {event}"
        );
    }
    assert!(
        scene
            .gateway
            .log()
            .line("the reply cannot be")
            .await?
            .contains("bad_reply")
    );
    Ok(())
}

#[tokio::test]
async fn events_go_by_their_names_and_namespaces() -> Result<()> {
    let orders = Endpoint::start(async |_| Json(json!({"ack": ["orders"]}))).await?;
    let tenants = Endpoint::start(async |_| Json(json!({"ack": ["tenants"]}))).await?;
    let rest = Endpoint::start(async |_| Json(json!({"ack": ["rest"]}))).await?;
    let scene = serve(&format!(
        "client_rooms = [\"*\"]\n[[namespace]]\nname = \"/tenant-{{id}}\"\npublic = true\n\
         [[route]]\nevent = \"order.*\"\nto = \"{}\"\n[[route]]\nevent = \"join\"\nto = \"handler:join\"\n\
         [[route]]\nnamespace = \"/tenant-{{id}}\"\nevent = \"*\"\nto = \"{}\"\n[[route]]\nnamespace = \"*\"\nevent = \"*\"\nto = \"{}\"\n",
        orders.url, tenants.url, rest.url
    ))
    .await?;
    let (mut socket, _) = scene.client().await?;
    for (event, answer) in [
        (json!(["order.new"]), "orders"),
        (json!(["orders"]), "rest"),
        (json!(["join", "room"]), "ok"),
        (json!(["leave", "room"]), "rest"),
    ] {
        assert_eq!(ask(&mut socket, event.clone()).await?, json!([answer]), "{event}");
    }
    crate::scene::enter(&mut socket, "/tenant-7", json!({})).await?;
    assert_eq!(socket.ask_in("/tenant-7", "order.new", Value::Null).await?, "tenants");
    assert_eq!(tenants.next().await?.event["namespace"], "/tenant-7");
    Ok(())
}
