//! Socket.IO 5 on Engine.IO 4, and Socket.IO 4 on Engine.IO 3: every rule of the published documents, on raw connections.

mod acks;
mod binary;
mod connect;
mod events;
mod malformed;
mod namespaces;
mod order;
mod rooms;
mod version4;
