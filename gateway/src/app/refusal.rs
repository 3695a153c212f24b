//! Why a client may not connect.

use serde_json::Value;

/// What a client reads as its `connect_error`: `on_connect` returns it as its error.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// What the client reads as the error's message.
    pub message: String,
    /// What the client reads as the error's data.
    pub data: Option<Value>,
}

impl Refusal {
    /// With this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            data: None,
        }
    }

    /// With this data too.
    #[must_use]
    pub fn data(self, data: impl Into<Value>) -> Self {
        Self {
            data: Some(data.into()),
            ..self
        }
    }
}
