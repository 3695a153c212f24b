//! What a handler is told.

use std::ops::Deref;
use std::sync::Arc;

use hallporter_adapters::envelope::{self, decode_args};
use hallporter_adapters::servers::Servers;
use hallporter_adapters::{Args, ArgsError, ClientManager};
use serde::de::DeserializeOwned;

use super::HandlerError;
use crate::Emitter;

/// An event of a client. Its fields are those of the [envelope](envelope::Event): `event.sid`, `event.user`, `event.session`, …
#[derive(Debug)]
pub struct Event {
    envelope: envelope::Event,
    args: Args,
    attempt: u32,
    manager: Arc<dyn ClientManager>,
}

impl Event {
    pub(super) fn new(
        envelope: envelope::Event,
        attempt: u32,
        manager: Arc<dyn ClientManager>,
    ) -> Result<Self, ArgsError> {
        Ok(Self {
            args: decode_args(&envelope.args, &envelope.attachments)?,
            envelope,
            attempt,
            manager,
        })
    }

    /// The arguments: a tuple takes as many as it has fields, anything else the first.
    ///
    /// # Errors
    /// `bad_request` when they have another shape.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, HandlerError> {
        read(&self.args, &self.envelope.event)
    }

    /// The arguments as they came, with their attachments.
    pub const fn args(&self) -> &Args {
        &self.args
    }

    /// A value of the session; none when there is no such key.
    ///
    /// # Errors
    /// When it has another shape, which is a mistake of whoever set it.
    pub fn session<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, HandlerError> {
        let value = self.envelope.session.get(key).cloned();
        Ok(value.map(serde_json::from_value).transpose()?)
    }

    /// How often it has been handed out, this time included. More than 1: a worker that had it before may have done its part.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Emits, by the worker's own connection, in the namespace of the event.
    pub fn emitter(&self) -> Emitter {
        Emitter::over(self.manager.clone()).of(&self.envelope.namespace)
    }

    /// The other servers of the cluster, whose methods can be called.
    pub fn servers(&self) -> Servers {
        Servers::new(self.manager.clone())
    }

    /// The cluster: who is online, which sockets there are, and whatever else a gateway can ask.
    pub const fn cluster(&self) -> &Arc<dyn ClientManager> {
        &self.manager
    }
}

impl Deref for Event {
    type Target = envelope::Event;

    fn deref(&self) -> &envelope::Event {
        &self.envelope
    }
}

/// A call of a method. Its fields are those of the [envelope](envelope::Call).
#[derive(Debug)]
pub struct Call {
    envelope: envelope::Call,
    args: Args,
    manager: Arc<dyn ClientManager>,
}

impl Call {
    pub(super) fn new(envelope: envelope::Call, manager: Arc<dyn ClientManager>) -> Result<Self, ArgsError> {
        Ok(Self {
            args: decode_args(&envelope.args, &envelope.attachments)?,
            envelope,
            manager,
        })
    }

    /// The arguments: a tuple takes as many as it has fields, anything else the first.
    ///
    /// # Errors
    /// `bad_request` when they have another shape.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, HandlerError> {
        read(&self.args, &self.envelope.method)
    }

    /// The arguments as they came, with their attachments.
    pub const fn args(&self) -> &Args {
        &self.args
    }

    /// Emits, by the worker's own connection, in the namespace `/`.
    pub fn emitter(&self) -> Emitter {
        Emitter::over(self.manager.clone())
    }

    /// The other servers of the cluster, whose methods can be called.
    pub fn servers(&self) -> Servers {
        Servers::new(self.manager.clone())
    }

    /// The cluster: who is online, which sockets there are, and whatever else a gateway can ask.
    pub const fn cluster(&self) -> &Arc<dyn ClientManager> {
        &self.manager
    }
}

impl Deref for Call {
    type Target = envelope::Call;

    fn deref(&self) -> &envelope::Call {
        &self.envelope
    }
}

fn read<T: DeserializeOwned>(args: &Args, name: &str) -> Result<T, HandlerError> {
    args.read()
        .map_err(|error| HandlerError::bad_request(format!("{name:?}: {error}")))
}
