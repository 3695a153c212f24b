//! A method is the same by every door: an event with ack, or a call over HTTP.

use std::sync::Arc;

use anyhow::{Result, ensure};
use e2e::raw::{Request as Http, Response, WebSocket};
use hallporter::config::Token;
use hallporter::{
    Args, Data, Error, Failure, Gateway, Handler, Handshake, List, Namespace, NoAck, Session, Sid, State, Talk, User,
    authenticated,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::issuer::{forged, token, with_tokens};
use crate::scene::{Host, ask, client_with, config, next, panic_quietly};

/// Methods of all kinds.
fn methods(namespace: &str) -> Namespace {
    let whose = namespace.to_owned();
    Namespace::new(namespace)
        .on("event", async || "not a method")
        .method("sum", async |List(numbers): List<i64>| numbers.iter().sum::<i64>())
        .method("swap", async |Data((a, b)): Data<(u32, String)>| (b, a))
        .method("vector", async || vec![1, 2])
        .method("nothing", async |Data(()): Data<()>| ())
        .method("no.ack", async || NoAck)
        .method("where", async move || whose)
        .method("who", async |User(user): User| user)
        .method("claims", async |session: Session| session.claims())
        .method("known", (async || "known").guard(authenticated))
        .method("full", async || {
            Err::<(), _>(Error::new("full", "no room").data(json!({"limit": 20})))
        })
        .method("bad", async || Err::<(), _>(Error::bad_request("not so")))
        .method("forbidden", async || Err::<(), _>(Error::forbidden("not you")))
        .method("missing", async || {
            Err::<(), _>(Error::new("not_found", "no such thing"))
        })
        .method("broken", async || Err::<(), _>(Error::internal("the password is 1234")))
        .method("panics", async || panic_quietly())
        .method("said", async |talk: Talk, Data(text): Data<String>| {
            talk.emit("said", &text).await
        })
}

/// Calls a method with this body.
fn call(name: &str, body: &str) -> Http {
    Http::post(format!("/rpc/{name}"), body).header("content-type", "application/json")
}

fn with_token(call: Http, token: &str) -> Http {
    call.header("authorization", &format!("Bearer {token}"))
}

fn json_of(response: &Response) -> Result<Value> {
    ensure!(
        response.header("content-type") == Some("application/json"),
        "{response:?}"
    );
    Ok(serde_json::from_str(response.text()?)?)
}

#[tokio::test]
async fn by_both_doors_a_method_does_the_same() -> Result<()> {
    let gateway = Gateway::new(with_tokens(Token::default())).namespace(methods("/"));
    let host = Host::start(gateway).await?;
    let token = token(&json!({"sub": "ada", "team": 7}));
    let (mut socket, _) = client_with(&host, json!({"token": token})).await?;
    // Several arguments of the ack are an array over HTTP, one is itself, and none is null.
    for (name, args, status, answer, body) in [
        ("sum", json!([1, 2, 3]), 200, json!([6]), json!(6)),
        ("sum", json!([]), 200, json!([0]), json!(0)),
        ("sum", json!([1, "a"]), 400, json!(null), json!(null)),
        ("swap", json!([1, "a"]), 200, json!(["a", 1]), json!(["a", 1])),
        ("swap", json!([1]), 400, json!(null), json!(null)),
        ("vector", json!([]), 200, json!([[1, 2]]), json!([1, 2])),
        ("nothing", json!([]), 200, json!([]), json!(null)),
        ("nothing", json!([1]), 200, json!([]), json!(null)),
        ("where", json!([]), 200, json!(["/"]), json!("/")),
        ("who", json!([]), 200, json!(["ada"]), json!("ada")),
        ("known", json!([]), 200, json!(["known"]), json!("known")),
        (
            "claims",
            json!([]),
            200,
            json!([{"sub": "ada", "team": 7}]),
            json!({"sub": "ada", "team": 7}),
        ),
        ("full", json!([]), 422, json!(null), json!(null)),
        ("bad", json!([]), 400, json!(null), json!(null)),
        ("forbidden", json!([]), 403, json!(null), json!(null)),
        ("missing", json!([]), 404, json!(null), json!(null)),
        ("broken", json!([]), 500, json!(null), json!(null)),
        ("panics", json!([]), 500, json!(null), json!(null)),
    ] {
        let mut event = vec![json!(name)];
        event.extend(args.as_array().into_iter().flatten().cloned());
        let ack = ask(&mut socket, json!(event)).await?;
        let response = with_token(call(name, &args.to_string()), &token)
            .send(&host.address)
            .await?;
        let got = json_of(&response)?;
        ensure!(response.status == status, "{name}{args}: {} {got}", response.status);
        if status == 200 {
            ensure!((&ack, &got) == (&answer, &body), "{name}{args}: {ack} and {got}");
        } else {
            // The same error, word for word.
            ensure!(
                got["error"]["code"].is_string() && ack == json!([got]),
                "{name}{args}: {ack} and {got}"
            );
            ensure!(!got.to_string().contains("1234"), "{got}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_call_acts_in_the_namespace_of_its_method() -> Result<()> {
    let gateway = Gateway::new(config())
        .namespace(methods("/chat").public())
        .namespace(Namespace::new("/").public());
    let host = Host::start(gateway).await?;
    let mut socket = WebSocket::open(&host.address).await?;
    socket.send("40/chat,").await?;
    assert!(socket.text().await?.starts_with("40/chat,"));
    let response = call("said", r#"["by a call"]"#).send(&host.address).await?;
    assert_eq!((response.status, json_of(&response)?), (200, Value::Null));
    assert_eq!(socket.text().await?, r#"42/chat,["said","by a call"]"#);
    assert_eq!(json_of(&call("where", "").send(&host.address).await?)?, "/chat");
    assert_eq!(json_of(&call("no.ack", "").send(&host.address).await?)?, Value::Null);
    Ok(())
}

#[tokio::test]
async fn calls_are_authorised_as_connections_are() -> Result<()> {
    let gateway = Gateway::new(with_tokens(Token::default()))
        .namespace(methods("/"))
        .namespace(
            Namespace::new("/open")
                .public()
                .method("open", async |user: Option<User>| user.map(|User(user)| user))
                .method("open.known", (async || ()).guard(authenticated)),
        )
        .namespace(
            Namespace::new("/decided")
                .on_connect(async || ())
                .method("decided", async || ()),
        );
    let host = Host::start(gateway).await?;
    let valid = token(&json!({"sub": "ada"}));
    let expired = token(&json!({"sub": "ada", "exp": 1}));
    let wrong = forged(&json!({"sub": "ada"}));
    for (name, token, status, code) in [
        ("sum", None, 401, "token_missing"),
        ("sum", Some(&expired), 401, "token_expired"),
        ("sum", Some(&wrong), 401, "token_invalid"),
        ("sum", Some(&valid), 200, ""),
        // Who shows a token has to show a valid one, also where none is needed.
        ("open", None, 200, ""),
        ("open", Some(&wrong), 401, "token_invalid"),
        ("open", Some(&valid), 200, ""),
        ("open.known", None, 401, ""),
        ("open.known", Some(&valid), 200, ""),
        ("decided", None, 401, "token_missing"),
    ] {
        let call = call(name, "[]");
        let call = token.map_or(call.clone(), |token| with_token(call, token));
        let response = call.send(&host.address).await?;
        let answer = json_of(&response)?;
        ensure!(response.status == status, "{name}: {} {answer}", response.status);
        if status == 401 {
            ensure!(answer["error"]["code"] == "unauthenticated", "{name}: {answer}");
            let got = answer["error"]["data"]["code"].as_str().unwrap_or_default();
            ensure!(got == code, "{name}: {answer}");
        }
    }
    Ok(())
}

/// Without tokens, a namespace that `on_connect` decides about is closed to calls, which it cannot decide about.
#[tokio::test]
async fn calls_cannot_go_round_on_connect() -> Result<()> {
    let namespace = Namespace::new("/")
        .on_connect(async || ())
        .method("ask", async || "answer");
    let host = Host::start(Gateway::new(config()).namespace(namespace)).await?;
    let (mut socket, _) = client_with(&host, json!({})).await?;
    assert_eq!(ask(&mut socket, json!(["ask"])).await?, json!(["answer"]));
    let response = call("ask", "").send(&host.address).await?;
    assert_eq!(response.status, 401, "{response:?}");
    assert_eq!(json_of(&response)?["error"]["code"], "unauthenticated");
    Ok(())
}

/// Reports when it is dropped.
struct Ends(UnboundedSender<&'static str>);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

/// Nobody who is gone keeps a handler busy.
#[tokio::test]
async fn a_call_that_is_given_up_is_dropped_where_it_waits() -> Result<()> {
    let (sender, mut reports) = unbounded_channel();
    let namespace = Namespace::new("/").public().method("wait", async move || {
        let _ends = Ends(sender.clone());
        let _ = sender.send("begins");
        std::future::pending::<()>().await;
    });
    let host = Host::start(Gateway::new(config()).namespace(namespace)).await?;
    let call = call("wait", "").start(&host.address).await?;
    assert_eq!(next(&mut reports).await?, "begins");
    drop(call);
    assert_eq!(next(&mut reports).await?, "dropped");
    Ok(())
}

#[tokio::test]
async fn what_belongs_to_a_connection_is_missed_without_one() -> Result<()> {
    let (sender, mut told) = unbounded_channel::<Failure>();
    let namespace = Namespace::new("/")
        .public()
        .method("sid", async |Sid(sid): Sid| sid)
        .method("handshake", async |_: Handshake| ())
        .method("get", async |session: Session| session.get::<u32>("a"))
        .method("set", async |session: Session| session.set("a", &1))
        .method("load", async |session: Session| session.load())
        .method("bind", async |session: Session| session.bind_user("ada").await)
        .method("unbind", async |session: Session| session.unbind_user())
        .method(
            "maybe",
            async |sid: Option<Sid>, handshake: Option<Handshake>, session: Session| {
                (sid.is_none(), handshake.is_none(), session.user(), session.claims())
            },
        )
        .on_error(async |failure: Failure, told: State<UnboundedSender<Failure>>| told.send(failure).is_ok());
    let gateway = Gateway::new(config()).state(Arc::new(sender)).namespace(namespace);
    let host = Host::start(gateway).await?;
    for name in ["sid", "handshake", "get", "set", "load", "bind", "unbind"] {
        let response = call(name, "[1]").send(&host.address).await?;
        assert_eq!(response.status, 409, "{name}: {response:?}");
        let error = json_of(&response)?;
        assert_eq!(error["error"]["code"], "no_connection", "{name}");
        let failure = next(&mut told).await?;
        assert_eq!((failure.namespace.as_str(), failure.sid), ("/", None));
        assert_eq!((failure.event.as_str(), failure.args.as_json()), (name, "1"));
    }
    let answer = json_of(&call("maybe", "").send(&host.address).await?)?;
    assert_eq!(answer, json!([true, true, null, {}]));
    assert!(!host.talk.is_online("ada"));
    Ok(())
}

#[tokio::test]
async fn a_body_is_arguments_or_refused() -> Result<()> {
    let mut config = config();
    config.engine.max_payload = 1000;
    let namespace = Namespace::new("/").public().method("echo", async |args: Args| args);
    let host = Host::start(Gateway::new(config).namespace(namespace)).await?;
    for (body, answer) in [
        ("", json!(null)),
        ("  \n", json!(null)),
        ("[]", json!(null)),
        ("null", json!(null)),
        ("7", json!(7)),
        ("\"grüß\"", json!("grüß")),
        (r#" {"a": [1]} "#, json!({"a": [1]})),
        ("[7]", json!(7)),
        ("[[7]]", json!([7])),
        ("[1, \"b\"]", json!([1, "b"])),
    ] {
        let response = call("echo", body).send(&host.address).await?;
        ensure!(
            response.status == 200 && json_of(&response)? == answer,
            "{body}: {response:?}"
        );
    }
    let most = json!("x".repeat(998)).to_string();
    assert_eq!(call("echo", &most).send(&host.address).await?.status, 200);
    let more = format!("{most} ");
    for (body, status, code) in [
        (more.as_bytes(), 413, "too_large"),
        (b"[1", 400, "bad_request"),
        (b"{", 400, "bad_request"),
        (b"1 2", 400, "bad_request"),
        (b"[1] 2", 400, "bad_request"),
        (b"\"\xff\"", 400, "bad_request"),
        (b"nonsense", 400, "bad_request"),
    ] {
        let text = String::from_utf8_lossy(body);
        let response = Http::post("/rpc/echo", body).send(&host.address).await?;
        ensure!(response.status == status, "{text}: {response:?}");
        ensure!(json_of(&response)?["error"]["code"] == code, "{text}: {response:?}");
    }
    Ok(())
}

#[tokio::test]
async fn methods_are_listed_and_nothing_else_is_one() -> Result<()> {
    let gateway = Gateway::new(config())
        .namespace(
            Namespace::new("/")
                .public()
                .method("b", async || ())
                .on("event", async || ()),
        )
        .namespace(
            Namespace::new("/chat")
                .method("chat.history", async || ())
                .method("a", async || ()),
        );
    let host = Host::start(gateway).await?;
    let list = Http::get("/rpc").send(&host.address).await?;
    let expected = json!([
        {"name": "a", "namespace": "/chat"},
        {"name": "b", "namespace": "/"},
        {"name": "chat.history", "namespace": "/chat"},
    ]);
    assert_eq!((list.status, json_of(&list)?), (200, expected));
    for name in ["event", "c", "connect", "disconnect"] {
        let response = call(name, "").send(&host.address).await?;
        assert_eq!(response.status, 404, "{name}: {response:?}");
        assert_eq!(json_of(&response)?["error"]["code"], "not_found", "{name}");
    }
    assert_eq!(Http::get("/rpc/b").send(&host.address).await?.status, 405);
    let host = Host::start(Gateway::new(config()).namespace(Namespace::new("/").on("event", async || ()))).await?;
    assert_eq!(Http::get("/rpc").send(&host.address).await?.status, 404);
    Ok(())
}

#[tokio::test]
async fn one_name_is_one_method() -> Result<()> {
    let one = |namespace: &str| Namespace::new(namespace).method("ask", async || ());
    let gateway = Gateway::new(config()).namespace(one("/a")).namespace(one("/b"));
    let error = gateway.bind().await.expect_err("two of them").to_string();
    assert!(
        error.contains("\"ask\"") && error.contains("/a") && error.contains("/b"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn foreign_pages_do_not_call() -> Result<()> {
    let mut config = config();
    config.allowed_origins = vec!["https://friend.org".into()];
    let (sender, mut called) = unbounded_channel();
    let namespace = Namespace::new("/")
        .public()
        .method("ask", async move || sender.send("called").is_ok());
    let host = Host::start(Gateway::new(config).namespace(namespace)).await?;
    for (origin, status) in [
        ("https://elsewhere.org", 403),
        ("null", 403),
        ("https://friend.org", 200),
    ] {
        let response = call("ask", "").header("origin", origin).send(&host.address).await?;
        assert_eq!(response.status, status, "{origin}");
        let readable = response.header("access-control-allow-origin") == Some(origin);
        assert_eq!(readable, status == 200, "{origin}");
        let list = Http::get("/rpc").header("origin", origin).send(&host.address).await?;
        assert_eq!(list.status, status, "{origin}");
    }
    assert_eq!(next(&mut called).await?, "called");
    assert!(called.try_recv().is_err());
    Ok(())
}
