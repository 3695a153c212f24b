//! Sockets: looking at them, disconnecting them.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hallporter_adapters::{Command, SocketInfo, Target, is_reserved, user_of};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Api;
use super::error::ApiError;
use super::input::{FreeName, Json, Name, Namespace, Path, Query, Where};
use super::page::{Limit, page};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/sockets", get(list))
        .route("/api/v1/sockets/{sid}", get(one))
        .route("/api/v1/sockets/disconnect", post(disconnect))
}

/// A socket somewhere in the cluster.
#[derive(Debug, Serialize)]
struct Socket {
    sid: String,
    host_id: String,
    /// The user it is bound to.
    user: Option<String>,
    /// Its rooms, without its own and its user's.
    rooms: Vec<String>,
}

impl Socket {
    fn new(api: &Api, socket: SocketInfo) -> Self {
        let user = socket.rooms.iter().find_map(|room| user_of(room));
        let mut rooms = socket.rooms.clone();
        rooms.retain(|room| !is_reserved(room) && *room != socket.sid);
        rooms.sort_unstable();
        Self {
            user: user.map(str::to_owned),
            rooms,
            host_id: match socket.host_id.is_empty() {
                true => api.manager.host_id().to_owned(),
                false => socket.host_id,
            },
            sid: socket.sid,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    namespace: Namespace,
    room: Option<Name>,
    #[serde(default)]
    limit: Limit,
    cursor: Option<String>,
}

async fn list(State(api): State<Api>, Query(query): Query<List>) -> Result<Response, ApiError> {
    let target = query.room.map_or_else(Target::all, |Name(room)| Target::room(room));
    let sockets = api.manager.sockets(&query.namespace.0, &target).await?;
    let (sockets, cursor) = page(sockets, |socket| &socket.sid, query.limit, query.cursor.as_deref());
    let sockets: Vec<Socket> = sockets.into_iter().map(|socket| Socket::new(&api, socket)).collect();
    Ok(axum::Json(json!({"sockets": sockets, "cursor": cursor})).into_response())
}

async fn one(
    State(api): State<Api>,
    Path(sid): Path,
    Query(Where { namespace }): Query<Where>,
) -> Result<Response, ApiError> {
    let sockets = api.manager.sockets(&namespace.0, &Target::room(&sid)).await?;
    let socket = sockets.into_iter().find(|socket| socket.sid == sid);
    let missing = || ApiError::missing("no_socket", format!("there is no socket {sid:?} in {:?}", namespace.0));
    Ok(axum::Json(Socket::new(&api, socket.ok_or_else(missing)?)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disconnect {
    #[serde(default)]
    namespace: Namespace,
    sid: FreeName,
    /// Closes the whole connection.
    #[serde(default)]
    connection: bool,
}

async fn disconnect(State(api): State<Api>, Json(body): Json<Disconnect>) -> Result<Response, ApiError> {
    let command = Command::Disconnect {
        namespace: body.namespace.0.into(),
        sid: body.sid.0,
        connection: body.connection,
    };
    api.manager.send(command).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(json!({}))).into_response())
}
