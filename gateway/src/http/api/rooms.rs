//! Rooms: who is in them.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hallporter_adapters::{Command, ManagerError, Membership, RoomIsSid, user_room};
use serde::Deserialize;
use serde_json::json;

use super::Api;
use super::error::ApiError;
use super::input::{FreeName, Json, Name, Namespace, Query, given};
use super::page::{Limit, page};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/rooms/join", post(join))
        .route("/api/v1/rooms/leave", post(leave))
        .route("/api/v1/rooms/close", post(close))
        .route("/api/v1/rooms/members", get(members))
}

/// A socket, or all sockets of a user, and a room.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    #[serde(default)]
    namespace: Namespace,
    #[serde(default, deserialize_with = "given")]
    sid: Option<FreeName>,
    #[serde(default, deserialize_with = "given")]
    user: Option<Name>,
    room: FreeName,
}

async fn join(State(api): State<Api>, Json(body): Json<Move>) -> Result<Response, ApiError> {
    api.check_no_sid(&body.namespace, &body.room).await?;
    api.change(body, Command::EnterRoom).await
}

async fn leave(State(api): State<Api>, Json(body): Json<Move>) -> Result<Response, ApiError> {
    api.change(body, Command::LeaveRoom).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Room {
    #[serde(default)]
    namespace: Namespace,
    room: FreeName,
}

async fn close(State(api): State<Api>, Json(body): Json<Room>) -> Result<Response, ApiError> {
    api.check_no_sid(&body.namespace, &body.room).await?;
    let close = api.manager.close_room(&body.namespace.0, &body.room.0);
    close.await?;
    Ok((StatusCode::ACCEPTED, axum::Json(json!({}))).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    #[serde(default)]
    namespace: Namespace,
    room: Name,
    #[serde(default)]
    limit: Limit,
    cursor: Option<String>,
}

async fn members(State(api): State<Api>, Query(query): Query<Members>) -> Result<Response, ApiError> {
    let members = api.sids(&query.namespace, &query.room.0).await?;
    let (members, cursor) = page(members, String::as_str, query.limit, query.cursor.as_deref());
    Ok(axum::Json(json!({"members": members, "cursor": cursor})).into_response())
}

impl Api {
    /// Has a socket, or all sockets of a user, change a room.
    async fn change(&self, body: Move, command: fn(Membership) -> Command) -> Result<Response, ApiError> {
        let sids = match (body.sid, body.user) {
            (Some(FreeName(sid)), None) => vec![sid],
            (None, Some(Name(user))) => self.sids(&body.namespace, &user_room(&user)).await?,
            _ => return Err(ApiError::invalid("must have one of sid and user").of("sid")),
        };
        for sid in &sids {
            let membership = Membership {
                namespace: body.namespace.0.as_str().into(),
                sid: sid.clone(),
                room: body.room.0.clone(),
            };
            self.manager.send(command(membership)).await?;
        }
        Ok((StatusCode::ACCEPTED, axum::Json(json!({"sockets": sids.len()}))).into_response())
    }

    /// # Errors
    /// When the room is that of a socket, of whatever gateway: those that hold it would pass over the change, and nobody would know.
    async fn check_no_sid(&self, namespace: &Namespace, FreeName(room): &FreeName) -> Result<(), ApiError> {
        if !crate::socketio::may_be_sid(room) {
            return Ok(());
        }
        match self.sids(namespace, room).await?.contains(room) {
            true => Err(ManagerError::from(RoomIsSid).into()),
            false => Ok(()),
        }
    }
}
