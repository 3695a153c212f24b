//! Who may use the API.

use anyhow::Result;
use e2e::{Ended, Settings, hallporter, run};
use reqwest::Method;
use serde_json::json;

use crate::scene::{Answer, SMALL_KEY, Scene, answer, code};

/// An operation of each scope.
const OPERATIONS: [(&str, &str, &str); 7] = [
    ("POST", "emit", "emit"),
    ("POST", "rooms/join", "rooms"),
    ("GET", "sockets", "sockets"),
    ("GET", "users", "users"),
    ("POST", "methods/sum", "methods"),
    ("GET", "cluster", "cluster"),
    ("POST", "message", "message"),
];

#[tokio::test]
async fn a_key_is_asked_for_and_opens_what_it_is_for() -> Result<()> {
    let scene = Scene::start().await?;
    let [host, _] = &scene.hosts;
    for (method, path, scope) in OPERATIONS {
        let ask = async |authorization: Option<&str>| -> Result<Answer> {
            let mut request = host.request(Method::from_bytes(method.as_bytes())?, path);
            if method == "POST" {
                request = request.header("content-type", "application/json").body("{}");
            }
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            answer(request).await
        };
        for wrong in [
            None,
            Some("Bearer"),
            Some("Bearer wrong"),
            Some("Basic d3Jvbmc6d3Jvbmc="),
            Some(SMALL_KEY),
        ] {
            let refused = code(ask(wrong).await?);
            assert_eq!(refused, (401, "unauthenticated".into(), None), "{path} with {wrong:?}");
        }
        let (status, body) = ask(Some(&format!("Bearer {SMALL_KEY}"))).await?;
        match scope {
            "emit" | "cluster" => assert!(![401, 403].contains(&status), "{path}: {status} {body}"),
            scope => {
                let message = body["error"]["message"].as_str().unwrap_or_default();
                assert_eq!((status, &body["error"]["code"]), (403, &json!("forbidden")), "{path}");
                let says = format!("the key \"jobs\" lacks the scope \"{scope}\"");
                assert!(message == says && !message.contains(SMALL_KEY), "{message}");
            }
        }
    }
    Ok(())
}

async fn check(toml: &str) -> Result<Ended> {
    let file = Settings::new(&format!("[[namespace]]\nname = \"/\"\npublic = true\n{toml}"))?;
    run(&hallporter()?, ["check", "--config", file.path()?]).await
}

#[tokio::test]
async fn check_names_what_is_wrong_with_keys_and_shows_none() -> Result<()> {
    let key = |key: &str, rest: &str| format!("[[api.keys]]\nname = \"a\"\nkey = \"{key}\"\n{rest}\n");
    let long = "hush hush hush hush";
    for (toml, says) in [
        (
            key(long, "scopes = [\"emits\"]"),
            "7: api.keys.0.scopes.0: \"emits\" is not known; did you mean \"emit\"?",
        ),
        (
            key(long, "scopes = []"),
            "7: api.keys.0.scopes: must name what the key is for: emit, rooms",
        ),
        (
            key("", "scopes = [\"emit\"]"),
            "6: api.keys.0.key: must be a text that is not empty",
        ),
        (key(long, ""), "4: api.keys.0: the key \"scopes\" is missing"),
        (
            format!("[api]\nkey = \"{long}\"\n{}", key(long, "scopes = [\"emit\"]")),
            "api.keys.0: has the same key as \"api.key\"",
        ),
        (
            [
                key(long, "scopes = [\"emit\"]"),
                key("hush hush hush hush hush", "scopes = [\"emit\"]"),
            ]
            .concat(),
            "api.keys.1.name: is there twice",
        ),
    ] {
        let ended = check(&toml).await?;
        assert!(
            ended.code == 2 && ended.stderr.contains(says),
            "{toml}: {}",
            ended.stderr
        );
        assert!(ended.stderr.contains("1 mistake in"), "{toml}: {}", ended.stderr);
        assert!(!ended.stderr.contains("hush"), "{}", ended.stderr);
    }
    let ended = check(&key("hush", "scopes = [\"emit\"]")).await?;
    let warning = "warning: api.keys.0 (\"a\") is shorter than 16 characters";
    assert!(ended.code == 0 && ended.stderr.contains(warning), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hush") && !ended.stdout.contains("hush"));
    Ok(())
}
