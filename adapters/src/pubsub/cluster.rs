//! Other servers of the cluster, and the queues of workers.

use std::borrow::Cow;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use super::host_message::HostMessage;
use super::{PubSubManager, Shared};
use crate::broker::{Broker, BrokerError, Task, queue_name};
use crate::envelope::{Call, Event, Reply, encode_args};
use crate::wire::Wire;
use crate::{Args, AskError, Cluster, Emit, EncodeError, Instance, ManagerError, Receipt};

#[async_trait]
impl<B: Broker, W: Wire> Cluster for PubSubManager<B, W> {
    fn instances(&self) -> Vec<Instance> {
        match self.shared.local.get() {
            Some(_) => self.shared.instances.all(),
            None => Vec::new(),
        }
    }

    async fn put(&self, group: &str, event: &Event) -> Result<(), AskError> {
        let mut event = Cow::Borrowed(event);
        if event.id.is_empty() {
            event.to_mut().id = self.shared.replies.new_id();
        }
        self.shared.put(group, &event).await
    }

    async fn ask_group(&self, group: &str, mut event: Event, timeout: Duration) -> Result<Reply, AskError> {
        let shared = &self.shared;
        let put = async |id| {
            event.id = id;
            event.reply_to = Some(shared.topics.own.clone());
            shared.put(group, &event).await
        };
        shared.ask(None, timeout, put).await
    }

    async fn ask_instance(&self, instance: &str, mut event: Event, timeout: Duration) -> Result<Reply, AskError> {
        let shared = &self.shared;
        let host = shared.find(instance)?;
        let tell = async |id| {
            event.id = id;
            event.reply_to = Some(shared.topics.own.clone());
            let message = HostMessage::Event(Box::new(event));
            Ok(shared.publish_to(&shared.topics.of(&host), &message).await?)
        };
        shared.ask(Some((instance, &host)), timeout, tell).await
    }

    async fn call(&self, instance: &str, method: &str, args: &Args, timeout: Duration) -> Result<Reply, AskError> {
        let shared = &self.shared;
        let host = shared.find(instance)?;
        let tell = async |id| {
            let call = shared.new_call(id, method, args, Some(shared.topics.own.clone()))?;
            Ok(shared.publish_to(&shared.topics.of(&host), &call).await?)
        };
        shared.ask(Some((instance, &host)), timeout, tell).await
    }

    async fn notify(&self, instance: &str, method: &str, args: &Args) -> Result<(), AskError> {
        let shared = &self.shared;
        let host = shared.find(instance)?;
        let call = shared.new_call(shared.replies.new_id(), method, args, None)?;
        Ok(shared.publish_to(&shared.topics.of(&host), &call).await?)
    }

    async fn take(&self, group: &str, in_hand: usize) -> Result<BoxStream<'static, Task>, ManagerError> {
        let queue = self.shared.queue(group)?;
        let taken = self.shared.broker.take(&queue, in_hand).await;
        taken.map_err(|error| self.shared.manager_error(error))
    }

    async fn answer(&self, reply_to: &str, reply: &Reply) -> Result<(), ManagerError> {
        let shared = &self.shared;
        if !shared.topics.is_of_a_host(reply_to) {
            let reason = format!("{reply_to:?} is no topic of a host of this cluster");
            return Err(shared.manager_error(BrokerError::Refused(reason)));
        }
        shared
            .publish_bytes(reply_to, HostMessage::encode_reply(reply), "reply")
            .await
    }

    async fn emit_with_receipt(&self, emit: Emit, timeout: Duration) -> Result<Receipt, ManagerError> {
        self.shared.emit_with_receipt(emit, timeout).await
    }
}

impl<B: Broker, W: Wire> Shared<B, W> {
    /// Asks something of an instance, given with its host, or of a group; `give` is given the id, and sends the question on its way.
    async fn ask(
        &self,
        instance: Option<(&str, &str)>,
        timeout: Duration,
        give: impl AsyncFnOnce(String) -> Result<(), AskError>,
    ) -> Result<Reply, AskError> {
        self.must_listen()?;
        let question = self.replies.question(instance.map(|(_, host)| host))?;
        let gone = |instance: &str| AskError::NoInstance(instance.to_owned());
        // It may have gone before it was waited for.
        if let Some((instance, _)) = instance.filter(|(_, host)| !self.instances.has(host)) {
            return Err(gone(instance));
        }
        let reply = async {
            give(question.id.clone()).await?;
            // A question to a group goes with nobody.
            let instance = instance.map_or("", |(instance, _)| instance);
            question.reply().await.ok_or_else(|| gone(instance))
        };
        let in_time = tokio::time::timeout(timeout, reply).await;
        in_time.unwrap_or(Err(AskError::TimedOut(timeout)))
    }

    /// The host of an instance.
    fn find(&self, instance: &str) -> Result<String, AskError> {
        self.must_listen()?;
        let host = self.instances.find(instance);
        host.ok_or_else(|| AskError::NoInstance(instance.to_owned()))
    }

    fn new_call(
        &self,
        id: String,
        method: &str,
        args: &Args,
        reply_to: Option<String>,
    ) -> Result<HostMessage, ManagerError> {
        let (args, attachments) = encode_args(args).map_err(EncodeError::from)?;
        Ok(HostMessage::Call(Box::new(Call {
            id,
            from: self.instances.own().id.clone(),
            method: method.to_owned(),
            args,
            attachments,
            reply_to,
        })))
    }

    async fn put(&self, group: &str, event: &Event) -> Result<(), AskError> {
        let queue = self.queue(group)?;
        // Strings, numbers and JSON that was checked: nothing in it can fail.
        let body = serde_json::to_vec(event).unwrap_or_default();
        match self.put_bytes(&queue, body.into()).await? {
            true => Ok(()),
            false => Err(AskError::QueueFull(group.to_owned())),
        }
    }

    /// The queue of a group.
    fn queue(&self, group: &str) -> Result<String, ManagerError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        match (1..=64).contains(&group.len()) && group.bytes().all(is_allowed) {
            true => Ok(queue_name(&self.options.channel, group)),
            false => Err(self.manager_error(BrokerError::Refused(format!(
                "{group:?} is no name of a group: 1 to 64 letters, digits, _ and -"
            )))),
        }
    }
}
