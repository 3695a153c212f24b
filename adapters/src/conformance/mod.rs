//! The behaviour every manager has to show, as ordinary functions.
//!
//! Whoever writes a broker or a manager of their own says in [`Cluster`] how to make one, and calls [`run`]:
//!
//! ```
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use hallporter_adapters::broker::{Broker, MemoryBroker, MemoryHub};
//! use hallporter_adapters::conformance::{self, Cluster};
//! use hallporter_adapters::wire::PythonWire;
//! use hallporter_adapters::{ClientManager, ManagerOptions, MemoryManager};
//!
//! struct Memory(Arc<MemoryHub>);
//!
//! #[async_trait::async_trait]
//! impl Cluster for Memory {
//!     fn manager(&self, options: ManagerOptions) -> Arc<dyn ClientManager> {
//!         let broker = MemoryBroker::new(self.0.clone());
//!         Arc::new(MemoryManager::new(broker, PythonWire::new(&options.channel), options))
//!     }
//!
//!     async fn publish(&self, topic: &str, body: Bytes) {
//!         MemoryBroker::new(self.0.clone()).publish(topic, body).await.unwrap();
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
//! let left_out = conformance::run(&Memory(Arc::default())).await;
//! assert_eq!(left_out, conformance::OUTAGE_CASES, "memory cannot be cut");
//! # });
//! ```
//!
//! A case fails by panicking. It has a channel of its own, so that cases may share a broker, and waits for events, never
//! for a fixed time. What must *not* arrive is proved by an event sent after it that does.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "this is a test; a case that fails panics"
)]

pub mod acks;
pub mod emits;
pub mod hosts;
pub mod instances;
pub mod messages;
pub mod outage;
pub mod receipts;
mod recording;
pub mod rooms;
mod stage;
pub mod users;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::{ClientManager, ManagerOptions};

pub use recording::RecordingSockets;

/// How long a case may take. None needs more than a few seconds.
const LIMIT: Duration = Duration::from_secs(120);

/// The broker under test.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// A new manager on the broker under test, not started yet.
    fn manager(&self, options: ManagerOptions) -> Arc<dyn ClientManager>;

    /// Publishes a message past all managers, as a host does that is not Hallporter's.
    async fn publish(&self, topic: &str, body: Bytes);

    /// How to make the broker go away, where that is possible.
    fn outage(&self) -> Option<&dyn Outage> {
        None
    }

    /// How many messages have been rejected for this reason (`hallporter_broker_rejected_total`), where a metrics
    /// recorder is installed that can be asked.
    fn rejected(&self, _reason: &str) -> Option<u64> {
        None
    }

    /// How many replies have been passed over (`hallporter_replies_dropped_total`), as [`rejected`](Self::rejected).
    fn replies_dropped(&self, _reason: &str) -> Option<u64> {
        None
    }
}

/// A broker that can be made to go away.
#[async_trait]
pub trait Outage: Send + Sync {
    /// Breaks all connections to the broker, and lets nobody connect.
    async fn cut(&self);

    /// Lets managers connect again, at the same URL.
    async fn restore(&self);
}

/// One demand on a manager.
#[derive(Clone, Copy)]
pub struct Case {
    /// Where it stands: `module::function`.
    pub name: &'static str,
    run: for<'a> fn(&'a dyn Cluster) -> BoxFuture<'a, ()>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

impl Case {
    /// Runs this case alone.
    ///
    /// # Panics
    /// When the managers do not behave.
    pub async fn run(&self, cluster: &dyn Cluster) {
        (self.run)(cluster).await;
    }
}

macro_rules! cases {
    ($($module:ident: $($case:ident),+;)+) => {
        &[$($(Case {
            name: concat!(stringify!($module), "::", stringify!($case)),
            run: |cluster| Box::pin($module::$case(cluster)),
        }),+),+]
    };
}

/// All cases. The names of those that need an [`Outage`] are in [`OUTAGE_CASES`].
pub const CASES: &[Case] = cases! {
    emits: to_a_room, to_everyone, to_several_rooms, to_a_sid, to_nobody, past_some, by_namespace, by_a_worker;
    rooms: enter_and_leave, close, disconnect, what_is_here_is_not_published, room_is_sid;
    acks: to_the_asking_host_alone, from_all_hosts, lost, of_who_goes, binary, by_a_worker;
    messages: payloads, volatile, garbage, too_large, in_order;
    hosts: come_and_go, query, query_in_parts, server_side_emit, clusters_apart;
    instances: come_and_go, call, notify, event, none, of_one_that_goes, late, by_a_worker;
    receipts: of_all_gateways, missing, with_acks, by_a_worker;
    users: online, hosts_go, replace_old, refuse_new, to_a_user, one_leads;
    outage: messages_flow_again;
};

/// The cases that [`run`] leaves out where the broker cannot be cut.
pub const OUTAGE_CASES: &[&str] = &["outage::messages_flow_again"];

/// Runs all cases, one after the other; returns the names of those left out because the broker cannot be cut.
///
/// # Panics
/// When cases failed, with the names of all that did.
#[must_use = "what was left out has not been proved"]
pub async fn run(cluster: &dyn Cluster) -> Vec<&'static str> {
    let mut left_out = Vec::new();
    let mut failed = Vec::new();
    for case in CASES {
        if cluster.outage().is_none() && OUTAGE_CASES.contains(&case.name) {
            left_out.push(case.name);
            continue;
        }
        let attempt = AssertUnwindSafe(tokio::time::timeout(LIMIT, case.run(cluster)));
        match attempt.catch_unwind().await {
            Ok(Ok(())) => tracing::debug!(case = case.name, "passed"),
            Ok(Err(_)) => failed.push(format!("{}: no end after {LIMIT:?}", case.name)),
            Err(panic) => {
                let why = panic.downcast_ref::<String>().map(String::as_str);
                let why = why.or_else(|| panic.downcast_ref().copied()).unwrap_or("panicked");
                failed.push(format!("{}: {why}", case.name));
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {} conformance cases failed:\n{}",
        failed.len(),
        CASES.len(),
        failed.join("\n")
    );
    left_out
}
