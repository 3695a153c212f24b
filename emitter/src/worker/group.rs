//! Taking events from the queue of a group, and being done with them.

use std::sync::Arc;

use futures_util::StreamExt;
use hallporter_adapters::broker::Hold;
use hallporter_adapters::envelope::{Event, Reply};
use hallporter_adapters::{ManagerError, Task, backoff};
use metrics::counter;

use super::Desk;
use crate::metric;

impl Desk {
    /// Takes from a group, again and again, for as long as this is polled.
    pub(super) async fn serve(self: Arc<Self>, group: String) {
        let (mut waits, mut is_away) = (backoff(), false);
        loop {
            let reason = match self.manager.take(&group, self.in_hand).await {
                Ok(mut tasks) => {
                    if std::mem::take(&mut is_away) {
                        tracing::info!(group, "taking events again");
                    }
                    while let Some(task) = tasks.next().await {
                        waits = backoff();
                        self.take_up(&group, task);
                    }
                    "the connection ended".to_owned()
                }
                Err(error) => error.to_string(),
            };
            if !std::mem::replace(&mut is_away, true) {
                tracing::warn!(group, reason, "cannot take events; trying until it is possible");
            }
            tokio::time::sleep(waits.next().unwrap_or_default()).await;
        }
    }

    fn take_up(self: &Arc<Self>, group: &str, Task { body, attempt, hold }: Task) {
        let (desk, group) = (self.clone(), group.to_owned());
        // Entered here, in the order in which events were taken.
        let event = serde_json::from_slice::<Event>(&body).map(|event| (self.enter(&event), event));
        self.at_work.spawn(async move {
            let outcome = match event {
                Ok((mut place, event)) => {
                    place.turn().await;
                    desk.work(event, attempt, hold).await
                }
                Err(error) => desk.bury(hold, &format!("it cannot be read: {error}")).await,
            };
            counter!(metric::WORKER_EVENTS, "group" => group, "outcome" => outcome).increment(1);
        });
    }

    /// Answers an event, then is done with it; what ends between the two comes again.
    async fn work(&self, event: Event, attempt: u32, hold: Box<dyn Hold>) -> &'static str {
        if attempt > self.tries {
            let Event { id, event, sid, .. } = &event;
            let sid = sid.as_deref().unwrap_or_default();
            let what = format!("{event:?} of {sid:?}, id {id:?}, handed out {attempt} times");
            return self.bury(hold, &what).await;
        }
        let (topic, id) = (event.reply_to.clone(), event.id.clone());
        let before = self.answered().get(&id);
        let is_repeated = before.is_some();
        let reply = match before {
            Some(reply) => reply,
            None => {
                let reply = Arc::new(self.handle(event, attempt).await);
                self.answered().insert(id, reply.clone());
                reply
            }
        };
        if let Some(topic) = topic
            && let Err(error) = self.answer(&topic, &reply).await
        {
            tracing::debug!(%error, "a reply was not published; the event comes again");
            return "unanswered";
        }
        match hold.done().await {
            Ok(()) if is_repeated => "repeated",
            Ok(()) => "answered",
            Err(error) => {
                tracing::debug!(%error, "the queue did not hear that an event is done with; it comes again");
                "answered"
            }
        }
    }

    /// What no broker would carry is replaced by an error: it would not be carried the next time either.
    pub(super) async fn answer(&self, topic: &str, reply: &Reply) -> Result<(), ManagerError> {
        match self.manager.answer(topic, reply).await {
            Err(error @ (ManagerError::TooLarge { .. } | ManagerError::Encode(_))) => {
                tracing::warn!(%error, "a reply cannot be published");
                let replaced = super::HandlerError::new("too_large", "the reply is too large").into_reply();
                let replaced = replaced.to(&reply.id, reply.attempt.unwrap_or(1), 0);
                self.manager.answer(topic, &replaced).await
            }
            answered => answered,
        }
    }

    async fn bury(&self, hold: Box<dyn Hold>, what: &str) -> &'static str {
        if let Some(unlogged) = self.buried.allow("buried") {
            tracing::error!(unlogged, "an event goes to the dead-letter queue: {what:.200}");
        }
        if let Err(error) = hold.bury().await {
            tracing::debug!(%error, "an event was not put aside; it comes again");
        }
        "buried"
    }
}
