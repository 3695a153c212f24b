//! A server that shows itself and holds no sockets.

use std::fmt;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::envelope::{Call, Event};
use crate::{Ack, Emit, LocalSockets, Membership, RoomIsSid, SocketInfo, Target};

/// The [`LocalSockets`] of a worker: there are none, and what is asked of this instance goes to a function.
///
/// The function is called by the listener, so it returns at once: it puts what it is given into a queue of its own. Whoever gave
/// `reply_to` waits for [`Cluster::answer`](crate::Cluster::answer).
///
/// ```
/// use std::sync::Arc;
///
/// use hallporter_adapters::url::BrokerUrl;
/// use hallporter_adapters::{Asked, ManagerOptions, NoSockets, Role, manager};
/// use tokio::sync::mpsc;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let options = ManagerOptions {
///     role: Role::Worker,
///     instance: Some("chat-1".into()),
///     instance_type: "chat".into(),
///     ..ManagerOptions::default()
/// };
/// let manager = manager(&BrokerUrl::parse("memory://")?, options)?;
/// let (sender, mut asked) = mpsc::channel::<Asked>(1024);
/// // What finds no room is lost, and whoever asked will time out.
/// manager.start(Arc::new(NoSockets::new(move |asked| drop(sender.try_send(asked)))));
/// # drop((manager, asked));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct NoSockets<F> {
    asked: F,
}

/// What is asked of an instance.
#[derive(Clone, Debug)]
pub enum Asked {
    /// To handle an event of a client.
    Event(Box<Event>),
    /// To run a method.
    Call(Box<Call>),
}

impl<F: Fn(Asked) + Send + Sync + 'static> NoSockets<F> {
    /// Hands what is asked to a function.
    pub const fn new(asked: F) -> Self {
        Self { asked }
    }
}

impl<F> fmt::Debug for NoSockets<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoSockets").finish_non_exhaustive()
    }
}

impl<F: Fn(Asked) + Send + Sync + 'static> LocalSockets for NoSockets<F> {
    fn deliver(&self, _: &Emit) {}

    fn deliver_with_ack(&self, _: &Emit, _: Duration, _: mpsc::Sender<Ack>) -> usize {
        0
    }

    fn has(&self, _: &str, _: &str) -> bool {
        false
    }

    fn enter_room(&self, _: &Membership) -> Result<(), RoomIsSid> {
        Ok(())
    }

    fn leave_room(&self, _: &Membership) {}

    fn close_room(&self, _: &str, _: &str) -> Result<(), RoomIsSid> {
        Ok(())
    }

    fn disconnect(&self, _: &str, _: &str, _: bool) {}

    fn sockets(&self, _: &str, _: &Target) -> Vec<SocketInfo> {
        Vec::new()
    }

    fn called(&self, call: Call) {
        (self.asked)(Asked::Call(Box::new(call)));
    }

    fn event(&self, event: Event) {
        (self.asked)(Asked::Event(Box::new(event)));
    }
}
