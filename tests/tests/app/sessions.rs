//! What the gateway keeps of a socket for the user's code.

use std::collections::BTreeSet;

use anyhow::Result;
use hallporter::{Data, Error, Gateway, Namespace, Session};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use crate::scene::{Host, accepted, ask, client, config, error_of, panic_quietly, serve};

/// Events that do to the session what they are called.
fn sessions() -> Namespace {
    Namespace::new("/")
        .public()
        .on("get", async |session: Session, Data(key): Data<String>| {
            session.get::<Value>(&key)
        })
        .on("get number", async |session: Session, Data(key): Data<String>| {
            session.get::<u64>(&key)
        })
        .on(
            "set",
            async |session: Session, Data((key, value)): Data<(String, Value)>| session.set(&key, &value),
        )
        .on("remove", async |session: Session, Data(key): Data<String>| {
            session.remove(&key)
        })
        .on(
            "swap",
            async |session: Session, Data((a, b)): Data<(String, String)>| {
                session.update(|values| {
                    let (of_a, of_b) = (values.remove(&a), values.remove(&b));
                    values.extend(of_a.map(|value| (b, value)));
                    values.extend(of_b.map(|value| (a, value)));
                    values.len()
                })
            },
        )
        .on("load", async |session: Session| session.load())
        .on(
            "save",
            async |session: Session, Data((values, version)): Data<(Map<String, Value>, u64)>| {
                session.save(values, version)
            },
        )
}

#[tokio::test]
async fn values_are_set_read_and_taken_away() -> Result<()> {
    let host = serve(sessions()).await?;
    let mut socket = client(&host).await?;
    for (event, answer) in [
        (json!(["get", "name"]), json!([null])),
        (json!(["load"]), json!([{}, 0])),
        (json!(["set", "name", {"first": "Ada"}]), json!([])),
        (json!(["set", "age", 36]), json!([])),
        (json!(["get", "name"]), json!([{"first": "Ada"}])),
        (json!(["get number", "age"]), json!([36])),
        (json!(["swap", "name", "age"]), json!([2])),
        (json!(["load"]), json!([{"name": 36, "age": {"first": "Ada"}}, 3])),
        (json!(["remove", "name"]), json!([])),
        (json!(["remove", "nothing"]), json!([])),
        (json!(["get", "name"]), json!([null])),
    ] {
        assert_eq!(ask(&mut socket, event.clone()).await?, answer, "{event}");
    }
    assert_eq!(
        error_of(&mut socket, json!(["get number", "age"])).await?["code"],
        "internal"
    );
    Ok(())
}

#[tokio::test]
async fn a_session_is_of_one_socket_and_goes_with_it() -> Result<()> {
    let other = Namespace::new("/other").public();
    let other = other.on("get", async |session: Session, Data(key): Data<String>| {
        session.get::<Value>(&key)
    });
    let gateway = Gateway::new(config()).namespace(sessions()).namespace(other);
    let host = Host::start(gateway).await?;
    let (mut socket, mut stranger) = (client(&host).await?, client(&host).await?);
    ask(&mut socket, json!(["set", "name", "Ada"])).await?;
    assert_eq!(ask(&mut stranger, json!(["get", "name"])).await?, json!([null]));
    socket.send("40/other,").await?;
    assert!(socket.text().await?.starts_with("40/other,"));
    assert_eq!(socket.ask_in("/other", "get", json!("name")).await?, Value::Null);
    assert_eq!(ask(&mut socket, json!(["get", "name"])).await?, json!(["Ada"]));
    // It comes back on the same connection.
    socket.send("41").await?;
    socket.send("40").await?;
    accepted(&mut socket).await?;
    assert_eq!(ask(&mut socket, json!(["load"])).await?, json!([{}, 0]));
    Ok(())
}

