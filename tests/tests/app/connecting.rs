//! Who is let in, what comes before, and what when somebody goes meanwhile.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use e2e::raw::WebSocket;
use hallporter::{
    Data, DisconnectReason, Error, Gateway, Handshake, Namespace, Refusal, Request, Session, Sid, State, Talk,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::interval;

use crate::scene::{Host, accepted, ask, client, client_with, config, error_of, next, refusal, serve};

#[tokio::test]
async fn on_connect_lets_in_or_refuses() -> Result<()> {
    let namespace = Namespace::new("/")
        .on_connect(async |request: Request| {
            let auth = request.handshake().map(|handshake| handshake.auth.clone());
            let auth = auth.unwrap_or_default();
            match auth["name"].as_str() {
                Some("eve") => Err(Refusal::new("not eve").data(json!({"ask": ["ada"]})).into()),
                Some(name) => Ok(request.session().set("name", name)?),
                None => Err(Error::from(Refusal::new("no name"))),
            }
        })
        .on("name", async |session: Session| session.get::<String>("name"));
    let host = serve(namespace).await?;
    let refused = refusal(&host, json!({})).await?;
    assert_eq!(refused, json!({"message": "no name"}));
    let refused = refusal(&host, json!({"name": "eve"})).await?;
    assert_eq!(refused, json!({"message": "not eve", "data": {"ask": ["ada"]}}));
    let (mut socket, _) = client_with(&host, json!({"name": "ada"})).await?;
    assert_eq!(ask(&mut socket, json!(["name"])).await?, json!(["ada"]));
    Ok(())
}

#[tokio::test]
async fn who_is_refused_may_ask_again_on_the_same_connection() -> Result<()> {
    let namespace = Namespace::new("/").on_connect(async |request: Request| {
        match request.handshake().map(|handshake| &handshake.auth["key"]) {
            Some(key) if *key == json!(1) => Ok(()),
            _ => Err(Refusal::new("wrong key")),
        }
    });
    let host = serve(namespace).await?;
    let mut socket = WebSocket::open(&host.address).await?;
    for _ in 0..3 {
        socket.send(r#"40{"key":2}"#).await?;
        assert_eq!(socket.text().await?, r#"44{"message":"wrong key"}"#);
    }
    socket.send(r#"40{"key":1}"#).await?;
    accepted(&mut socket).await?;
    assert_eq!(host.talk.sockets().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_namespace_is_closed_unless_something_opens_it() -> Result<()> {
    let mut config = config();
    config.namespace = vec![hallporter::config::Namespace::new("/configured").public()];
    let gateway = Gateway::new(config)
        .namespace(Namespace::new("/").on("ask", async || "answer"))
        .namespace(Namespace::new("/configured").on("ask", async || "answer"))
        .namespace(Namespace::new("/open").public())
        .namespace(Namespace::new("/decided").on_connect(async || ()));
    let host = Host::start(gateway).await?;
    let refused = refusal(&host, json!({"token": "whatever"})).await?;
    let expected = json!({"message": "this namespace is not public", "data": {"code": "unauthenticated"}});
    assert_eq!(refused, expected);
    let mut socket = WebSocket::open(&host.address).await?;
    for (namespace, answer) in [
        ("/open", "40/open,{\"sid\""),
        ("/decided", "40/decided,{\"sid\""),
        ("/configured", "40/configured,{\"sid\""),
        ("/none", "44/none,{\"message\":\"Invalid namespace\"}"),
    ] {
        socket.send(&format!("40{namespace},")).await?;
        let got = socket.text().await?;
        assert!(got.starts_with(answer), "{got}");
    }
    Ok(())
}

/// What a client is sent while `on_connect` runs comes after the packet that connects it, in order, whoever sends it.
#[tokio::test]
async fn what_is_emitted_while_connecting_comes_once_connected() -> Result<()> {
    let (entered, mut waiting) = unbounded_channel();
    let (release, released) = watch::channel(false);
    let on_connect = async move |request: Request, Sid(sid): Sid, talk: Talk| {
        if request
            .handshake()
            .is_some_and(|handshake| handshake.auth["slow"] != true)
        {
            return Ok(());
        }
        talk.to(&sid).emit("own", &1).await?;
        talk.join(&sid, "lobby").await?;
        talk.to("lobby").emit("lobby", &2).await?;
        talk.emit("everybody", &3).await?;
        let _ = entered.send(sid.clone());
        let _ = released.clone().wait_for(|released| *released).await;
        talk.to(&sid).emit("own", &6).await
    };
    let namespace = Namespace::new("/")
        .public()
        .on_connect(on_connect)
        .on("to lobby", async |talk: Talk, Data(data): Data<Value>| {
            talk.to("lobby").emit("lobby", &data).await
        })
        .on("to", async |talk: Talk, Data((sid, data)): Data<(String, Value)>| {
            talk.to(sid).emit("own", &data).await
        });
    let host = serve(namespace).await?;
    let mut other = client(&host).await?;
    let mut socket = WebSocket::open(&host.address).await?;
    socket.send(r#"40{"slow":true}"#).await?;
    let sid = next(&mut waiting).await?;
    // Not everybody: who is not connected yet is in no broadcast.
    assert_eq!(other.text().await?, r#"42["everybody",3]"#);
    assert_eq!(ask(&mut other, json!(["to lobby", 4])).await?, json!([]));
    assert_eq!(ask(&mut other, json!(["to", sid, 5])).await?, json!([]));
    release.send(true)?;
    assert_eq!(accepted(&mut socket).await?, sid);
    for event in [
        r#"42["own",1]"#,
        r#"42["lobby",2]"#,
        r#"42["lobby",4]"#,
        r#"42["own",5]"#,
        r#"42["own",6]"#,
    ] {
        assert_eq!(socket.text().await?, event);
    }
    assert_eq!(ask(&mut other, json!(["to lobby", 7])).await?, json!([]));
    assert_eq!(socket.text().await?, r#"42["lobby",7]"#);
    Ok(())
}

/// A client need not wait for the answer before it sends events.
#[tokio::test]
async fn events_that_come_early_wait_for_on_connect() -> Result<()> {
    let (host, mut reports, go_on) = waiting().await?;
    for lets_in in [true, false] {
        go_on.send(false)?;
        let mut socket = WebSocket::open(&host.address).await?;
        socket.send(&format!("40{}", json!({"let": lets_in}))).await?;
        for number in 0..3 {
            socket.send(&format!("42{number}[\"event\"]")).await?;
        }
        next(&mut reports).await?;
        go_on.send(true)?;
        assert_eq!(next(&mut reports).await?, "decided");
        if lets_in {
            accepted(&mut socket).await?;
            for number in 0..3 {
                assert!(socket.text().await?.starts_with(&format!("43{number}[")));
                assert_eq!(next(&mut reports).await?, "event");
            }
            socket.send("41").await?;
            assert_eq!(next(&mut reports).await?, "client namespace disconnect");
        } else {
            assert_eq!(socket.text().await?, r#"44{"message":"no"}"#);
        }
    }
    host.close().await?;
    assert_eq!(reports.try_recv(), Err(TryRecvError::Empty));
    Ok(())
}

/// Those who are refused get nothing of what was for them, and are in no room.
#[tokio::test]
async fn nothing_is_left_of_who_is_refused() -> Result<()> {
    let namespace = Namespace::new("/").on_connect(async |Sid(sid): Sid, talk: Talk, session: Session| {
        session.bind_user("eve").await?;
        talk.join(&sid, "lobby").await?;
        talk.to("lobby").emit("lobby", &1).await?;
        Err::<(), Error>(Refusal::new("after all not").into())
    });
    let (sender, mut gone) = unbounded_channel();
    let host = serve(namespace.on_disconnect(async move |Sid(sid): Sid| sender.send(sid).is_ok())).await?;
    let mut socket = WebSocket::open(&host.address).await?;
    socket.send("40").await?;
    assert_eq!(socket.text().await?, r#"44{"message":"after all not"}"#);
    assert_eq!(host.talk.members("lobby").await?, Vec::<String>::new());
    assert!(!host.talk.is_online("eve"));
    drop(socket);
    host.close().await?;
    assert_eq!(gone.try_recv(), Err(TryRecvError::Empty));
    Ok(())
}

/// A gateway whose `on_connect` waits until it is told to go on, and lets in who says so in its `auth`; and what happens there.
async fn waiting() -> Result<(Host, UnboundedReceiver<String>, watch::Sender<bool>)> {
    let (sender, reports) = unbounded_channel();
    let (go_on, going) = watch::channel(false);
    let on_connect = async move |handshake: Handshake, Sid(sid): Sid, reports: State<UnboundedSender<String>>| {
        let _ = reports.send(sid);
        if handshake.auth["now"] != true {
            let mut going = going;
            going.wait_for(|going| *going).await?;
            let _ = reports.send("decided".into());
        }
        match handshake.auth["let"] == true {
            true => Ok(()),
            false => Err(Error::from(Refusal::new("no"))),
        }
    };
    let on_event = async |reports: State<UnboundedSender<String>>| {
        let _ = reports.send("event".into());
    };
    let namespace = Namespace::new("/")
        .on_connect(on_connect)
        .on("event", on_event)
        .on_disconnect(
            async |reason: DisconnectReason, reports: State<UnboundedSender<String>>| {
                let _ = reports.send(reason.as_str().into());
            },
        );
    let gateway = Gateway::new(config()).state(Arc::new(sender)).namespace(namespace);
    Ok((Host::start(gateway).await?, reports, go_on))
}

#[tokio::test]
async fn who_goes_while_on_connect_waits_has_gone_once_if_it_was_let_in() -> Result<()> {
    for lets_in in [true, false] {
        let (host, mut reports, go_on) = waiting().await?;
        let mut socket = WebSocket::open(&host.address).await?;
        socket.send(&format!("40{}", json!({"let": lets_in}))).await?;
        let sid = next(&mut reports).await?;
        assert_eq!(host.talk.members(&sid).await?, [sid.as_str()]);
        drop(socket);
        // Nobody says when the gateway has noticed.
        let mut pace = interval(Duration::from_millis(1));
        while !host.talk.members(&sid).await?.is_empty() {
            pace.tick().await;
        }
        go_on.send(true)?;
        assert_eq!(next(&mut reports).await?, "decided");
        if lets_in {
            assert_eq!(next(&mut reports).await?, "transport close");
        }
        // Closing waits for what handlers do.
        host.close().await?;
        assert_eq!(reports.try_recv(), Err(TryRecvError::Empty));
    }
    Ok(())
}

/// What becomes of a socket that its client has left is not told to the next one of that client.
#[tokio::test]
async fn who_left_while_on_connect_waits_may_come_back() -> Result<()> {
    for lets_in in [true, false] {
        let (host, mut reports, go_on) = waiting().await?;
        let mut socket = WebSocket::open(&host.address).await?;
        socket.send(&format!("40{}", json!({"let": lets_in}))).await?;
        next(&mut reports).await?;
        socket.send("41").await?;
        socket.send(r#"40{"let":true,"now":true}"#).await?;
        let sid = next(&mut reports).await?;
        assert_eq!(accepted(&mut socket).await?, sid);
        go_on.send(true)?;
        assert_eq!(next(&mut reports).await?, "decided");
        error_of(&mut socket, json!(["unknown"])).await?;
        assert_eq!(host.talk.members(&sid).await?, [sid]);
        if lets_in {
            assert_eq!(next(&mut reports).await?, "client namespace disconnect");
        }
        host.close().await?;
        assert_eq!(next(&mut reports).await?, "server shutting down");
        assert_eq!(reports.try_recv(), Err(TryRecvError::Empty));
    }
    Ok(())
}
