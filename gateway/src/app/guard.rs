//! What stands before handlers.

use super::handler::Outcome;
use super::{BoxHandler, Error, Reply, Request};

/// Decides whether a request may be handled: a function of [`Request`] that refuses with an error.
pub trait Guard: Send + Sync + 'static {
    /// # Errors
    /// When the request is refused; the caller is told.
    fn check(&self, request: &Request) -> Result<(), Error>;
}

impl<F: Fn(&Request) -> Result<(), Error> + Send + Sync + 'static> Guard for F {
    fn check(&self, request: &Request) -> Result<(), Error> {
        self(request)
    }
}

/// The guard that lets nobody pass who is not a user.
///
/// # Errors
/// `unauthenticated`.
pub fn authenticated(request: &Request) -> Result<(), Error> {
    match request.user() {
        Some(_) => Ok(()),
        None => Err(Error::unauthenticated()),
    }
}

/// Something around handlers: an async function of [`Request`] and [`Next`].
///
/// ```
/// use hallporter::{Error, Namespace, Next, Reply, Request};
///
/// async fn timed(request: Request, next: Next) -> Result<Reply, Error> {
///     let begun = std::time::Instant::now();
///     let reply = next.run(request.clone()).await;
///     println!("{} took {:?}", request.event(), begun.elapsed());
///     reply
/// }
///
/// let namespace = Namespace::new("/").with(timed);
/// ```
pub trait Middleware: Send + Sync + 'static {
    /// Handles a request with the help of what comes next.
    fn call(&self, request: Request, next: Next) -> Outcome;
}

impl<F, Doing> Middleware for F
where
    F: Fn(Request, Next) -> Doing + Send + Sync + 'static,
    Doing: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    fn call(&self, request: Request, next: Next) -> Outcome {
        Box::pin(self(request, next))
    }
}

/// What a middleware stands around.
#[derive(Clone, Debug)]
pub struct Next(pub(super) BoxHandler);

impl Next {
    /// Handles the request.
    ///
    /// # Errors
    /// Those of the handler.
    pub async fn run(self, request: Request) -> Result<Reply, Error> {
        self.0.call(request).await
    }
}
