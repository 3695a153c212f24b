//! TCP connections that are in the tests' own hands.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::net::{TcpSocket, TcpStream};

/// The least receive buffer asked for; the kernel has a minimum of its own, of a few kilobytes.
const NARROW: u32 = 1024;

/// Connects.
///
/// # Errors
/// Nobody listens.
pub async fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects with so small a receive buffer that the server can write little before somebody reads.
///
/// # Errors
/// Nobody listens.
pub async fn connect_narrow(address: &str) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(NARROW)?;
    let stream = socket.connect(address.parse::<SocketAddr>()?).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Ends the connection with a reset instead of a farewell.
///
/// # Errors
/// It has ended already.
pub fn reset(stream: TcpStream) -> Result<()> {
    let stream = stream.into_std()?;
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
    drop(stream);
    Ok(())
}
