//! When the process is asked to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Ends with the first SIGINT or SIGTERM. A second one ends the process at once.
///
/// # Errors
/// When the system takes no signal handlers.
pub fn requested() -> io::Result<impl Future<Output = ()> + Send> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tracing::warn!("ending at once");
            std::process::exit(1);
        });
    })
}
