//! `[api]`: the HTTP API, and who may use it.

use std::fmt;

use serde::Deserialize;

use super::{Secret, units};

/// `[api]`: the HTTP API. Without a key it is off, but for a gateway on loopback with the in-memory manager.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// A key for everything. Default none.
    pub key: Option<Secret>,
    /// Keys for less. Default none.
    pub keys: Vec<ApiKey>,
}

/// `[[api.keys]]`: a key that callers show, and what for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// What people call it; the key itself is never shown.
    #[serde(deserialize_with = "units::text")]
    pub name: String,
    /// The key.
    pub key: Secret,
    /// What it is good for.
    pub scopes: Vec<Scope>,
}

/// A part of the HTTP API.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Emitting.
    Emit,
    /// Rooms, and who is in them.
    Rooms,
    /// Sockets: looking at them, disconnecting them.
    Sockets,
    /// Users: who is online, disconnecting them.
    Users,
    /// Calling methods.
    Methods,
    /// Looking at the servers of the cluster.
    Cluster,
    /// Messages as a worker would publish them: emits, rooms and disconnects.
    Message,
}

/// A key shorter than this can be found by trying.
const SHORT: usize = 16;

impl Api {
    /// All keys, each with the name of its place in the configuration.
    pub(crate) fn all(&self) -> impl Iterator<Item = (String, ApiKey)> {
        let whole = self.key.iter().map(|key| {
            let whole = ApiKey {
                name: "api.key".into(),
                key: key.clone(),
                scopes: Scope::ALL.to_vec(),
            };
            ("api.key".to_owned(), whole)
        });
        let keys = self.keys.iter().enumerate();
        whole.chain(keys.map(|(index, key)| (format!("api.keys.{index}"), key.clone())))
    }

    /// What is wrong with the keys, by place.
    pub(super) fn mistakes(&self) -> Vec<(String, String)> {
        let all: Vec<_> = self.all().collect();
        let mut mistakes = Vec::new();
        for (at, (place, key)) in all.iter().enumerate() {
            let mut others = all[..at].iter();
            if let Some((_, other)) = others.clone().find(|(_, other)| other.key == key.key) {
                mistakes.push((place.clone(), format!("has the same key as {:?}", other.name)));
            }
            if others.any(|(_, other)| other.name == key.name) {
                mistakes.push((format!("{place}.name"), "is there twice".into()));
            }
            if key.name.is_empty() {
                mistakes.push((format!("{place}.name"), "must not be empty".into()));
            }
            if key.scopes.is_empty() {
                let known = Scope::ALL.map(|scope| scope.to_string()).join(", ");
                let problem = format!("must name what the key is for: {known}");
                mistakes.push((format!("{place}.scopes"), problem));
            }
        }
        mistakes
    }

    /// The keys that are too short to be safe, by name.
    pub(super) fn short(&self) -> impl Iterator<Item = String> {
        let short = self.all().filter(|(_, key)| key.key.reveal().len() < SHORT);
        short.map(|(place, key)| {
            format!(
                "{place} ({:?}) is shorter than {SHORT} characters and can be guessed",
                key.name
            )
        })
    }
}

impl Scope {
    /// Every scope there is.
    pub(crate) const ALL: [Self; 7] = [
        Self::Emit,
        Self::Rooms,
        Self::Sockets,
        Self::Users,
        Self::Methods,
        Self::Cluster,
        Self::Message,
    ];
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Emit => "emit",
            Self::Rooms => "rooms",
            Self::Sockets => "sockets",
            Self::Users => "users",
            Self::Methods => "methods",
            Self::Cluster => "cluster",
            Self::Message => "message",
        })
    }
}
