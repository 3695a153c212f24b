//! The reference application that all tests of one program share, on Hallporter or, to check the tests, on Node.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::sync::{OnceCell, oneshot};
use tokio::time::{Instant, interval};

use crate::raw::WebSocket;
use crate::{Gateway, PATIENCE};

/// Whether the tests run against Node's own server, which shows that they are neutral.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one switch of the tests")]
pub(crate) fn on_node() -> bool {
    std::env::var("HALLPORTER_TEST_SERVER").is_ok_and(|server| server == "node")
}

/// Whether the tests run against Node's own server, which differs here from the documents, or from what we ask: as `how` says.
#[must_use]
#[expect(clippy::print_stderr, reason = "the test runner shows it when the test fails")]
pub fn node_deviates(how: &str) -> bool {
    if on_node() {
        eprintln!("Node {how}");
    }
    on_node()
}

static SHARED: OnceCell<String> = OnceCell::const_new();

/// The address of a running reference application, with its own settings; the first to ask starts it.
///
/// # Errors
/// It is not built or does not start.
pub async fn shared() -> Result<&'static str> {
    SHARED.get_or_try_init(start).await.map(String::as_str)
}

/// It lives on a thread of its own, since a test's thread and its children end with the test.
async fn start() -> Result<String> {
    let (sender, address) = oneshot::channel();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let gateway = Gateway::reference("reference", &[]).await;
            let _ = sender.send(gateway.as_ref().map_or_else(
                |error| Err(anyhow!("{error:#}")),
                |gateway| Ok(gateway.address().to_owned()),
            ));
            std::future::pending::<()>().await;
        });
    });
    address.await.context("the thread has ended")?
}

/// Why the client with this tag was disconnected, as the application's handler was told, once it was.
///
/// # Errors
/// It is not disconnected in time.
pub async fn disconnect_reason(address: &str, tag: &str) -> Result<Value> {
    let mut witness = WebSocket::joined(address).await?;
    let deadline = Instant::now() + PATIENCE;
    let mut pace = interval(Duration::from_millis(20));
    loop {
        let reason = witness.ask("last-disconnect", json!(tag)).await?;
        if !reason.is_null() {
            return Ok(reason);
        }
        ensure!(Instant::now() < deadline, "{tag} is not disconnected");
        pace.tick().await;
    }
}
