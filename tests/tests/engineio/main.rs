//! Engine.IO, version 4 and 3, and the WebSocket protocol below it: every rule of the published documents, on raw connections.

mod frames;
mod handshake;
mod heartbeat;
mod polling;
mod settings;
mod upgrade;
mod version3;
mod websocket;
