//! Clients with a say over every byte: HTTP requests and WebSocket frames on bare TCP streams.
//!
//! [`Polling`] and [`WebSocket`] are Engine.IO sessions. What they read they give as it came, but for the heartbeats,
//! which they answer and pass over, except where a method says otherwise.

mod frame;
mod http;
mod packet;
mod polling;
mod socketio;
mod tcp;
mod websocket;

pub use frame::{Frame, Opcode};
pub use http::{Exchange, Request, Response};
pub use polling::Polling;
pub use tcp::{connect, connect_narrow, reset};
pub use websocket::{Message, WebSocket};
