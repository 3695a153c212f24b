//! Rooms that clients join and leave by themselves, where the configuration allows it.

use std::sync::Arc;

use serde::Deserialize;
use wildmatch::WildMatch;

use crate::app::{Data, Error, Namespace, Sid, Talk};

/// The rooms an event names.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a room or a list of rooms, as text")]
enum Rooms {
    One(String),
    More(Vec<String>),
}

/// Answers `join` and `leave`, with a room or a list of rooms, where these patterns allow it and the user's code has no handler for them.
pub(crate) fn add(namespace: Namespace, patterns: &[String]) -> Namespace {
    if patterns.is_empty() {
        return namespace;
    }
    let allowed: Arc<[WildMatch]> = patterns.iter().map(|pattern| WildMatch::new(pattern)).collect();
    let handler = |joins| {
        let allowed = allowed.clone();
        async move |Data(rooms): Data<Rooms>, Sid(sid): Sid, talk: Talk| -> Result<&'static str, Error> {
            let rooms = match rooms {
                Rooms::One(room) => vec![room],
                Rooms::More(rooms) => rooms,
            };
            let is_allowed = |room: &&String| allowed.iter().any(|pattern| pattern.matches(room));
            if let Some(room) = rooms.iter().find(|room| !is_allowed(room)) {
                let message = format!("clients may not join or leave the room {room:?} by themselves");
                return Err(Error::new("not_allowed", message));
            }
            for room in &rooms {
                let done = match joins {
                    true => talk.join(&sid, room).await,
                    false => talk.leave(&sid, room).await,
                };
                done.map_err(|error| Error::new("not_allowed", error.to_string()))?;
            }
            Ok("ok")
        }
    };
    namespace.or_on("join", handler(true)).or_on("leave", handler(false))
}
