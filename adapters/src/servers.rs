//! The other servers of the cluster: who is there, and calls of their methods.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::envelope::{Reply, ReplyError};
use crate::{Args, ArgsError, AskError, ClientManager, EncodeError, Instance};

/// The way to the other servers of the cluster: gateways and workers that show themselves, this one included. Cloning is cheap.
///
/// Each has an id and a type. A method of a gateway is what `Namespace::method` of the crate `hallporter` has registered there: it is called
/// by nobody who is known, so a guard such as `authenticated` refuses. One of a worker is what `Worker::method` has registered.
///
/// ```
/// use std::time::Duration;
///
/// # async fn example(servers: hallporter_adapters::servers::Servers) -> Result<(), hallporter_adapters::servers::CallError> {
/// let players: u32 = servers.call("chat-1", "players", &"lobby", Duration::from_secs(1)).await?;
/// let all = servers.call_all::<u32>("chat", "players", &"lobby", Duration::from_secs(1)).await?;
/// for (id, players) in &all.answers {
///     println!("{id}: {players:?}");
/// }
/// println!("{players} and others; no answer from {}", all.missing.join(", "));
/// servers.notify("chat-1", "reload", &()).await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Servers {
    manager: Arc<dyn ClientManager>,
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The arguments cannot be sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Nobody answered.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The method answered with an error.
    #[error("{}: {}", .0.code, .0.message)]
    Failed(ReplyError),
    /// The answer is none that there can be.
    #[error("the answer cannot be read: {0}")]
    Malformed(#[from] ArgsError),
    /// The answer is not what was expected.
    #[error("the answer has another shape: {0}")]
    Answer(serde_json::Error),
}

/// What the servers of one type have answered.
#[derive(Debug)]
pub struct Answers<R> {
    /// The answers that came in time, with the ids of the instances, in the order of these.
    pub answers: Vec<(String, Result<R, CallError>)>,
    /// The ids of those that did not answer in time, or went.
    pub missing: Vec<String>,
}

impl Servers {
    /// By a manager that has been started.
    pub fn new(manager: Arc<dyn ClientManager>) -> Self {
        Self { manager }
    }

    /// The servers that are alive, this one included, in the order of their types and ids. Answered from memory.
    pub fn instances(&self) -> Vec<Instance> {
        self.manager.instances()
    }

    /// Calls a method of the server with this id: a tuple is several arguments, `()` is none, anything else is one.
    ///
    /// # Errors
    /// When there is no such server or it did not answer in time; when the method answered with an error; and when its answer cannot
    /// be read as `R`.
    pub async fn call<R: DeserializeOwned>(
        &self,
        instance: &str,
        method: &str,
        args: &(impl Serialize + ?Sized),
        timeout: Duration,
    ) -> Result<R, CallError> {
        read(&self.call_args(instance, method, &Args::encode(args)?, timeout).await?)
    }

    /// As [`call`](Self::call), with arguments and an answer as they are, binary data included.
    ///
    /// # Errors
    /// When there is no such server or it did not answer in time, and when the method answered with an error.
    pub async fn call_args(
        &self,
        instance: &str,
        method: &str,
        args: &Args,
        timeout: Duration,
    ) -> Result<Args, CallError> {
        result(self.manager.call(instance, method, args, timeout).await?)
    }

    /// Calls a method of all servers of this type at once, and waits until all have answered or the time is over.
    ///
    /// # Errors
    /// When the arguments cannot be sent, or this gateway does not hear the broker.
    pub async fn call_all<R: DeserializeOwned>(
        &self,
        kind: &str,
        method: &str,
        args: &(impl Serialize + ?Sized),
        timeout: Duration,
    ) -> Result<Answers<R>, CallError> {
        let args = Args::encode(args)?;
        let all = self.instances().into_iter();
        // While one replaces another both have the same id, which means one of them.
        let ids: BTreeSet<String> = all.filter(|its| its.kind == kind).map(|its| its.id).collect();
        let calls = ids.into_iter().map(async |id| {
            let reply = self.manager.call(&id, method, &args, timeout).await;
            (id, reply)
        });
        let (mut answers, mut missing) = (Vec::new(), Vec::new());
        for (id, reply) in join_all(calls).await {
            match reply {
                Ok(reply) => answers.push((id, result(reply).and_then(|answer| read(&answer)))),
                Err(AskError::Manager(error)) => return Err(AskError::Manager(error).into()),
                Err(_) => missing.push(id),
            }
        }
        Ok(Answers { answers, missing })
    }

    /// Calls a method of the server with this id, and waits for no answer.
    ///
    /// # Errors
    /// When there is no such server, the arguments cannot be sent, or the broker did not take it.
    pub async fn notify(
        &self,
        instance: &str,
        method: &str,
        args: &(impl Serialize + ?Sized),
    ) -> Result<(), CallError> {
        let args = Args::encode(args)?;
        Ok(self.manager.notify(instance, method, &args).await?)
    }
}

fn result(mut reply: Reply) -> Result<Args, CallError> {
    match reply.error.take() {
        Some(error) => Err(CallError::Failed(error)),
        None => Ok(reply.args()?),
    }
}

fn read<R: DeserializeOwned>(answer: &Args) -> Result<R, CallError> {
    answer.read().map_err(CallError::Answer)
}
