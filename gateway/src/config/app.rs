//! `[app]`: the values of the user's own code.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use figment::error::{Actual, Kind};
use figment::value::{Dict, Value};
use serde::de::value::Error as NoValue;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, Visitor};
use serde::{Serialize, forward_to_deserialize_any};

use super::mistake::nearest;
use super::tree;

/// The values of `[app]`, by dotted path: `get::<u16>("mail.port")`. Clones share the values: each sees what another one sets.
///
/// A number in a path stands for the entry of a list: `servers.0.name`. The empty path stands for all of it. A key that has a dot itself is
/// no part of a path, but is there in the table above it. `Debug` shows no value, for it may be a secret.
#[derive(Clone, Default)]
pub struct AppConfig(Arc<RwLock<Arc<Dict>>>);

/// Why a value of `[app]` cannot be had or set. No variant repeats a value, for it may be a secret.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AppConfigError {
    /// There is none.
    #[error("app.{path} is missing{}", meant(nearest.as_deref()))]
    Missing {
        /// The path that was asked for.
        path: String,
        /// The path that was probably meant.
        nearest: Option<String>,
    },
    /// There is one of another type.
    #[error("app.{path}: {problem}")]
    Type {
        /// The path of what is wrong; it may be below the one that was asked for.
        path: String,
        /// What was expected, and what is there.
        problem: String,
    },
    /// What stands at the parent takes no such key: it is a single value, or a list without that entry.
    #[error("app.{path} cannot be set: app.{parent} takes no such key")]
    Parent {
        /// The path that was to be set.
        path: String,
        /// The path of what is in the way.
        parent: String,
    },
    /// Only what is below `[app]` can be set.
    #[error("what is to be set must be named")]
    NoPath,
    /// The value to be set is none of a configuration.
    #[error("app.{path} cannot be set: {problem}")]
    Value {
        /// The path that was to be set.
        path: String,
        /// What is wrong with the value.
        problem: String,
    },
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean app.{name}?"))
}

impl AppConfig {
    /// The value at a path. An `Option` is `None` where there is no value.
    ///
    /// # Errors
    /// When there is no value, or it is not of this type.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AppConfigError> {
        let values = self.values();
        let found = match path {
            "" => Some(Value::from((*values).clone())),
            path => tree::find(&values, &keys(path)).cloned(),
        };
        match found {
            Some(value) => value.deserialize().map_err(|error| wrong_type(path, &error)),
            None => T::deserialize(NoSuch).map_err(|_| AppConfigError::Missing {
                path: path.to_owned(),
                nearest: nearest_path(&values, path),
            }),
        }
    }

    /// Sets the value at a path, and makes the tables above it. A list takes the entries it has, and one after its last.
    ///
    /// # Errors
    /// When the path leads through a single value, or the value cannot stand in a configuration.
    pub fn set(&self, path: &str, value: impl Serialize) -> Result<(), AppConfigError> {
        if path.is_empty() {
            return Err(AppConfigError::NoPath);
        }
        let value = Value::serialize(value).map_err(|error| AppConfigError::Value {
            path: path.to_owned(),
            problem: describe(&error.kind),
        })?;
        let keys = keys(path);
        let mut values = self.0.write().unwrap_or_else(PoisonError::into_inner);
        tree::put(Arc::make_mut(&mut values), &keys, value).map_err(|depth| AppConfigError::Parent {
            path: path.to_owned(),
            parent: keys[..depth].join("."),
        })
    }

    /// A snapshot, so that nothing is locked while a type reads its value.
    fn values(&self) -> Arc<Dict> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for AppConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values().keys()).finish()
    }
}

impl<'de> Deserialize<'de> for AppConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = <Dict as Deserialize>::deserialize(deserializer)?;
        Ok(Self(Arc::new(RwLock::new(Arc::new(values)))))
    }
}

fn keys(path: &str) -> Vec<&str> {
    path.split('.').collect()
}

/// In the place of a value that is missing: nothing but an `Option` can be read from it.
struct NoSuch;

