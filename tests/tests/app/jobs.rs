//! What a gateway does again and again, on each gateway or once in the cluster.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{PATIENCE, RedisServer};
use hallporter::{Error, Failure, Gateway, Namespace, Request, Talk};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use crate::scene::{Host, client, cluster_config, config, next, panic_quietly};

const OFTEN: Duration = Duration::from_millis(10);

#[tokio::test]
async fn a_job_speaks_to_the_clients() -> Result<()> {
    let gateway = Gateway::new(config()).namespace(Namespace::new("/").public()).every(
        OFTEN,
        async |talk: Talk, request: Request| {
            let about = (request.event().to_owned(), request.sid().is_none(), request.user());
            talk.emit("tick", &about).await
        },
    );
    let host = Host::start(gateway).await?;
    let mut socket = client(&host).await?;
    let tick = format!("42{}", json!(["tick", "every 10ms", true, null]));
    for _ in 0..3 {
        assert_eq!(socket.text().await?, tick);
    }
    Ok(())
}

/// In memory too, there is somebody who leads.
#[tokio::test]
async fn a_lonely_gateway_does_what_is_done_once() -> Result<()> {
    let (sender, mut ticks) = unbounded_channel();
    let gateway = Gateway::new(config()).every_once_per_cluster(OFTEN, async move || sender.send(()).is_ok());
    let _host = Host::start(gateway).await?;
    for _ in 0..3 {
        next(&mut ticks).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_job_that_fails_or_panics_goes_on() -> Result<()> {
    let (sender, mut failures) = unbounded_channel();
    let gateway = Gateway::new(config())
        .every(OFTEN, async || Err::<(), _>(Error::new("asked", "to fail")))
        .every(OFTEN * 2, async || panic_quietly())
        .on_error(async move |failure: Failure| sender.send(failure).is_ok());
    let _host = Host::start(gateway).await?;
    let (mut failed, mut panicked) = (0, 0);
    while failed < 3 || panicked < 3 {
        let failure = next(&mut failures).await?;
        assert_eq!(failure.sid, None);
        match failure.event.as_str() {
            "every 10ms" if failure.error.code() == "asked" => failed += 1,
            "every 20ms" if failure.error.code() == "internal" => panicked += 1,
            event => anyhow::bail!("{event}: {}", failure.error),
        }
    }
    Ok(())
}

#[tokio::test]
async fn calls_of_a_job_do_not_overlap_and_end_with_the_gateway() -> Result<()> {
    let (sender, mut reports) = unbounded_channel();
    let gateway = Gateway::new(config()).every(OFTEN, async move || {
        let _ = sender.send("begins");
        tokio::time::sleep(3 * OFTEN).await;
        let _ = sender.send("ends");
    });
    let host = Host::start(gateway).await?;
    for _ in 0..3 {
        assert_eq!(next(&mut reports).await?, "begins");
        assert_eq!(next(&mut reports).await?, "ends");
    }
    // The call that has begun is not cut off.
    assert_eq!(next(&mut reports).await?, "begins");
    host.close().await?;
    assert_eq!(next(&mut reports).await?, "ends");
    assert!(reports.recv().await.is_none(), "it goes on");
    Ok(())
}

#[tokio::test]
async fn an_interval_of_nothing_is_a_mistake() -> Result<()> {
    let gateway = Gateway::new(config()).every(Duration::ZERO, async || ());
    let error = gateway.bind().await.expect_err("no interval").to_string();
    assert!(error.contains("every 0s"), "{error}");
    Ok(())
}

/// A gateway that reports what it does: what each does, and what is done once.
async fn reporting(redis: &RedisServer, name: usize, reports: &UnboundedSender<(&'static str, usize)>) -> Result<Host> {
    let (each, once) = (reports.clone(), reports.clone());
    let gateway = Gateway::new(cluster_config(redis)?)
        .every(OFTEN, async move || each.send(("each", name)).is_ok())
        .every_once_per_cluster(OFTEN, async move || once.send(("once", name)).is_ok());
    Host::start(gateway).await
}

#[tokio::test]
async fn one_gateway_does_what_is_done_once_until_another_takes_over() -> Result<()> {
    let redis = RedisServer::start().await?;
    let (sender, mut reports) = unbounded_channel();
    let mut hosts = [None, None];
    for (name, host) in hosts.iter_mut().enumerate() {
        *host = Some(reporting(&redis, name, &sender).await?);
    }
    let (_, leader) = timeout(PATIENCE, async {
        loop {
            let report = next(&mut reports).await?;
            if report.0 == "once" {
                return anyhow::Ok(report);
            }
        }
    })
    .await??;
    let (mut once, mut each) = (1, [0, 0]);
    while once < 20 || each.iter().any(|count| *count < 20) {
        match next(&mut reports).await? {
            ("each", name) => each[name] += 1,
            (_, name) => {
                ensure!(name == leader, "two do it");
                once += 1;
            }
        }
    }
    let gone = hosts[leader].take().context("it is there")?;
    gone.close().await?;
    // What it did before it was gone is passed over.
    while reports.try_recv().is_ok() {}
    let other = 1 - leader;
    let mut once = 0;
    timeout(PATIENCE, async {
        while once < 5 {
            let (what, name) = next(&mut reports).await?;
            ensure!(name == other, "{leader} goes on");
            once += usize::from(what == "once");
        }
        Ok(())
    })
    .await?
}
