//! The user's HTTP endpoint, as a server in the test.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use e2e::PATIENCE;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What the endpoint was sent.
#[derive(Clone, Debug)]
pub(super) struct Post {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Where it came from.
    pub(super) from: SocketAddr,
    /// The body as JSON.
    pub(super) event: Value,
}

impl Post {
    pub(super) fn header(&self, name: &str) -> Result<&str> {
        let header = self.headers.get(name);
        Ok(header.with_context(|| format!("{name} is missing"))?.to_str()?)
    }
}

/// How it answers.
type Answer = dyn Fn(Post) -> BoxFuture<'static, Response> + Send + Sync;

/// An endpoint that serves until it is dropped.
pub(super) struct Endpoint {
    pub(super) url: String,
    posts: Mutex<UnboundedReceiver<Post>>,
    serving: JoinHandle<()>,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[derive(Clone)]
struct Shared {
    posts: UnboundedSender<Post>,
    answer: Arc<Answer>,
}

impl Endpoint {
    /// Answers each event by this.
    pub(super) async fn start<F, A, R>(answer: F) -> Result<Self>
    where
        F: Fn(Post) -> A + Send + Sync + 'static,
        A: Future<Output = R> + Send + 'static,
        R: IntoResponse + 'static,
    {
        let (posts, told) = unbounded_channel();
        let answer = Arc::new(move |post| -> BoxFuture<'static, Response> {
            let answering = answer(post);
            Box::pin(async move { answering.await.into_response() })
        });
        let app = Router::new().fallback(receive).with_state(Shared { posts, answer });
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/events", listener.local_addr()?);
        let serving = tokio::spawn(async move {
            // It ends with the test.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self {
            url,
            posts: Mutex::new(told),
            serving,
        })
    }

    /// What it is sent next.
    pub(super) async fn next(&self) -> Result<Post> {
        let mut posts = self.posts.lock().await;
        let next = timeout(PATIENCE, posts.recv()).await;
        next.context("the endpoint is sent nothing")?.context("it has ended")
    }

    /// How often it was sent something that nobody has looked at yet.
    pub(super) async fn unseen(&self) -> usize {
        self.posts.lock().await.len()
    }
}

async fn receive(
    State(shared): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Ok(event) = serde_json::from_slice(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let post = Post {
        headers,
        body,
        from,
        event,
    };
    // Nobody may be looking any more.
    let _ = shared.posts.send(post.clone());
    (shared.answer)(post).await
}
