//! Accepting connections and speaking HTTP/1.1 on them.

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::Either;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};

use crate::tcp;

/// Connections the system keeps until they are accepted.
const BACKLOG: i32 = 4096;

/// How long to wait when the system has no connection to give, such as when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What answers requests.
pub(crate) trait Served:
    Service<Request<Body>, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> Served for S where
    S: Service<Request<Body>, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

/// Listens on this address. What is set here holds for every connection that is accepted.
///
/// # Errors
/// When the system does not allow it.
pub(crate) fn listen(address: SocketAddr, write_stall: Duration) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    tcp::prepare(&SockRef::from(&socket), write_stall)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Serves until `closing`, then ends the connections that serve no request. A client may take `request_head` to send the head of
/// a request, or the next request.
pub(crate) async fn serve(
    listener: TcpListener,
    service: impl Served,
    request_head: Duration,
    closing: CancellationToken,
) {
    let connections = TaskTracker::new();
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(request_head);
    while let Some(accepted) = closing.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, client)) => {
                connections.spawn(connection(
                    server.clone(),
                    stream,
                    client,
                    service.clone(),
                    closing.clone(),
                ));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Serves one connection. A WebSocket leaves it to the engine, and nothing of this stays.
async fn connection(
    server: http1::Builder,
    stream: TcpStream,
    client: SocketAddr,
    service: impl Served,
    closing: CancellationToken,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(client));
        begun(service.clone().oneshot(request.map(Body::new)))
    });
    let mut connection = Box::pin(server.serve_connection(TokioIo::new(stream), service).with_upgrades());
    tokio::select! {
        // A connection that breaks is the client's affair.
        _ = connection.as_mut() => return,
        () = closing.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Begins to serve a request the moment it has come. hyper looks first whether the client is still there, and would drop the request
/// unbegun; but a poll that its client cancels ends the session, so it has to be known.
fn begun<T>(serving: impl Future<Output = T>) -> impl Future<Output = T> {
    let mut serving = Box::pin(serving);
    match serving.as_mut().now_or_never() {
        Some(served) => Either::Left(ready(served)),
        None => Either::Right(serving),
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Tells when it is dropped.
    struct Guard(Arc<Notify>);

    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }

    /// Who cancels a poll ends the session, so the poll has to be known.
    #[tokio::test]
    async fn a_request_is_begun_though_its_client_has_gone() {
        let cancelled = Arc::new(Notify::new());
        let guarded = cancelled.clone();
        let wait = async move || {
            let _guard = Guard(guarded.clone());
            std::future::pending::<()>().await;
        };
        let router = Router::new()
            .route("/answer", get(async || "answer"))
            .route("/wait", get(wait));
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), PATIENCE).unwrap();
        let address = listener.local_addr().unwrap();
        let closing = CancellationToken::new();
        let server = tokio::spawn(serve(listener, router, PATIENCE, closing.clone()));
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = |path| format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n");
        client.write_all(request("/answer").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"answer") {
            assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0);
        }
        // Both reach the server at once, since it gets no turn between them.
        client.try_write(request("/wait").as_bytes()).unwrap();
        drop(client);
        let begun = tokio::time::timeout(PATIENCE, cancelled.notified()).await;
        assert!(begun.is_ok(), "the request is not begun");
        closing.cancel();
        server.await.unwrap();
    }
}
