//! The JSON that python-socketio speaks on its brokers.
//!
//! Written is the form of 5.15.1 and later, read are all forms since 5.14. One topic, the channel, carries everything.
//! Format and receiver rules: `docs/wire-python.md`.

mod decode;
mod encode;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod properties;

use bytes::Bytes;

use super::{Message, Wire, WireError};

/// The format of python-socketio 5.14 and later, on one channel.
#[derive(Clone, Debug)]
pub struct PythonWire {
    channel: String,
}

impl PythonWire {
    /// On `channel`; python-socketio's default is `socketio`, Flask-SocketIO's `flask-socketio`.
    pub fn new(channel: impl Into<String>) -> Self {
        Self {
            channel: channel.into(),
        }
    }
}

impl Wire for PythonWire {
    fn topics(&self) -> Vec<String> {
        vec![self.channel.clone()]
    }

    fn topic(&self, _: &Message) -> String {
        self.channel.clone()
    }

    fn encode(&self, message: &Message) -> Option<Bytes> {
        encode::encode(message)
    }

    fn decode(&self, body: Bytes) -> Result<Message, WireError> {
        decode::decode(body)
    }
}
