//! The demo page, and what it needs of the gateway.

use axum::extract::State;
use axum::response::Html;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use crate::app::{Data, Error, Namespace, Sid, Talk};
use crate::config::Config;

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
pub(crate) fn add(namespace: Namespace) -> Namespace {
    namespace.or_on("say", say)
}

#[derive(Deserialize)]
struct Said {
    room: String,
    text: String,
}

async fn say(Data(Said { room, text }): Data<Said>, Sid(sid): Sid, talk: Talk) -> Result<&'static str, Error> {
    if !talk.rooms(&sid).await?.contains(&room) {
        return Err(Error::new("not_allowed", format!("join the room {room:?} first")));
    }
    let said = json!({"sid": sid, "room": room, "text": text});
    talk.to(room).emit("said", &said).await?;
    Ok("ok")
}
