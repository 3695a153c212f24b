//! A queue of which each message goes to one of those who take.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::super::{BrokerError, Hold, Task};

#[derive(Debug, Default)]
pub(super) struct WorkQueue {
    waiting: Mutex<VecDeque<Waiting>>,
    /// Wakes one of those who take.
    came: Notify,
}

#[derive(Clone, Debug)]
struct Waiting {
    body: Bytes,
    /// How often it has been handed out.
    attempts: u32,
}

impl WorkQueue {
    /// # Errors
    /// When as many wait as may.
    pub(super) fn put(&self, body: Bytes, length: usize) -> Result<(), BrokerError> {
        let mut waiting = self.waiting();
        if waiting.len() >= length {
            return Err(BrokerError::Full);
        }
        waiting.push_back(Waiting { body, attempts: 0 });
        drop(waiting);
        self.came.notify_one();
        Ok(())
    }

    /// Messages as they come; what is buried goes to `dead`, which keeps the newest of this `length`.
    pub(super) fn take(self: Arc<Self>, dead: Arc<Self>, in_hand: usize, length: usize) -> BoxStream<'static, Task> {
        let hands = Arc::new(Semaphore::new(in_hand.clamp(1, Semaphore::MAX_PERMITS)));
        unfold((self, dead, hands), move |(queue, dead, hands)| async move {
            let hand = hands.clone().acquire_owned().await.ok()?;
            let Waiting { body, attempts } = queue.next().await;
            let attempt = attempts.saturating_add(1);
            let held = Held {
                queue: queue.clone(),
                dead: dead.clone(),
                length,
                message: Some(Waiting {
                    body: body.clone(),
                    attempts: attempt,
                }),
                _hand: hand,
            };
            let hold = Box::new(held);
            Some((Task { body, attempt, hold }, (queue, dead, hands)))
        })
        .boxed()
    }

    async fn next(&self) -> Waiting {
        loop {
            if let Some(next) = self.waiting().pop_front() {
                return next;
            }
            self.came.notified().await;
        }
    }

    /// Back to where it was taken, so that it is the next.
    fn give_back(&self, message: Waiting) {
        self.waiting().push_front(message);
        self.came.notify_one();
    }

    /// Keeps a dead letter; the oldest goes when there are too many.
    fn bury(&self, body: Bytes, length: usize) {
        let mut waiting = self.waiting();
        if waiting.len() >= length {
            waiting.pop_front();
        }
        waiting.push_back(Waiting { body, attempts: 0 });
        drop(waiting);
        self.came.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message in somebody's hand.
#[derive(Debug)]
struct Held {
    queue: Arc<WorkQueue>,
    dead: Arc<WorkQueue>,
    length: usize,
    /// None once it is done with.
    message: Option<Waiting>,
    _hand: OwnedSemaphorePermit,
}

#[async_trait]
impl Hold for Held {
    async fn done(mut self: Box<Self>) -> Result<(), BrokerError> {
        self.message = None;
        Ok(())
    }

    async fn again(self: Box<Self>) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn bury(mut self: Box<Self>) -> Result<(), BrokerError> {
        if let Some(message) = self.message.take() {
            self.dead.bury(message.body, self.length);
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(message) = self.message.take() {
            self.queue.give_back(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_queue_of_dead_letters_loses_the_oldest() {
        let (queue, dead) = (Arc::<WorkQueue>::default(), Arc::<WorkQueue>::default());
        let mut tasks = queue.clone().take(dead.clone(), 1, 2);
        for body in ["1", "2", "3"] {
            queue.put(Bytes::from(body), 2).unwrap();
            tasks.next().await.unwrap().hold.bury().await.unwrap();
        }
        let mut left = dead.clone().take(dead, 9, 2);
        for body in ["2", "3"] {
            let letter = left.next().await.unwrap();
            assert_eq!(letter.body, body);
            letter.hold.done().await.unwrap();
        }
    }
}
