//! What waits between a taker's connection and whoever takes.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Task;

/// What was taken and not yet handed out; whoever stops taking gives it back.
#[derive(Debug)]
pub(super) struct Taken(mpsc::Receiver<Task>);

/// Both ends of an empty one.
pub(super) fn taken(in_hand: u32) -> (mpsc::Sender<Task>, Taken) {
    let (sender, receiver) = mpsc::channel(in_hand as usize);
    (sender, Taken(receiver))
}

/// Hands a message out, or gives it back when nobody takes any more.
pub(super) async fn hand_out(tasks: &mpsc::Sender<Task>, task: Task) {
    if let Err(mpsc::error::SendError(task)) = tasks.send(task).await {
        give_back(task).await;
    }
}

async fn give_back(task: Task) {
    if let Err(error) = task.hold.again().await {
        tracing::debug!(%error, "a message that was not handed out comes back later");
    }
}

impl Stream for Taken {
    type Item = Task;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Task>> {
        self.0.poll_recv(context)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.close();
        let rest: Vec<Task> = std::iter::from_fn(|| self.0.try_recv().ok()).collect();
        if let Ok(runtime) = Handle::try_current()
            && !rest.is_empty()
        {
            runtime.spawn(futures_util::stream::iter(rest).for_each_concurrent(None, give_back));
        }
    }
}
