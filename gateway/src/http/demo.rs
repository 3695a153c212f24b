//! The demo page, and what it needs of the gateway.

use async_trait::async_trait;
use axum::extract::State;
use axum::response::Html;
use bytes::Bytes;
use hallporter_adapters::{Args, Emit, EventName, Target};
use serde::Deserialize;
use serde_json::json;

use crate::config::Config;
use crate::{Event, Handler, Socket};

const PAGE: &str = include_str!("demo.html");

/// The page, knowing the Socket.IO path.
#[derive(Clone, Debug)]
pub(super) struct Page(Bytes);

impl Page {
    pub(super) fn new(config: &Config) -> Self {
        let path = config.path.replace('&', "&amp;").replace('"', "&quot;");
        Self(
            PAGE.replace(r#"content="/socket.io/""#, &format!(r#"content="{path}""#))
                .into(),
        )
    }
}

pub(super) async fn page(State(page): State<Page>) -> Html<Bytes> {
    Html(page.0)
}

/// Passes on what visitors say: `say` with `{room, text}` becomes `said` with `{sid, room, text}` in the room.
#[derive(Debug)]
pub(crate) struct Visitors;

#[derive(Deserialize)]
struct Said {
    room: String,
    text: String,
}

#[async_trait]
impl Handler for Visitors {
    async fn event(&self, socket: &Socket, event: Event) -> Option<Event> {
        if event.name != "say" {
            return Some(event);
        }
        let Ok((Said { room, text },)) = event.args.decode::<(Said,)>() else {
            event.ack_error("bad_request", "expected {room, text}");
            return None;
        };
        if !socket.rooms().contains(&room) {
            event.ack_error("not_allowed", &format!("join the room {room:?} first"));
            return None;
        }
        let said = json!({"sid": socket.sid(), "room": room, "text": text});
        let Ok(args) = Args::encode(&said) else { return None };
        let emitted = socket.manager().emit(Emit {
            namespace: socket.namespace().into(),
            target: Target::room(room),
            event: EventName::new("said"),
            args,
            volatile: false,
        });
        match emitted.await {
            Ok(()) => event.ack("ok"),
            Err(error) => event.ack_error("unavailable", &error.to_string()),
        }
        None
    }
}
