//! One place that values come from.

use std::collections::BTreeMap;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};
use toml_edit::{Document, Item};

use super::mistake::Mistake;

/// Values, and where each of them stands.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) values: Dict,
    places: Places,
}

#[derive(Clone, Debug)]
enum Places {
    /// A TOML file: its name and text.
    File { name: String, text: String },
    /// Named by key: an environment variable or a flag.
    Names(BTreeMap<Vec<String>, String>),
}

impl Source {
    /// A TOML file.
    pub(super) fn file(path: &Path) -> Result<Self, Mistake> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::text(&name, &text),
            Err(error) => Err(Mistake {
                place: name,
                key: String::new(),
                problem: format!("cannot be read: {error}"),
            }),
        }
    }

    /// The text of a TOML file.
    pub(super) fn text(name: &str, text: &str) -> Result<Self, Mistake> {
        let mistake = |line: Option<usize>, problem: String| Mistake {
            place: line.map_or_else(|| name.to_owned(), |line| format!("{name}:{line}")),
            key: String::new(),
            problem,
        };
        if let Err(error) = text.parse::<Document<String>>() {
            let line = error.span().map(|span| line_at(text, span.start));
            return Err(mistake(line, format!("is not TOML: {}", error.message())));
        }
        let values = Toml::string(text).data();
        let values = values.map_err(|error| mistake(None, error.to_string()))?;
        Ok(Self {
            values: values.into_values().next().unwrap_or_default(),
            places: Places::File {
                name: name.to_owned(),
                text: text.to_owned(),
            },
        })
    }

    /// `(place, key path, text)`: texts are read as TOML values where they are some, as `HALLPORTER_DEMO=true`.
    pub(super) fn named(values: impl IntoIterator<Item = (String, Vec<String>, String)>) -> Self {
        let mut dict = Dict::new();
        let mut names = BTreeMap::new();
        for (place, path, text) in values {
            // What is nothing else is a string.
            let Ok(value) = text.parse::<Value>();
            put(&mut dict, &path, value);
            names.insert(path, place);
        }
        Self {
            values: dict,
            places: Places::Names(names),
        }
    }

    pub(super) fn has(&self, path: &[String]) -> bool {
        let (Some(first), rest) = (path.first(), path.get(1..).unwrap_or_default()) else {
            return false;
        };
        let found = self.values.get(first);
        rest.iter()
            .try_fold(found, |value, key| Some(child(value?, key)))
            .flatten()
            .is_some()
    }

    /// Where the value of a key stands, or the nearest thing above it.
    pub(super) fn place(&self, path: &[String]) -> String {
        match &self.places {
            Places::File { name, text } => match line_of(text, path) {
                Some(line) => format!("{name}:{line}"),
                None => name.clone(),
            },
            Places::Names(names) => {
                let named = names
                    .iter()
                    .find(|(known, _)| known.starts_with(path) || path.starts_with(known));
                named.map_or_else(|| "the environment".into(), |(_, place)| place.clone())
            }
        }
    }

    /// Takes a value out, so that the rest can be read.
    pub(super) fn remove(&mut self, path: &[String]) -> bool {
        let Some((last, above)) = path.split_last() else {
            return false;
        };
        let Some((first, between)) = above.split_first() else {
            return self.values.remove(last).is_some();
        };
        let mut value = self.values.get_mut(first);
        for key in between {
            value = value.and_then(|value| child_mut(value, key));
        }
        match value {
            Some(Value::Dict(_, dict)) => dict.remove(last).is_some(),
            Some(Value::Array(_, array)) => {
                match last.parse().ok().and_then(|index: usize| array.get_mut(index)) {
                    // Its neighbours keep their numbers, and so their lines.
                    Some(Value::Dict(_, table)) if *table != stand_in(last) => {
                        *table = stand_in(last);
                        true
                    }
                    _ => self.remove(above),
                }
            }
            _ => false,
        }
    }
}

impl Provider for Source {
    fn metadata(&self) -> Metadata {
        Metadata::named("configuration")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

fn put(dict: &mut Dict, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => {
            dict.insert(key.clone(), value);
        }
        [key, rest @ ..] => {
            let below = dict.entry(key.clone()).or_insert_with(|| Value::from(Dict::new()));
            if !matches!(below, Value::Dict(..)) {
                *below = Value::from(Dict::new());
            }
            if let Value::Dict(_, dict) = below {
                put(dict, rest, value);
            }
        }
    }
}

/// A table in which nothing is wrong, in the place of one that was taken out.
fn stand_in(index: &str) -> Dict {
    Dict::from([("name".into(), Value::from(format!("/{index}")))])
}

fn child<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Dict(_, dict) => dict.get(key),
        Value::Array(_, array) => array.get(key.parse::<usize>().ok()?),
        _ => None,
    }
}

fn child_mut<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    match value {
        Value::Dict(_, dict) => dict.get_mut(key),
        Value::Array(_, array) => array.get_mut(key.parse::<usize>().ok()?),
        _ => None,
    }
}

/// The line of a key, or of the nearest table above it.
fn line_of(text: &str, path: &[String]) -> Option<usize> {
    let document = text.parse::<Document<String>>().ok()?;
    let mut item = document.as_item();
    let mut at = None;
    for key in path {
        let key_span = item
            .as_table_like()
            .and_then(|table| table.key(key))
            .and_then(toml_edit::Key::span);
        let below: Option<&Item> = match key.parse::<usize>() {
            Ok(index) => item.get(index),
            Err(_) => item.get(key),
        };
        at = key_span.or_else(|| below.and_then(Item::span)).or(at);
        match below {
            Some(below) => item = below,
            None => break,
        }
    }
    at.map(|span| line_at(text, span.start))
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text
        .as_bytes()
        .iter()
        .take(offset)
        .filter(|byte| **byte == b'\n')
        .count()
}
