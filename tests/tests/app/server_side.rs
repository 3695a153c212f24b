//! What the code of one gateway tells the code of the others.

use std::sync::Arc;

use anyhow::Result;
use e2e::RedisServer;
use hallporter::{Data, Error, Failure, Gateway, Namespace, Request, State, Talk};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::scene::{Host, client, cluster_config, config, error_of, meet, next, panic_quietly};

type Reports = State<UnboundedSender<String>>;

/// A gateway that reports what it hears, and fails as it is asked to.
async fn start(redis: &RedisServer) -> Result<(Host, UnboundedReceiver<String>)> {
    let (sender, reports) = unbounded_channel::<String>();
    let hear = async |Data(number): Data<u32>, request: Request, reports: Reports| {
        assert_eq!((request.sid(), request.user(), request.namespace()), (None, None, "/"));
        let _ = reports.send(format!("hears {number}"));
        match number {
            13 => {
                panic_quietly();
                Ok(())
            }
            17 => Err(Error::new("asked", "to fail")),
            _ => Ok(()),
        }
    };
    let namespace = Namespace::new("/")
        .public()
        // No client has sent it, so it is not asked.
        .guard(|_: &Request| Err(Error::forbidden("no events")))
        .on("tell", async || ())
        .on_server_side("number", hear)
        .on_error(async |failure: Failure, reports: Reports| {
            reports.send(format!("fails: {}", failure.error.code())).is_ok()
        });
    let gateway = Gateway::new(cluster_config(redis)?).state(Arc::new(sender));
    let other = async |reports: Reports| reports.send("hears what is for another".into()).is_ok();
    let other = Namespace::new("/other").on_server_side("number", other);
    Ok((
        Host::start(gateway.namespace(namespace).namespace(other)).await?,
        reports,
    ))
}

#[tokio::test]
async fn all_others_hear_it_in_order_and_nobody_else() -> Result<()> {
    let redis = RedisServer::start().await?;
    let (a, mut told_a) = start(&redis).await?;
    let (b, mut told_b) = start(&redis).await?;
    let (c, mut told_c) = start(&redis).await?;
    meet([&a, &b, &c].into_iter()).await?;
    let mut socket = client(&b).await?;
    for number in 0..20 {
        a.talk.server_side_emit("number", &number).await?;
    }
    a.talk.server_side_emit("nobody hears", &()).await?;
    for told in [&mut told_b, &mut told_c] {
        for number in 0..20 {
            assert_eq!(next(told).await?, format!("hears {number}"));
            match number {
                13 => assert_eq!(next(told).await?, "fails: internal"),
                17 => assert_eq!(next(told).await?, "fails: asked"),
                _ => {}
            }
        }
    }
    // Back the other way: what A hears first is not its own.
    b.talk.server_side_emit("number", &100).await?;
    assert_eq!(next(&mut told_a).await?, "hears 100");
    assert_eq!(next(&mut told_c).await?, "hears 100");
    // A client has nothing to do with it.
    b.talk.emit("fence", &()).await?;
    assert_eq!(socket.text().await?, r#"42["fence"]"#);
    assert_eq!(error_of(&mut socket, json!(["number", 1])).await?["code"], "unhandled");
    assert_eq!(error_of(&mut socket, json!(["tell"])).await?["code"], "forbidden");
    assert_eq!(next(&mut told_b).await?, "fails: forbidden");
    Ok(())
}

#[tokio::test]
async fn a_gateway_says_when_it_listens_for_the_first_time_and_again() -> Result<()> {
    let redis = RedisServer::start().await?;
    let (sender, mut listening) = unbounded_channel();
    let gateway = Gateway::new(cluster_config(&redis)?)
        .on_listening(async move |request: Request, _: Talk| sender.send(request.event().to_owned()).is_ok());
    let _host = Host::start(gateway).await?;
    assert_eq!(next(&mut listening).await?, "listening");
    redis.kill().await?;
    redis.restart().await?;
    assert_eq!(next(&mut listening).await?, "listening");
    Ok(())
}

#[tokio::test]
async fn without_a_broker_it_listens_once() -> Result<()> {
    let (sender, mut listening) = unbounded_channel();
    let gateway = Gateway::new(config()).on_listening(async move || sender.send(()).is_ok());
    let host = Host::start(gateway).await?;
    next(&mut listening).await?;
    host.close().await?;
    assert!(listening.try_recv().is_err());
    Ok(())
}
