//! A NATS of the test's own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{Log, Process, Restartable, free_ports};

/// A running `nats-server` on a free port with a folder of its own, where it keeps what JetStream has, if that is on.
#[derive(Debug)]
pub struct NatsServer {
    process: Restartable,
    port: u16,
    folder: TempDir,
}

impl NatsServer {
    /// Starts one and waits until it takes connections.
    ///
    /// # Errors
    /// It is not installed or does not start.
    pub async fn start() -> Result<Self> {
        Self::configured("").await
    }

    /// Starts one with this configuration.
    ///
    /// # Errors
    /// It is not installed, does not start or does not understand the configuration.
    pub async fn configured(configuration: &str) -> Result<Self> {
        let [port] = free_ports();
        let server = Self {
            process: Restartable::default(),
            port,
            folder: tempfile::tempdir()?,
        };
        std::fs::write(server.file("nats.conf"), configuration)?;
        server.restart().await?;
        Ok(server)
    }

    /// The URL for managers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path of a file in its folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Kills it at once, with SIGKILL.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn kill(&self) -> Result<()> {
        self.process.kill().await
    }

    /// Starts it again on the same port after `kill`.
    ///
    /// # Errors
    /// It does not start.
    pub async fn restart(&self) -> Result<()> {
        self.process.put(launch(self.port, &self.file("nats.conf")).await?);
        Ok(())
    }

    /// Makes it stop answering while its connections stay open.
    ///
    /// # Errors
    /// It is gone.
    pub fn freeze(&self) -> Result<()> {
        self.process.freeze()
    }

    /// Lets it go on after `freeze`.
    ///
    /// # Errors
    /// It is gone.
    pub fn thaw(&self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// Has it say that it will close its connections soon, and take no new ones.
    ///
    /// # Errors
    /// It is gone.
    pub fn lame_duck(&self) -> Result<()> {
        self.process.signal(Signal::USR2)
    }

    /// What it has printed since it was last started.
    ///
    /// # Errors
    /// It is gone.
    pub fn log(&self) -> Result<Log> {
        self.process.log()
    }
}

async fn launch(port: u16, file: &Path) -> Result<Process> {
    let (port, file) = (port.to_string(), file.to_str().context("the file's name is UTF-8")?);
    let folder = Path::new(file)
        .parent()
        .and_then(Path::to_str)
        .context("it is in a folder")?;
    let args = [
        "--addr",
        "127.0.0.1",
        "--port",
        &port,
        "--config",
        file,
        "--store_dir",
        folder,
    ];
    let process = Process::start("nats", Path::new("nats-server"), |_| {}, args)?;
    let started = process.log().line("Server is ready").await;
    started.context("nats-server does not start; `make setup` installs it")?;
    Ok(process)
}
