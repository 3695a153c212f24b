//! What is set on the TCP connections of clients.

use std::io;
use std::time::Duration;

use socket2::SockRef;

/// What the kernel may hold back for one client, in bytes; the rest waits in the gateway, where it is counted.
const SEND_BUFFER: usize = 256 * 1024;

/// What the kernel takes beyond that which is on its way to the client, in bytes. The less, the sooner it shows that a slow client
/// has taken something: otherwise the kernel says nothing until a third of its buffer is free.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 32 * 1024;

/// Prepares a connection, or a listener, for those it will accept.
///
/// # Errors
/// When the system does not allow it.
pub(crate) fn prepare(socket: &SockRef<'_>, write_stall: Duration) -> io::Result<()> {
    // Packets are small and matter at once.
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(UNSENT)?;
    // Ends what nobody else watches: an answer that the client does not read.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(write_stall.saturating_mul(3)))?;
    Ok(())
}
