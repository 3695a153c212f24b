//! The arguments of an event, as the JSON text that goes to clients and brokers alike.
//!
//! Arguments are serialised once, by whoever emits, and stay text until a client reads them: nothing
//! between the two parses them into a tree.

mod arguments;
mod encode;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::json;

use arguments::Arguments;

pub use encode::EncodeError;

/// The arguments of one event or ack: JSON values separated by commas, and the attachments they refer to.
///
/// Where binary data stood the JSON holds `{"_placeholder":true,"num":N}`, N being the index of the
/// attachment (Socket.IO protocol 5, "Packet encoding"; python-socketio's broker messages use the same form).
///
/// Cloning is cheap: text and attachments are shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    json: ByteString,
    attachments: Vec<Bytes>,
}

/// How deep arguments may be nested. Python itself gives up at about a thousand levels, many clients earlier.
pub(crate) const MAX_DEPTH: usize = 128;

/// Why a text cannot be the arguments of an event.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ArgsError {
    /// It is not JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// It is JSON, but not an array.
    #[error("expected a JSON array of arguments")]
    NotAnArray,
    /// Many clients could not read it.
    #[error("nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// Clients that read it would end their connection.
    #[error("holds a placeholder without an attachment")]
    Placeholder,
    /// An attachment is to be read as base64, and is none.
    #[error("an attachment is not base64")]
    NotBase64,
}

impl From<serde_json::Error> for ArgsError {
    fn from(error: serde_json::Error) -> Self {
        Self::NotJson(error.to_string())
    }
}

impl Args {
    /// No arguments.
    pub const fn none() -> Self {
        Self {
            json: ByteString::new(),
            attachments: Vec::new(),
        }
    }

    /// Serialises `data`: a tuple (or array of fixed length) is several arguments, `()` is none (as is
    /// `serde_json::Value::Null`, which serialises the same), and anything else is one. Byte strings (`bytes::Bytes`, `serde_bytes`, whatever serialises as bytes) become attachments.
    ///
    /// # Errors
    /// When `data` cannot be JSON, such as a map whose keys are not strings, numbers or booleans.
    pub fn encode<T: Serialize + ?Sized>(data: &T) -> Result<Self, EncodeError> {
        encode::encode(data)
    }

    /// Takes the text of a JSON array, brackets included, and the attachments its placeholders name.
    ///
    /// # Errors
    /// When no client could be sent this.
    pub fn from_json_array(array: &str, attachments: Vec<Bytes>) -> Result<Self, ArgsError> {
        let raw: &RawValue = serde_json::from_str(array)?;
        if !raw.get().starts_with('[') {
            return Err(ArgsError::NotAnArray);
        }
        if json::deeper_than(MAX_DEPTH + 1, array) {
            return Err(ArgsError::TooDeep);
        }
        Self::from_valid_array(raw.get().into()).with_attachments(attachments)
    }

    /// `array` has been checked to be a JSON array.
    pub(crate) fn from_valid_array(array: ByteString) -> Self {
        let inner = array
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .map_or("", str::trim);
        Self {
            json: array.slice_ref(inner),
            attachments: Vec::new(),
        }
    }

    /// `value` has been checked to be JSON: the one argument.
    pub(crate) const fn from_valid_value(json: ByteString) -> Self {
        Self {
            json,
            attachments: Vec::new(),
        }
    }

    /// # Errors
    /// When a placeholder names none of them.
    pub(crate) fn with_attachments(self, attachments: Vec<Bytes>) -> Result<Self, ArgsError> {
        match attachments.is_empty() || json::placeholders_fit(&self.json, attachments.len()) {
            true => Ok(Self { attachments, ..self }),
            false => Err(ArgsError::Placeholder),
        }
    }

    /// The arguments separated by commas, without the brackets around them; empty when there are none.
    pub fn as_json(&self) -> &str {
        &self.json
    }

    /// What the placeholders stand for, in order.
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// Whether there is no argument.
    pub fn is_empty(&self) -> bool {
        self.json.is_empty()
    }

    /// The arguments as one JSON array.
    pub fn to_json_array(&self) -> String {
        format!("[{}]", self.json)
    }

