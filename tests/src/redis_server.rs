//! A Redis of the test's own.

use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result};
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::Process;

/// A running `redis-server` on a free port with a data folder of its own.
#[derive(Debug)]
pub struct RedisServer {
    process: Process,
    port: u16,
    folder: TempDir,
}

impl RedisServer {
    /// Starts one and waits until it takes connections.
    ///
    /// # Errors
    /// It is not installed (`make setup-system`) or does not start.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = launch(port, folder.path()).await?;
        Ok(Self { process, port, folder })
    }

    /// The URL for managers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
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
        self.process = launch(self.port, self.folder.path()).await?;
        Ok(())
    }

    /// Makes it stop answering while its connections stay open.
    ///
    /// # Errors
    /// It is gone.
    pub fn freeze(&self) -> Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// Lets it go on after `freeze`.
    ///
    /// # Errors
    /// It is gone.
    pub fn thaw(&self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// A connection to publish by.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn connection(&self) -> Result<MultiplexedConnection> {
        Ok(redis::Client::open(self.url())?
            .get_multiplexed_async_connection()
            .await?)
    }

    /// Publishes bytes as they are and returns how many hosts listen.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn publish(&self, channel: &str, payload: &[u8]) -> Result<u64> {
        let mut connection = self.connection().await?;
        Ok(redis::cmd("PUBLISH")
            .arg(channel)
            .arg(payload)
            .query_async(&mut connection)
            .await?)
    }
}

async fn launch(port: u16, folder: &Path) -> Result<Process> {
    let port = port.to_string();
    let dir = folder.to_str().context("the folder's name is UTF-8")?;
    let args = [
        "--port",
        &port,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        dir,
    ];
    let mut process = Process::start("redis", Path::new("redis-server"), |_| {}, args)?;
    let stdout = process.stdout()?;
    process.log().follow(stdout);
    process
        .log()
        .line("Ready to accept connections")
        .await
        .context("redis-server does not start; `make setup-system` installs it")?;
    Ok(process)
}
