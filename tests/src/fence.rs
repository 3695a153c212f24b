//! How a test knows that nothing more is coming: an event sent last, on the way all others took.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use serde_json::json;

use crate::{Client, Report};

/// A name for a fence that no other has.
#[must_use]
pub fn fence_name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("fence-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Has the first client broadcast a fence to its namespace, and returns what each client received before it.
///
/// It holds back what the gateway of that client sent; whatever it was asked has to be acked before.
///
/// # Errors
/// It does not reach all of them in time.
pub async fn fence(clients: &mut [&mut Client]) -> Result<Vec<Vec<Report>>> {
    let name = fence_name();
    clients[0]
        .ask(
            "broadcast",
            json!([{"event": name, "data": null, "self": true}]),
        )
        .await?;
    until_each(clients, &name).await
}

/// What each client received before the event `last`, which someone has emitted.
///
/// # Errors
/// It does not reach all of them in time.
pub async fn until_each(clients: &mut [&mut Client], last: &str) -> Result<Vec<Vec<Report>>> {
    let mut received = Vec::new();
    for client in clients {
        received.push(client.until(last).await?);
    }
    Ok(received)
}
