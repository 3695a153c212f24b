//! The HTTP API, from outside: what each resource does on a cluster of two gateways, who may use it, and what is answered otherwise.

mod access;
mod answers;
mod cli;
mod emits;
mod emitter;
mod generated;
mod methods;
mod rooms;
mod scene;
mod sockets;