    /// Takes the first argument for the name of an event, as a Socket.IO packet has it; `None` when it is no string.
    pub fn split_event(self) -> Option<(EventName, Self)> {
        let mut values = serde_json::Deserializer::from_str(&self.json).into_iter::<&RawValue>();
        let name = values.next()?.ok()?.get();
        if !name.starts_with('"') {
            return None;
        }
        let rest = self.json[values.byte_offset()..].trim_start();
        let rest = rest.strip_prefix(',').unwrap_or_default().trim_start();
        let event = EventName::from_valid_json(self.json.slice_ref(name));
        let json = self.json.slice_ref(rest);
        Some((event, Self { json, ..self }))
    }

    /// Each argument's own text.
    pub fn values(&self) -> Vec<Box<RawValue>> {
        // The text was checked when these arguments were made.
        serde_json::from_str(&self.to_json_array()).unwrap_or_default()
    }

    /// Reads the arguments as `T`, the counterpart of [`encode`](Self::encode): a tuple takes as many as it has fields, where an `Option`
    /// may be missing; anything else takes the first. Attachments stay placeholders.
    ///
    /// # Errors
    /// When they have another shape.
    pub fn read<'de, T: Deserialize<'de>>(&'de self) -> Result<T, serde_json::Error> {
        T::deserialize(Arguments(self))
    }

    /// Reads the arguments as `T`, a tuple or a sequence, from the JSON array they are.
    /// Attachments stay placeholders.
    ///
    /// # Errors
    /// When they have another shape.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.to_json_array())
    }
}

/// The name of an event, kept as the JSON string it travels as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventName(ByteString);

impl EventName {
    /// The name `name`.
    pub fn new(name: &str) -> Self {
        Self(serde_json::Value::from(name).to_string().into())
    }

    /// `json` has been checked to be a JSON string.
    pub(crate) fn from_valid_json(json: ByteString) -> Self {
        Self(json)
    }

    /// The name as a JSON string, quotes included.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The name itself. Half a surrogate pair, which no Rust string can hold, becomes U+FFFD.
    pub fn decode(&self) -> String {
        serde_json::from_str(&self.0).unwrap_or_else(|_| {
            let lossy = crate::wire::repair::replace_lone_surrogates(&self.0);
            serde_json::from_str(&lossy).unwrap_or_default()
        })
    }
}

impl Serialize for EventName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.decode())
    }
}

impl<'de> Deserialize<'de> for EventName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(&String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_lose_their_brackets_only() {
        for (array, inner) in [
            ("[]", ""),
            (" [ ] ", ""),
            ("[ 1 , [2]]", "1 , [2]"),
            (r#"["]"]"#, r#""]""#),
        ] {
            assert_eq!(
                Args::from_json_array(array, vec![]).unwrap().as_json(),
                inner,
                "{array}"
            );
        }
    }

    #[test]
    fn what_is_not_an_array_is_refused() {
        for text in ["", "1", "{}", "[1", "[1]]", "nonsense"] {
            assert!(Args::from_json_array(text, vec![]).is_err(), "{text}");
        }
    }

    #[test]
    fn the_first_argument_may_be_a_name() {
        for (array, name, rest) in [
            (r#"["e"]"#, "e", ""),
            (r#"["e",1]"#, "e", "1"),
            (r#"[ "a,b" , [2] , "c"]"#, "a,b", r#"[2] , "c""#),
        ] {
            let (event, args) = Args::from_json_array(array, vec![]).unwrap().split_event().unwrap();
            assert_eq!((event.decode().as_str(), args.as_json()), (name, rest));
        }
        for array in ["[]", "[1]", "[null,1]"] {
            assert_eq!(Args::from_json_array(array, vec![]).unwrap().split_event(), None);
        }
    }

    #[test]
    fn names_survive_any_character() {
        for name in ["e", "é☃😀", "a\"b\\c\n"] {
            assert_eq!(EventName::new(name).decode(), name);
        }
        let half = EventName::from_valid_json(r#""a\ud800b""#.into());
        assert_eq!(half.decode(), "a\u{fffd}b");
    }
}
