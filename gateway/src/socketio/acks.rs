//! Acks that clients owe.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hallporter_adapters::{Ack, Args};
use tokio::sync::{mpsc, oneshot};

use super::Sid;
use super::socket::Socket;

/// The acks one client owes, by number.
#[derive(Debug, Default)]
pub(super) struct Acks(Mutex<Option<Box<Owed>>>);

type Owed = HashMap<u64, Arc<Asked>>;

/// One emit whose acks are waited for, shared by all that owe one. When the last has answered or gone, the waiting is over.
#[derive(Debug)]
pub(super) struct Asked {
    answers: mpsc::Sender<Ack>,
    _all_answered: oneshot::Sender<()>,
}

impl Acks {
    pub(super) fn expect(&self, id: u64, asked: Arc<Asked>) {
        let mut acks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        acks.get_or_insert_default().insert(id, asked);
    }

    pub(super) fn forget(&self, id: u64) -> Option<Arc<Asked>> {
        let mut acks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let by_id = acks.as_mut()?;
        let asked = by_id.remove(&id);
        if by_id.is_empty() {
            *acks = None;
        }
        asked
    }

    /// The client will answer nothing any more.
    pub(super) fn clear(&self) {
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// The client has answered; an answer nobody waits for is passed over.
    pub(super) fn answer(&self, id: u64, sid: &Sid, args: Args, runtime: &tokio::runtime::Handle) {
        let Some(asked) = self.forget(id) else { return };
        let sid = Some(sid.as_str().to_owned());
        if let Err(mpsc::error::TrySendError::Full(ack)) = asked.answers.try_send(Ack { sid, args }) {
            // Each client that was asked waits here once at most.
            runtime.spawn(async move { asked.answers.send(ack).await });
        }
    }
}

impl Asked {
    /// An emit that is about to ask clients, and what becomes of it.
    pub(super) fn new(answers: mpsc::Sender<Ack>) -> (Arc<Self>, oneshot::Receiver<()>) {
        let (all_answered, over) = oneshot::channel();
        let asked = Self {
            answers,
            _all_answered: all_answered,
        };
        (Arc::new(asked), over)
    }
}

/// Waits until all have answered, and has the others forgotten when the time is over.
pub(super) async fn end(over: oneshot::Receiver<()>, timeout: Duration, id: u64, asked: Vec<Socket>) {
    if tokio::time::timeout(timeout, over).await.is_err() {
        for socket in asked {
            drop(socket.acks().forget(id));
        }
    }
}
