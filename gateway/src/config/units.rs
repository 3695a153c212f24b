//! How values are written: durations, sizes, texts, secrets.

use std::fmt;
use std::time::Duration;

use figment::value::Value;
use hallporter_adapters::url::BrokerUrl;
use serde::de::{Deserialize, Deserializer, Error};

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// This text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match scalar(deserializer)? {
            Some(text) if !text.is_empty() => Ok(Self(text)),
            // The value is a secret even where it is wrong.
            _ => Err(D::Error::custom("must be a text that is not empty")),
        }
    }
}

/// `25s`, `300ms`, `1m 30s`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let shown = match <Value as Deserialize>::deserialize(deserializer)? {
        Value::String(_, text) => match humantime::parse_duration(&text) {
            Ok(duration) => return Ok(duration),
            Err(_) => format!("{text:?}"),
        },
        other => show(&other),
    };
    Err(D::Error::custom(format!(
        "{shown} is no duration; write it like \"25s\" or \"300ms\""
    )))
}

/// `1MiB`, `64 kB`, or plain bytes.
pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let value = <Value as Deserialize>::deserialize(deserializer)?;
    let bytes = match &value {
        Value::String(_, text) => text.parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64()),
        other => digits(other).parse().ok(),
    };
    bytes.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(|| {
        D::Error::custom(format!(
            "{} is no size; write it like \"1MiB\" or 1000000",
            show(&value)
        ))
    })
}

/// A text, also where the environment made a number of it.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    scalar(deserializer)?.ok_or_else(|| D::Error::custom("must be a text"))
}

/// As [`text`], where there may be none.
pub(super) fn some_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    text(deserializer).map(Some)
}

/// A list of texts, or one text.
pub(super) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let problem = || D::Error::custom("must be a text or a list of texts");
    match <Value as Deserialize>::deserialize(deserializer)? {
        Value::Array(_, values) => values
            .into_iter()
            .map(|value| as_text(value).ok_or_else(problem))
            .collect(),
        value => Ok(vec![as_text(value).ok_or_else(problem)?]),
    }
}

/// The URL of a broker. It may hold a password, so a wrong one is not repeated.
pub(super) fn broker_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BrokerUrl, D::Error> {
    text(deserializer)?.parse().map_err(D::Error::custom)
}

fn scalar<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(as_text(<Value as Deserialize>::deserialize(deserializer)?))
}

fn as_text(value: Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text),
        Value::Char(_, char) => Some(char.to_string()),
        Value::Bool(_, truth) => Some(truth.to_string()),
        number @ Value::Num(..) => Some(digits(&number)),
        _ => None,
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Num(..) => digits(value),
        Value::Bool(_, truth) => truth.to_string(),
        Value::Array(..) => "a list".into(),
        Value::Dict(..) => "a table".into(),
        Value::String(_, text) => format!("{text:?}"),
        _ => "this".into(),
    }
}

pub(super) fn digits(number: &Value) -> String {
    let integer = number.to_u128().map(|integer| integer.to_string());
    integer
        .or_else(|| number.to_i128().map(|integer| integer.to_string()))
        .or_else(|| number.to_f64().map(|float| float.to_string()))
        .unwrap_or_default()
}
