//! The tiny app, once for each library, and the worker that emits to it from outside.
//!
//! The app takes a port of its own and prints `listening address=HOST:PORT`. With the URL of a Redis it is part of a cluster.
//! - A client that connects with `{"room": ROOM}` is put into that room, before anything is emitted to the room.
//! - The event `broadcast(ROOM, FIRST, COUNT)` makes the server emit `COUNT` events `news` to the room, one after the other.
//!   Their one argument is a text of 128 bytes that begins with the number of the event, in 8 digits, from `FIRST` on.
//! - The event `echo(TEXT)` is acknowledged with the text.
//!
//! `route TO BROKER` is the same app, with a route for `echo` to the user's code elsewhere: the `endpoint` over HTTP or the worker of `work`.
//!
//! The worker prints `ready`, reads lines `FIRST COUNT`, and emits as many events `news` to the room `hall`.

mod bare;
mod hallporter;
mod socketioxide;
mod user_code;
mod worker;

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, bail};

use crate::server::Kind;

pub(crate) use bare::CONNECTED;
pub(crate) use hallporter::route;
pub(crate) use user_code::{endpoint, work};
pub(crate) use worker::emit;

/// Where an app listens: any free port.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Runs the app that is written in Rust on this library, until the process is killed.
pub(crate) async fn serve(kind: Kind, redis: Option<&str>) -> Result<()> {
    match kind {
        Kind::Bare => tokio::task::block_in_place(bare::serve),
        Kind::Hallporter => hallporter::serve(redis).await,
        Kind::Socketioxide => socketioxide::serve(redis).await,
        Kind::Node | Kind::Python => bail!("{} is not written in Rust", kind.name()),
    }
}

/// The argument of the event with this number.
pub(crate) fn news(number: u64) -> String {
    format!("{number:08}{:x<120}", "")
}

#[expect(clippy::print_stdout, reason = "whoever started the app reads it")]
fn listening(address: SocketAddr) {
    println!("listening address={address}");
}
