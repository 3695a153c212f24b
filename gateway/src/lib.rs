//! A horizontally scaled Socket.IO gateway.
//!
//! The binary `hallporter` serves what its configuration says. As a library, a [`Gateway`] takes the user's own [`Handler`] too:
//!
//! ```no_run
//! use hallporter::{Event, Gateway, Handler, Socket, config::Config};
//!
//! #[derive(Debug)]
//! struct Echo;
//!
//! #[async_trait::async_trait]
//! impl Handler for Echo {
//!     async fn event(&self, _: &Socket, event: Event) -> Option<Event> {
//!         let args = event.args.clone();
//!         event.ack_args(&args);
//!         None
//!     }
//! }
//!
//! # async fn run() -> Result<(), hallporter::GatewayError> {
//! let gateway = Gateway::new(Config::default()).handler(Echo).bind().await?;
//! gateway.serve(std::future::pending()).await
//! # }
//! ```

mod client_rooms;
pub mod config;
mod engine;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod handler;
mod http;
mod metric;
pub mod shutdown;
mod socketio;

pub use engine::Headers;
pub use gateway::{Bound, Gateway, GatewayError};
pub use hallporter_adapters as adapters;
pub use handler::{DisconnectReason, Event, Handler, Refusal};
pub use socketio::{Handshake, Socket};