impl<'de> Deserializer<'de> for NoSuch {
    type Error = NoValue;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NoValue> {
        Err(NoValue::custom("missing"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        visitor.visit_none()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

/// The path there is that is most like this one.
fn nearest_path(values: &Dict, path: &str) -> Option<String> {
    let mut known = Vec::new();
    for (key, value) in values {
        list_paths(key.clone(), value, &mut known);
    }
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    nearest(path, &known).map(str::to_owned)
}

fn list_paths(path: String, value: &Value, known: &mut Vec<String>) {
    match value {
        Value::Dict(_, dict) => {
            for (key, value) in dict {
                list_paths(format!("{path}.{key}"), value, known);
            }
        }
        Value::Array(_, array) => {
            for (index, value) in array.iter().enumerate() {
                list_paths(format!("{path}.{index}"), value, known);
            }
        }
        _ => {}
    }
    known.push(path);
}

fn wrong_type(path: &str, error: &figment::Error) -> AppConfigError {
    let path = std::iter::once(path)
        .filter(|path| !path.is_empty())
        .chain(error.path.iter().map(String::as_str));
    AppConfigError::Type {
        path: path.collect::<Vec<_>>().join("."),
        problem: describe(&error.kind),
    }
}

/// What is wrong, without the value.
fn describe(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.clone(),
        Kind::InvalidType(found, expected) => format!("expected {expected}, found {}", name(found)),
        Kind::InvalidValue(found, expected) => format!("expected {expected}, found {} that is none", name(found)),
        Kind::InvalidLength(length, expected) => format!("expected {expected}, found {length} entries"),
        Kind::UnknownVariant(_, known) => format!("must be one of {}", known.join(", ")),
        Kind::UnknownField(key, known) => format!("unknown key {key:?}; known here are {}", known.join(", ")),
        Kind::MissingField(key) => format!("the key {key:?} is missing"),
        _ => "is of a type that a configuration does not have".into(),
    }
}

/// What TOML calls such a value.
const fn name(value: &Actual) -> &'static str {
    match value {
        Actual::Bool(_) => "a boolean",
        Actual::Unsigned(_) | Actual::Signed(_) => "an integer",
        Actual::Float(_) => "a float",
        Actual::Char(_) | Actual::Str(_) => "a string",
        Actual::Unit | Actual::Option => "nothing",
        Actual::Seq => "an array",
        Actual::Map => "a table",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::config::{Config, Sources, load};

    #[derive(Debug, Deserialize, PartialEq)]
    struct Mail {
        host: String,
        port: u16,
    }

    fn app() -> AppConfig {
        let text = "[app]\nname = \"x\"\nday = 2026-01-31\n[app.mail]\nhost = \"hush\"\nport = 25\n[[app.servers]]\nname = \"one\"\n";
        let sources = Sources {
            defaults: text,
            ..Sources::default()
        };
        load(sources).unwrap().app
    }

    #[test]
    fn values_are_had_by_path() {
        let app = app();
        assert_eq!(app.get::<String>("name").unwrap(), "x");
        assert_eq!(app.get::<String>("day").unwrap(), "2026-01-31");
        assert_eq!(app.get::<u16>("mail.port").unwrap(), 25);
        assert_eq!(app.get::<String>("servers.0.name").unwrap(), "one");
        let mail = Mail {
            host: "hush".into(),
            port: 25,
        };
        assert_eq!(app.get::<Mail>("mail").unwrap(), mail);
        assert_eq!(app.get::<Option<Mail>>("mail").unwrap(), Some(mail));
        assert!(
            app.get::<BTreeMap<String, serde_json::Value>>("")
                .unwrap()
                .contains_key("name")
        );
    }

    #[test]
    fn what_is_missing_is_named_with_what_was_meant() {
        let app = app();
        for path in ["mail.prot", "mail.port.x", "servers.1", "nothing.at.all", "name.", "."] {
            assert_eq!(app.get::<Option<String>>(path).unwrap(), None, "{path}");
            let error = app.get::<serde_json::Value>(path).unwrap_err();
            assert!(
                matches!(&error, AppConfigError::Missing { path: named, .. } if named == path),
                "{error}"
            );
        }
        let error = app.get::<u16>("mail.prot").unwrap_err().to_string();
        assert_eq!(error, "app.mail.prot is missing; did you mean app.mail.port?");
        let error = app.get::<u16>("qqq").unwrap_err().to_string();
        assert_eq!(error, "app.qqq is missing");
    }

    #[test]
    fn a_value_of_another_type_is_named_but_not_shown() {
        let app = app();
        let problem = |error: AppConfigError| error.to_string();
        assert_eq!(
            problem(app.get::<Mail>("servers.0").unwrap_err()),
            "app.servers.0: the key \"host\" is missing"
        );
        assert_eq!(
            problem(app.get::<u16>("mail.host").unwrap_err()),
            "app.mail.host: expected u16, found a string"
        );
        assert_eq!(
            problem(app.get::<Option<u16>>("mail.host").unwrap_err()),
            "app.mail.host: expected u16, found a string"
        );
        assert_eq!(
            problem(app.get::<BTreeMap<String, u16>>("mail").unwrap_err()),
            "app.mail.host: expected u16, found a string"
        );
        app.set("mail.port", 70_000).unwrap();
        assert_eq!(
            problem(app.get::<Mail>("mail").unwrap_err()),
            "app.mail.port: expected u16, found an integer that is none"
        );
        assert!(!format!("{app:?}").contains("hush"));
    }

    #[test]
    fn what_is_set_is_seen_by_all_clones() {
        let app = Config::default().app;
        let clone = app.clone();
        app.set("a.b.c", vec![1, 2]).unwrap();
        app.set("a.b.d", BTreeMap::from([("e", "f")])).unwrap();
        assert_eq!(clone.get::<Vec<u8>>("a.b.c").unwrap(), [1, 2]);
        assert_eq!(clone.get::<String>("a.b.d.e").unwrap(), "f");
        clone.set("a.b.c.1", 3).unwrap();
        clone.set("a.b.c.2", 4).unwrap();
        assert_eq!(app.get::<Vec<u8>>("a.b.c").unwrap(), [1, 3, 4]);
        app.set("a.none", None::<u8>).unwrap();
        assert_eq!(app.get::<Option<u8>>("a.none").unwrap(), None);
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let app = app();
        let parent = |path: &str, parent: &str| AppConfigError::Parent {
            path: path.into(),
            parent: parent.into(),
        };
        for (path, in_the_way) in [
            ("name.x", "name"),
            ("mail.port.x.y", "mail.port"),
            ("servers.2.name", "servers"),
            ("servers.first", "servers"),
        ] {
            assert_eq!(app.set(path, 1).unwrap_err(), parent(path, in_the_way));
        }
        assert_eq!(app.set("", 1).unwrap_err(), AppConfigError::NoPath);
        assert_eq!(app.get::<String>("name").unwrap(), "x");
        let error = app.set("x", BTreeMap::from([(vec![1], 2)])).unwrap_err();
        assert!(matches!(error, AppConfigError::Value { .. }), "{error}");
    }
}
