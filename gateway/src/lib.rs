//! A horizontally scaled Socket.IO gateway.
//!
//! The binary `hallporter` serves what its configuration says. As a library, a [`Gateway`] runs the user's own code too:
//!
//! ```no_run
//! use hallporter::{Data, Error, Gateway, Namespace, Talk, config::Config};
//!
//! async fn say(Data(text): Data<String>, talk: Talk) -> Result<&'static str, Error> {
//!     talk.emit("said", &text).await?;
//!     Ok("said")
//! }
//!
//! # async fn run() -> Result<(), hallporter::GatewayError> {
//! let chat = Namespace::new("/chat").public().on("say", say);
//! let gateway = Gateway::new(Config::default()).namespace(chat).bind().await?;
//! gateway.serve(std::future::pending()).await
//! # }
//! ```

mod app;
mod client_rooms;
pub mod config;
mod engine;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod http;
mod metric;
mod routes;
pub mod shutdown;
mod socketio;
mod tcp;
mod token;

/// The page for those who write handlers, so that its examples are compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/library.md")]
mod library_page {}

pub use app::{
    Acks, Answers, Binary, BoxHandler, CallError, Data, DisconnectReason, Error, Events, Failure, FromRequest, Guard,
    Handler, IntoReply, List, MethodOf, Middleware, Namespace, Next, NoAck, On, Outcome, Refusal, Reply, Request,
    Servers, Session, SessionError, Sid, State, Talk, TalkError, User, UserChange, authenticated,
};
pub use config::{AppConfig, AppConfigError};
pub use engine::Headers;
pub use gateway::{Bound, Gateway, GatewayError, Running};
pub use hallporter_adapters as adapters;
pub use hallporter_adapters::{Ack, Args, Instance, Receipt, SocketInfo, UserPolicy};
pub use http::{GatewayLayer, GatewayService};
pub use socketio::Handshake;
pub use token::TokenConfigError;
