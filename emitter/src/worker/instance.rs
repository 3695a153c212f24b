//! What is for this worker alone: calls of its methods, and events of clients whose session names it.

use std::sync::Arc;

use hallporter_adapters::Asked;
use hallporter_adapters::envelope::{self, Reply};
use tokio::sync::TryAcquireError;

use super::{Call, Desk, HandlerError};

impl Desk {
    pub(super) fn asked(self: &Arc<Self>, asked: Asked) {
        match asked {
            Asked::Event(event) => self.event(*event),
            Asked::Call(call) => self.called(*call),
        }
    }

    /// An event for this instance. Unlike those of a group it is told once, and lost with the worker.
    fn event(self: &Arc<Self>, event: envelope::Event) {
        let (desk, mut place) = (self.clone(), self.enter(&event));
        let (id, topic) = (event.id.clone(), event.reply_to.clone());
        self.answer_with(id, topic, async move {
            place.turn().await;
            desk.handle(event, 1).await
        });
    }

    /// A call of a method.
    fn called(self: &Arc<Self>, call: envelope::Call) {
        let (desk, id, topic) = (self.clone(), call.id.clone(), call.reply_to.clone());
        self.answer_with(id.clone(), topic, async move {
            let reply = match Call::new(call, desk.manager.clone()) {
                Ok(call) => desk.handlers.call(call).await,
                Err(error) => HandlerError::bad_request(error.to_string()).into_reply(),
            };
            reply.to(&id, 1, 0)
        });
    }

    /// Answers with what this comes to, or at once that there is no room.
    fn answer_with(
        self: &Arc<Self>,
        id: String,
        topic: Option<String>,
        reply: impl Future<Output = Reply> + Send + 'static,
    ) {
        let desk = self.clone();
        let place = self.room.clone().try_acquire_owned();
        self.at_work.spawn(async move {
            let reply = match place {
                Ok(_place) => reply.await,
                Err(TryAcquireError::NoPermits) => refuse(&id, "busy", "the instance has enough to do"),
                Err(TryAcquireError::Closed) => refuse(&id, "unavailable", "the instance is leaving"),
            };
            if let Some(topic) = topic
                && let Err(error) = desk.answer(&topic, &reply).await
            {
                tracing::debug!(%error, "a reply was not published");
            }
        });
    }
}

fn refuse(id: &str, code: &str, message: &str) -> Reply {
    HandlerError::new(code, message).into_reply().to(id, 1, 0)
}
