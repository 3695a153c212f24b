//! Functions as handlers.

use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;

use super::extract::FromRequest;
use super::guard::{Guard, Middleware, Next};
use super::reply::IntoReply;
use super::{Error, Reply, Request, Shared};

/// What a handler comes to.
pub type Outcome = Pin<Box<dyn Future<Output = Result<Reply, Error>> + Send>>;

/// Something that handles requests: an async function of up to eight parameters, each of them [`FromRequest`], whose result is
/// [`IntoReply`]. `M` is only there for the compiler to tell functions apart.
///
/// ```
/// use hallporter::{Data, Error, Namespace, Talk, authenticated};
/// use hallporter::Handler;
///
/// async fn say(Data((room, text)): Data<(String, String)>, talk: Talk) -> Result<&'static str, Error> {
///     talk.to(room).emit("said", &text).await?;
///     Ok("said")
/// }
///
/// let chat = Namespace::new("/chat").on("say", say.guard(authenticated));
/// ```
pub trait Handler<M>: Send + Sync + Sized + 'static {
    /// The same, as a value of one type for all handlers.
    fn boxed(self) -> BoxHandler;

    /// Handles only what this guard lets pass.
    fn guard(self, guard: impl Guard) -> BoxHandler {
        let handler = self.boxed();
        let needs = handler.needs.clone();
        BoxHandler::new(needs, move |request| match guard.check(&request) {
            Ok(()) => handler.call(request),
            Err(error) => Box::pin(ready(Err(error))),
        })
    }

    /// Puts something around the handler.
    fn with(self, middleware: impl Middleware) -> BoxHandler {
        let handler = self.boxed();
        let needs = handler.needs.clone();
        BoxHandler::new(needs, move |request| middleware.call(request, Next(handler.clone())))
    }
}

/// Any handler. Cloning shares it.
#[derive(Clone)]
pub struct BoxHandler {
    call: Arc<dyn Fn(Request) -> Outcome + Send + Sync>,
    needs: Arc<[Need]>,
}

/// Finds out at the start whether what a parameter asks for is there.
pub(super) type Need = fn(&Shared) -> Result<(), String>;

impl BoxHandler {
    fn new(needs: Arc<[Need]>, call: impl Fn(Request) -> Outcome + Send + Sync + 'static) -> Self {
        let call = Arc::new(call);
        Self { call, needs }
    }

    /// One that asks for nothing but the request.
    pub(crate) fn of(call: impl Fn(Request) -> Outcome + Send + Sync + 'static) -> Self {
        Self::new(Arc::default(), call)
    }

    /// Handles a request.
    pub(crate) fn call(&self, request: Request) -> Outcome {
        (self.call)(request)
    }

    /// What is missing for it to be called at all.
    pub(super) fn missing(&self, shared: &Shared) -> Option<String> {
        self.needs.iter().find_map(|need| need(shared).err())
    }
}

impl fmt::Debug for BoxHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxHandler")
    }
}

impl Handler<()> for BoxHandler {
    fn boxed(self) -> BoxHandler {
        self
    }
}

/// A method of a type `S`: a handler whose first parameter is `self: Arc<Self>`. See [`Events`](super::Events).
pub trait MethodOf<S, M>: Send + Sync + Sized + 'static {
    /// The handler it is for this value.
    fn of(self, this: Arc<S>) -> BoxHandler;
}

macro_rules! handlers {
    ($(($($parameter:ident),*))*) => {$(
        impl<F, Doing, R, M, $($parameter),*> Handler<(M, fn($($parameter),*))> for F
        where
            F: FnOnce($($parameter),*) -> Doing + Clone + Send + Sync + 'static,
            Doing: Future<Output = R> + Send + 'static,
            R: IntoReply<M> + 'static,
            $($parameter: FromRequest + 'static),*
        {
            fn boxed(self) -> BoxHandler {
                call!(self, $($parameter),*)
            }
        }

        impl<S, F, Doing, R, M, $($parameter),*> MethodOf<S, (M, fn($($parameter),*))> for F
        where
            S: Send + Sync + 'static,
            F: FnOnce(Arc<S>, $($parameter),*) -> Doing + Clone + Send + Sync + 'static,
            Doing: Future<Output = R> + Send + 'static,
            R: IntoReply<M> + 'static,
            $($parameter: FromRequest + 'static),*
        {
            fn of(self, this: Arc<S>) -> BoxHandler {
                let method = move |$($parameter),*| self(this, $($parameter),*);
                call!(method, $($parameter),*)
            }
        }
    )*};
}

macro_rules! call {
    ($function:expr, $($parameter:ident),*) => {{
        let function = $function;
        let needs: [Need; _] = [$($parameter::check),*];
        BoxHandler::new(Arc::new(needs), move |_request| {
            $(
                let $parameter = match $parameter::from_request(&_request) {
                    Ok(value) => value,
                    Err(error) => return Box::pin(ready(Err(error))),
                };
            )*
            let doing = function.clone()($($parameter),*);
            Box::pin(async move { doing.await.into_reply() })
        })
    }};
}

#[allow(non_snake_case, reason = "a parameter is named as its type")]
mod implementations {
    use super::*;

    handlers! {
        () (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, G) (A, B, C, D, E, G, H) (A, B, C, D, E, G, H, I)
    }
}
