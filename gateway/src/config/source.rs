//! One place that values come from.

use std::collections::BTreeMap;
use std::path::Path;

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};
use toml_edit::{Document, Item};

use super::mistake::Mistake;
use super::{toml, tree, units};

/// A value from outside the file: where it stands, the path of its key, and its text.
pub(super) type Named = (String, Vec<String>, String);

/// Values, and where each of them stands.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) values: Dict,
    places: Places,
}

#[derive(Clone, Debug)]
enum Places {
    /// A TOML file, or the tables of it that stand under these keys.
    File {
        name: String,
        text: String,
        under: Vec<String>,
    },
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
        let document = text.parse::<Document<String>>().map_err(|error| Mistake {
            place: match error.span() {
                Some(span) => format!("{name}:{}", line_at(text, span.start)),
                None => name.to_owned(),
            },
            key: String::new(),
            problem: format!("is not TOML: {}", error.message()),
        })?;
        Ok(Self {
            values: toml::table(document.as_table()),
            places: Places::File {
                name: name.to_owned(),
                text: text.to_owned(),
                under: Vec::new(),
            },
        })
    }

    /// Takes the tables `[env.NAME]` out.
    pub(super) fn take_overlays(&mut self) -> Result<BTreeMap<String, Self>, Mistake> {
        let (Places::File { name, text, .. }, Some(tables)) = (&self.places, self.values.remove("env")) else {
            return Ok(BTreeMap::new());
        };
        let overlay = |under: Vec<String>, values: Value| {
            let overlay = Self {
                values: Dict::new(),
                places: Places::File {
                    name: name.clone(),
                    text: text.clone(),
                    under,
                },
            };
            match values {
                Value::Dict(_, values) => Ok(Self { values, ..overlay }),
                _ => Err(Mistake {
                    place: overlay.place(&[]),
                    key: overlay.key(&[]),
                    problem: "must be a table, such as [env.production]".into(),
                }),
            }
        };
        let tables = overlay(vec!["env".into()], tables)?.values.into_iter();
        tables
            .map(|(name, values)| Ok((name.clone(), overlay(vec!["env".into(), name], values)?)))
            .collect()
    }

    /// `(place, key path, text)`. `weaker` is what this is laid over: a list of `[app]` of which an entry is named keeps the others.
    pub(super) fn named(values: impl IntoIterator<Item = Named>, weaker: &Dict) -> Result<Self, Mistake> {
        let mut dict = Dict::new();
        let mut names = BTreeMap::new();
        for (place, path, text) in values {
            keep_list(&mut dict, &path, weaker);
            tree::put(&mut dict, &path, typed(&path, &text)).map_err(|depth| Mistake {
                place: place.clone(),
                key: path.join("."),
                problem: format!("{:?} takes no such key", path[..depth].join(".")),
            })?;
            names.insert(path, place);
        }
        Ok(Self {
            values: dict,
            places: Places::Names(names),
        })
    }

    pub(super) fn has(&self, path: &[String]) -> bool {
        tree::find(&self.values, path).is_some()
    }

    /// A key as it is written here.
    pub(super) fn key(&self, path: &[String]) -> String {
        match &self.places {
            Places::File { under, .. } => [under, path].concat().join("."),
            Places::Names(_) => path.join("."),
        }
    }

    /// Where the value of a key stands, or the nearest thing above it.
    pub(super) fn place(&self, path: &[String]) -> String {
        match &self.places {
            Places::File { name, text, under } => match line_of(text, &[under, path].concat()) {
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
        if above.is_empty() {
            return self.values.remove(last).is_some();
        }
        match tree::find_mut(&mut self.values, above) {
            Some(Value::Dict(_, dict)) => dict.remove(last).is_some(),
            Some(Value::Array(_, array)) => {
                match last.parse().ok().and_then(|index: usize| array.get_mut(index)) {
                    // Its neighbours keep their numbers, and so their lines.
                    Some(Value::Dict(_, table)) if *table != stand_in(above, last) => {
                        *table = stand_in(above, last);
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

/// A value as it is written in TOML where it is one, as `HALLPORTER_DEMO=true`, and a text where it is none.
fn typed(path: &[String], text: &str) -> Value {
    let value = text.parse::<toml_edit::Value>().map(|value| toml::value(&value));
    match value {
        // `nan` and `inf` are rather the names of something.
        Ok(number @ Value::Num(..)) if number.to_f64().is_some_and(|float| !float.is_finite()) => text.into(),
        // What is a text for the gateway, such as a key, keeps its zeros.
        Ok(number @ Value::Num(..)) if !is_app(path) && units::digits(&number) != text => text.into(),
        Ok(value) => value,
        Err(_) => text.into(),
    }
}

fn is_app(path: &[String]) -> bool {
    path.first().is_some_and(|first| first == "app")
}

/// Copies the list of which `path` names an entry.
fn keep_list(dict: &mut Dict, path: &[String], weaker: &Dict) {
    if !is_app(path) {
        return;
    }
    for depth in 1..path.len() {
        let above = &path[..depth];
        if let Some(list @ Value::Array(..)) = tree::find(weaker, above)
            && tree::find(dict, above).is_none()
        {
            // What is in the way will be in the way of the value, too.
            let _ = tree::put(dict, above, list.clone());
        }
    }
}

/// A table in which nothing is wrong, in the place of one that was taken out of this list.
fn stand_in(list: &[String], index: &str) -> Dict {
    let text = |text: &str| Value::from(text);
    let keys = match list {
        [list] if list == "route" => vec![
            ("event", text(&format!("stand-in {index}"))),
            ("to", text(&format!("handler:{index}"))),
        ],
        [api, keys] if api == "api" && keys == "keys" => vec![
            ("name", text(index)),
            ("key", text(&format!("the key that stands in for {index}"))),
            ("scopes", vec!["emit"].into()),
        ],
        _ => vec![("name", text(&format!("/{index}")))],
    };
    keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
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
