//! What handlers take, and what their results are to clients.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::raw::WebSocket;
use hallporter::{
    AppConfig, Args, Binary, Data, Error, Gateway, Handshake, IntoReply, List, Namespace, NoAck, Request, Session, Sid,
    State, Talk, User,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::scene::{Host, accepted, ask, client, client_with, config, error_of, serve};

/// Checks that events with these arguments are acked with these.
async fn acks(socket: &mut WebSocket, expected: &[(Value, Value)]) -> Result<()> {
    for (event, answer) in expected {
        let got = ask(socket, event.clone()).await?;
        ensure!(got == *answer, "{event} is acked with {got} instead of {answer}");
    }
    Ok(())
}

#[derive(Deserialize)]
struct Point {
    x: i32,
    y: i32,
}

#[tokio::test]
async fn arguments_are_read_as_one_a_tuple_none_or_a_list() -> Result<()> {
    let namespace = Namespace::new("/")
        .public()
        .on("one", async |Data(number): Data<u32>| number + 1)
        .on("struct", async |Data(point): Data<Point>| point.x * point.y)
        .on("array", async |Data(numbers): Data<Vec<u32>>| numbers.len())
        .on("tuple", async |Data((number, text)): Data<(u32, String)>| {
            format!("{text}{number}")
        })
        .on("none", async |Data(()): Data<()>| "none")
        .on("maybe", async |Data(number): Data<Option<u32>>| number)
        .on("list", async |List(numbers): List<i64>| numbers.iter().sum::<i64>())
        .on("two", async |Data(first): Data<u32>, List(all): List<u32>| {
            (first, all.len())
        });
    let host = serve(namespace).await?;
    let mut socket = client(&host).await?;
    let expected = [
        (json!(["one", 1]), json!([2])),
        // What a client sends beyond is passed over, but for a tuple.
        (json!(["one", 1, "more"]), json!([2])),
        (json!(["struct", {"x": 3, "y": -4}]), json!([-12])),
        (json!(["array", [7, 8, 9], 1]), json!([3])),
        (json!(["tuple", 1, "a"]), json!(["a1"])),
        (json!(["none"]), json!(["none"])),
        (json!(["maybe"]), json!([null])),
        (json!(["maybe", 5]), json!([5])),
        (json!(["list"]), json!([0])),
        (json!(["list", 1, -2, 3]), json!([2])),
        (json!(["two", 4, 5, 6]), json!([4, 3])),
    ];
    acks(&mut socket, &expected).await
}

#[tokio::test]
async fn wrong_arguments_are_told_with_the_name_of_the_event() -> Result<()> {
    let namespace = Namespace::new("/")
        .public()
        .on("one", async |Data(_): Data<u32>| ())
        .on("tuple", async |Data(_): Data<(u32, String)>| ())
        .on("list", async |List(_): List<u32>| ())
        .on("fine", async || "fine");
    let host = serve(namespace).await?;
    let mut socket = client(&host).await?;
    for event in [
        json!(["one", "a"]),
        json!(["one"]),
        json!(["tuple", 1]),
        json!(["tuple", 1, "a", 2]),
        json!(["list", 1, -1]),
    ] {
        let error = error_of(&mut socket, event.clone()).await?;
        assert_eq!(error["code"], "bad_request", "{event}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.starts_with(&format!("{}: ", event[0])), "{event}: {message}");
    }
    acks(&mut socket, &[(json!(["fine"]), json!(["fine"]))]).await
}

#[tokio::test]
async fn binary_data_comes_and_goes() -> Result<()> {
    let namespace = Namespace::new("/")
        .public()
        .on("sizes", async |Binary(data): Binary, Data(name): Data<String>| {
            (name, Vec::from_iter(data.iter().map(|data| data.len())))
        })
        .on("echo", async |args: Args| args);
    let host = serve(namespace).await?;
    let mut socket = client(&host).await?;
    let placeholders = [0, 1].map(|num| json!({"_placeholder": true, "num": num}));
    let data: [&[u8]; 2] = [&[1, 2, 3], &[4]];
    for (event, head, answer) in [
        ("sizes", "437", json!(["a", [3, 1]])),
        ("echo", "467", json!(["a", {"$bytes": "AQID"}, [{"$bytes": "BA=="}]])),
    ] {
        let packet = json!([event, "a", placeholders[0], [placeholders[1]]]);
        socket.send_packet(&format!("452-7{packet}"), &data).await?;
        assert_eq!(socket.packet().await?, (head.to_owned(), answer));
    }
    Ok(())
}

#[tokio::test]
async fn handlers_know_who_asks_and_how() -> Result<()> {
    let namespace = Namespace::new("/")
        .public()
        .on("sid", async |Sid(sid): Sid| sid)
        .on("handshake", async |handshake: Handshake| {
            let host = handshake.headers.get("host").map(String::from_utf8_lossy);
            let host = host.unwrap_or_default().into_owned();
            (host, handshake.query.to_string(), handshake.address, handshake.auth)
        })
        .on("request", async |request: Request| {
            let sid = request.sid().map(str::to_owned);
            let transport = format!("{:?}", request.transport());
            (
                request.event().to_owned(),
                request.namespace().to_owned(),
                sid,
                transport,
            )
        })
        .on("login", async |session: Session, Data(user): Data<String>| {
            session.bind_user(&user).await
        })
        .on("user", async |User(user): User| user)
        .on("maybe", async |user: Option<User>, number: Option<Data<u32>>| {
            (user.map(|User(user)| user), number.map(|Data(number)| number))
        });
    let host = serve(namespace).await?;
    let (mut socket, sid) = client_with(&host, json!({"key": [1]})).await?;
    let query = "EIO=4&transport=websocket";
    let expected = [
        (json!(["sid"]), json!([sid])),
        (
            json!(["handshake"]),
            json!(["localhost", query, "127.0.0.1", {"key": [1]}]),
        ),
        (json!(["request"]), json!(["request", "/", sid, "Some(Websocket)"])),
        (json!(["maybe", "no number"]), json!([null, null])),
    ];
    acks(&mut socket, &expected).await?;
    assert_eq!(error_of(&mut socket, json!(["user"])).await?["code"], "unauthenticated");
    let expected = [
        (json!(["login", "ada"]), json!([])),
        (json!(["user"]), json!(["ada"])),
        (json!(["maybe", 1]), json!(["ada", 1])),
    ];
    acks(&mut socket, &expected).await
}

#[tokio::test]
async fn handlers_have_the_configuration_and_the_state() -> Result<()> {
    let config = config();
    config.app.set("mail.host", "localhost")?;
    let namespace = Namespace::new("/")
        .public()
        .on("config", async |config: AppConfig| config.get::<String>("mail.host"))
        .on("missing", async |config: AppConfig| config.get::<String>("mail.port"))
        .on("state", async |number: State<u32>, text: State<String>| {
            (*number, text.to_string())
        })
        .on("maybe", async |missing: Option<State<u64>>| missing.is_none());
    let gateway = Gateway::new(config)
        .state(Arc::new(7_u32))
        .state(Arc::new("seven".to_owned()));
    let host = Host::start(gateway.namespace(namespace)).await?;
    let mut socket = client(&host).await?;
    let expected = [
        (json!(["config"]), json!(["localhost"])),
        (json!(["state"]), json!([7, "seven"])),
        (json!(["maybe"]), json!([true])),
    ];
    acks(&mut socket, &expected).await?;
    assert_eq!(error_of(&mut socket, json!(["missing"])).await?["code"], "internal");
    Ok(())
}

#[tokio::test]
async fn state_that_is_missing_is_named_before_anybody_connects() -> Result<()> {
    let handler = async |_: State<String>| ();
    let namespace = || Namespace::new("/chat");
    let cases = [
        ("\"say\"", namespace().on("say", handler)),
        (
            "\"say\"",
            namespace().on("say", async |_: Session, _: State<String>| ()),
        ),
        ("\"say\"", namespace().method("say", handler)),
        ("\"on_connect\"", namespace().on_connect(handler)),
        ("\"on_disconnect\"", namespace().on_disconnect(handler)),
        ("\"on_any\"", namespace().on_any(handler)),
        ("\"on_error\"", namespace().on_error(handler)),
        ("\"on_user\"", namespace().on_user(handler)),
        ("\"told\"", namespace().on_server_side("told", handler)),
    ];
    for (name, namespace) in cases {
        let bound = Gateway::new(config()).namespace(namespace).bind().await;
        let error = bound.expect_err(name).to_string();
        for part in ["/chat", name, "State<alloc::string::String>", "Gateway::state"] {
            assert!(error.contains(part), "{part} is missing: {error}");
        }
    }
    let gateway = || Gateway::new(config());
    for (name, gateway) in [
        ("every 1m", gateway().every(Duration::from_secs(60), handler)),
        ("listening", gateway().on_listening(handler)),
        ("\"on_error\" of the gateway", gateway().on_error(handler)),
    ] {
        let error = gateway.bind().await.expect_err(name).to_string();
        assert!(error.contains(name) && error.contains("State<"), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_returned_is_the_ack() -> Result<()> {
    let namespace = Namespace::new("/")
        .public()
        .on("unit", async || ())
        .on("tuple", async || (1, "two", [3]))
        .on("one", async || ((1, 2),))
        .on("vector", async || vec![1, 2])
        .on("array", async || [1, 2])
        .on("null", async || None::<u32>)
        .on("args", async || Args::encode(&("a", "b")).unwrap_or_default())
        .on("reply", async || ("as", "reply").into_reply())
        .on("ok", async || Ok::<_, Error>((1, 2)))
        .on("no ack", async || NoAck)
        .on("ok no ack", async || Ok::<_, Error>(NoAck));
    let host = serve(namespace).await?;
    let mut socket = client(&host).await?;
    let expected = [
        (json!(["unit"]), json!([])),
        (json!(["tuple"]), json!([1, "two", [3]])),
        (json!(["one"]), json!([[1, 2]])),
        (json!(["vector"]), json!([[1, 2]])),
        // As serde has it, an array of fixed length is a tuple.
        (json!(["array"]), json!([1, 2])),
        (json!(["null"]), json!([null])),
        (json!(["args"]), json!(["a", "b"])),
        (json!(["reply"]), json!(["as", "reply"])),
        (json!(["ok"]), json!([1, 2])),
    ];
    acks(&mut socket, &expected).await?;
    // What follows overtakes nothing, so there is no ack of what was before.
    for event in ["no ack", "ok no ack"] {
        socket.send(&format!("421{}", json!([event]))).await?;
    }
    acks(&mut socket, &expected[..1]).await
}

#[tokio::test]
async fn an_ack_that_nobody_asked_for_is_not_sent() -> Result<()> {
    let namespace = Namespace::new("/")
        .public()
        .on("quiet", async || "an ack")
        .on("wrong", async |Data(_): Data<u32>| "an ack")
        .on("last", async || "last");
    let host = serve(namespace).await?;
    let mut socket = client(&host).await?;
    for event in ["quiet", "wrong", "nobody"] {
        socket.send(&format!("42{}", json!([event]))).await?;
    }
    acks(&mut socket, &[(json!(["last"]), json!(["last"]))]).await
}

#[tokio::test]
async fn events_that_nobody_handles_are_said_so_or_go_to_on_any() -> Result<()> {
    let host = serve(Namespace::new("/").public().on("known", async || "known")).await?;
    let mut socket = client(&host).await?;
    let error = error_of(&mut socket, json!(["unknown", 1])).await?;
    let message = "nobody handles the event \"unknown\"";
    assert_eq!(error, json!({"code": "unhandled", "message": message}));

    let any = async |request: Request, List(args): List<Value>| (request.event().to_owned(), args);
    let namespace = Namespace::new("/").public().on("known", async || "known").on_any(any);
    let host = serve(namespace).await?;
    let mut socket = client(&host).await?;
    let expected = [
        (json!(["known"]), json!(["known"])),
        (json!(["unknown", 1, "a"]), json!(["unknown", [1, "a"]])),
        (json!([""]), json!(["", []])),
    ];
    acks(&mut socket, &expected).await
}

#[tokio::test]
async fn a_pattern_is_one_code_for_many_namespaces() -> Result<()> {
    let say = async |talk: Talk, Data(text): Data<String>| talk.emit("said", &text).await;
    let namespace = Namespace::new("/tenant-{id}")
        .public()
        .on("say", say)
        .on("where", async |request: Request| request.namespace().to_owned());
    let host = serve(namespace).await?;
    let mut clients = Vec::new();
    for tenant in ["/tenant-a", "/tenant-b"] {
        let mut socket = WebSocket::open(&host.address).await?;
        socket.send(&format!("40{tenant},")).await?;
        let answer = socket.text().await?;
        assert!(answer.starts_with(&format!("40{tenant},{{")), "{answer}");
        assert_eq!(socket.ask_in(tenant, "where", json!(null)).await?, tenant);
        clients.push(socket);
    }
    let [a, b] = clients.as_mut_slice() else { unreachable!() };
    a.send(r#"42/tenant-a,["say","of a"]"#).await?;
    b.send(r#"42/tenant-b,["say","of b"]"#).await?;
    assert_eq!(a.text().await?, r#"42/tenant-a,["said","of a"]"#);
    assert_eq!(b.text().await?, r#"42/tenant-b,["said","of b"]"#);
    Ok(())
}

/// The namespaces of one connection do not wait for each other.
#[tokio::test]
async fn one_connection_is_in_several_namespaces() -> Result<()> {
    let (release, released) = tokio::sync::watch::channel(false);
    let slow = Namespace::new("/").public().on("wait", async move || {
        let mut released = released;
        released.wait_for(|released| *released).await.map(drop)
    });
    let fast = Namespace::new("/fast").public().on("ask", async || "now");
    let host = Host::start(Gateway::new(config()).namespace(slow).namespace(fast)).await?;
    let mut socket = WebSocket::open(&host.address).await?;
    socket.send("40").await?;
    accepted(&mut socket).await?;
    socket.send("40/fast,").await?;
    assert!(socket.text().await?.starts_with("40/fast,{"));
    socket.send(r#"421["wait"]"#).await?;
    assert_eq!(socket.ask_in("/fast", "ask", json!(null)).await?, "now");
    release.send(true)?;
    assert_eq!(socket.text().await?, "431[]");
    Ok(())
}