#[tokio::test]
async fn what_changed_meanwhile_is_not_overwritten() -> Result<()> {
    let host = serve(sessions()).await?;
    let mut socket = client(&host).await?;
    assert_eq!(ask(&mut socket, json!(["save", {"a": 1}, 0])).await?, json!([]));
    let error = error_of(&mut socket, json!(["save", {"a": 2}, 0])).await?;
    assert_eq!(
        error,
        json!({"code": "changed", "message": "the session has changed since version 0"})
    );
    assert_eq!(ask(&mut socket, json!(["load"])).await?, json!([{"a": 1}, 1]));
    assert_eq!(ask(&mut socket, json!(["save", {"b": 2}, 1])).await?, json!([]));
    assert_eq!(ask(&mut socket, json!(["load"])).await?, json!([{"b": 2}, 2]));
    Ok(())
}

#[tokio::test]
async fn a_session_that_would_be_too_large_stays_as_it_was() -> Result<()> {
    let mut config = config();
    config.limits.session = 100;
    let host = Host::start(Gateway::new(config).namespace(sessions())).await?;
    let mut socket = client(&host).await?;
    // With its name, and the braces and quotes, 100 bytes.
    let most = "x".repeat(92);
    assert_eq!(ask(&mut socket, json!(["set", "a", most])).await?, json!([]));
    for (event, size) in [
        (json!(["set", "a", format!("{most}x")]), 101),
        (json!(["set", "b", 1]), 106),
        (json!(["save", {"a": most, "b": 1}, 1]), 106),
    ] {
        let error = error_of(&mut socket, event.clone()).await?;
        let message = format!("the session would take {size} bytes; limits.session allows 100");
        assert_eq!(error, json!({"code": "too_large", "message": message}), "{event}");
    }
    assert_eq!(ask(&mut socket, json!(["load"])).await?, json!([{"a": most}, 1]));
    assert_eq!(ask(&mut socket, json!(["set", "a", 1])).await?, json!([]));
    assert_eq!(ask(&mut socket, json!(["set", "b", 1])).await?, json!([]));
    Ok(())
}

#[tokio::test]
async fn a_change_that_panics_changes_nothing() -> Result<()> {
    let namespace = sessions().on("panic", async |session: Session| {
        session.update(|values| {
            values.clear();
            panic_quietly();
        })
    });
    let host = serve(namespace).await?;
    let mut socket = client(&host).await?;
    ask(&mut socket, json!(["set", "a", 1])).await?;
    assert_eq!(error_of(&mut socket, json!(["panic"])).await?["code"], "internal");
    assert_eq!(ask(&mut socket, json!(["load"])).await?, json!([{"a": 1}, 1]));
    assert_eq!(ask(&mut socket, json!(["set", "a", 2])).await?, json!([]));
    Ok(())
}

/// How many tasks of one handler change the session at once, and how often each does.
const TASKS: usize = 100;
const EACH: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_are_atomic() -> Result<()> {
    let namespace = sessions().on("count", async |session: Session| {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let session = session.clone();
            tasks.spawn(async move {
                let mut seen = Vec::new();
                for _ in 0..EACH {
                    seen.push(session.update(|values| {
                        let count = values.get("count").and_then(Value::as_u64).unwrap_or_default();
                        values.insert("count".into(), (count + 1).into());
                        count
                    })?);
                    session.set(&format!("of {task}"), &seen.len())?;
                    tokio::task::yield_now().await;
                }
                Ok::<_, Error>(seen)
            });
        }
        let mut seen = Vec::new();
        while let Some(task) = tasks.join_next().await {
            seen.extend(task??);
        }
        Ok::<_, Error>(seen)
    });
    let host = serve(namespace).await?;
    let mut socket = client(&host).await?;
    let seen: Vec<BTreeSet<u64>> = serde_json::from_value(ask(&mut socket, json!(["count"])).await?)?;
    let all = (TASKS * EACH) as u64;
    assert_eq!(seen, [BTreeSet::from_iter(0..all)]);
    let loaded = ask(&mut socket, json!(["load"])).await?;
    assert_eq!(loaded[0]["count"], all);
    assert!(
        (0..TASKS).all(|task| loaded[0][format!("of {task}")] == EACH),
        "{loaded}"
    );
    // Each change is a version.
    assert_eq!(loaded[1], 2 * all);
    Ok(())
}
