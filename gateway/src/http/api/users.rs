//! Users: who is online, disconnecting them.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hallporter_adapters::{Command, user_room};
use serde::Deserialize;
use serde_json::json;

use super::Api;
use super::error::ApiError;
use super::input::{Json, Name, Namespace, Path, Query, Where};
use super::page::{Limit, page};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/users", get(list))
        .route("/api/v1/users/{user}", get(one))
        .route("/api/v1/users/disconnect", post(disconnect))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    namespace: Namespace,
    #[serde(default)]
    limit: Limit,
    cursor: Option<String>,
}

async fn list(State(api): State<Api>, Query(query): Query<List>) -> Response {
    let users = api.manager.users(&query.namespace.0);
    let count = users.len();
    let (users, cursor) = page(users, String::as_str, query.limit, query.cursor.as_deref());
    axum::Json(json!({"count": count, "users": users, "cursor": cursor})).into_response()
}

/// Who is offline is no error: it is the answer to the question.
async fn one(
    State(api): State<Api>,
    Path(user): Path,
    Query(Where { namespace }): Query<Where>,
) -> Result<Response, ApiError> {
    let online = api.manager.is_online(&namespace.0, &user);
    let mut sids = match online {
        true => api.sids(&namespace, &user_room(&user)).await?,
        false => Vec::new(),
    };
    sids.sort_unstable();
    Ok(axum::Json(json!({"user": user, "online": online, "sids": sids})).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disconnect {
    #[serde(default)]
    namespace: Namespace,
    user: Name,
    /// Closes the whole connections.
    #[serde(default)]
    connection: bool,
}

async fn disconnect(State(api): State<Api>, Json(body): Json<Disconnect>) -> Result<Response, ApiError> {
    let command = Command::Disconnect {
        namespace: body.namespace.0.into(),
        sid: user_room(&body.user.0),
        connection: body.connection,
    };
    api.manager.send(command).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(json!({}))).into_response())
}
