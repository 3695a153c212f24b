//! A NATS of the test's own.

use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result};

use crate::Process;

/// A running `nats-server` on a free port; it keeps nothing.
#[derive(Debug)]
pub struct NatsServer {
    process: Process,
    port: u16,
}

impl NatsServer {
    /// Starts one and waits until it takes connections.
    ///
    /// # Errors
    /// It is not installed (`make setup-system`) or does not start.
    pub async fn start() -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = launch(port).await?;
        Ok(Self { process, port })
    }

    /// The URL for managers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Kills it at once, with SIGKILL.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// Starts it again on the same port after `kill`.
    ///
    /// # Errors
    /// It does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.process = launch(self.port).await?;
        Ok(())
    }
}

async fn launch(port: u16) -> Result<Process> {
    let args = ["--addr", "127.0.0.1", "--port", &port.to_string()];
    let process = Process::start("nats", Path::new("nats-server"), |_| {}, args)?;
    process
        .log()
        .line("Server is ready")
        .await
        .context("nats-server does not start; `make setup-system` installs it")?;
    Ok(process)
}
