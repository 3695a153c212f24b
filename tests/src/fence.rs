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

/// What each client received until nothing more can be coming of what was acked or published before.
///
/// The two `senders`, places of clients on different gateways, broadcast to their namespace in turn: each gateway then
/// has read from the broker all that the other published, and what it published itself came back to it.
///
/// # Errors
/// A broadcast does not reach all of them in time.
pub async fn settle(clients: &mut [Client], senders: [usize; 2]) -> Result<Vec<Vec<Report>>> {
    let mut received = vec![Vec::new(); clients.len()];
    for sender in [senders[0], senders[1], senders[0]] {
        let name = fence_name();
        let request = json!([{"event": name, "data": null, "self": true}]);
        clients[sender].ask("broadcast", request).await?;
        for (all, new) in received.iter_mut().zip(until_each(clients, &name).await?) {
            all.extend(new);
        }
    }
    Ok(received)
}

/// What each client received before the event `last`, which someone has emitted.
///
/// # Errors
/// It does not reach all of them in time.
pub async fn until_each(clients: &mut [Client], last: &str) -> Result<Vec<Vec<Report>>> {
    let mut received = Vec::new();
    for client in clients {
        received.push(client.until(last).await?);
    }
    Ok(received)
}
