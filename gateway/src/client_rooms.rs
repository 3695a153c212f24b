//! Rooms that clients join and leave by themselves, where the configuration allows it.

use async_trait::async_trait;
use hallporter_adapters::Args;
use serde::Deserialize;
use wildmatch::WildMatch;

use crate::config::Namespace;
use crate::{Event, Handler, Socket};

/// Answers `join` and `leave`, with a room or a list of rooms, in the namespaces of one `[[namespace]]`.
#[derive(Debug)]
pub(crate) struct ClientRooms {
    allowed: Vec<WildMatch>,
}

impl ClientRooms {
    /// `None` where clients may join nothing: then the events are not taken.
    pub(crate) fn new(namespace: &Namespace) -> Option<Self> {
        let allowed: Vec<_> = namespace
            .client_rooms
            .iter()
            .map(|pattern| WildMatch::new(pattern))
            .collect();
        (!allowed.is_empty()).then_some(Self { allowed })
    }
}

#[async_trait]
impl Handler for ClientRooms {
    async fn event(&self, socket: &Socket, event: Event) -> Option<Event> {
        let joins = match event.name.as_str() {
            "join" => true,
            "leave" => false,
            _ => return Some(event),
        };
        let Some(rooms) = rooms(&event.args) else {
            event.ack_error("bad_request", "expected a room or a list of rooms, as text");
            return None;
        };
        if let Some(room) = rooms
            .iter()
            .find(|room| !self.allowed.iter().any(|pattern| pattern.matches(room)))
        {
            event.ack_error(
                "not_allowed",
                &format!("clients may not join or leave the room {room:?} by themselves"),
            );
            return None;
        }
        for room in &rooms {
            if !joins {
                socket.leave(room);
            } else if let Err(error) = socket.join(room) {
                event.ack_error("not_allowed", &error.to_string());
                return None;
            }
        }
        event.ack("ok");
        None
    }
}

/// The rooms an event names in its first argument.
fn rooms(args: &Args) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Rooms {
        One(String),
        More(Vec<String>),
    }
    let first = args.values().into_iter().next()?;
    Some(match serde_json::from_str(first.get()).ok()? {
        Rooms::One(room) => vec![room],
        Rooms::More(rooms) => rooms,
    })
}
