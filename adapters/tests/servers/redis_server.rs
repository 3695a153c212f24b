//! A Redis of the test's own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{Log, Process, Restartable, free_ports};

/// A running `redis-server`, or `valkey-server`, on a free port with a folder of its own.
#[derive(Debug)]
pub struct RedisServer {
    process: Restartable,
    program: PathBuf,
    port: u16,
    folder: TempDir,
    sentinel: bool,
}

impl RedisServer {
    /// Starts one and waits until it takes connections.
    ///
    /// # Errors
    /// It is not installed or does not start.
    pub async fn start() -> Result<Self> {
        Self::configured("").await
    }

    /// Starts one with these lines on top of its configuration.
    ///
    /// # Errors
    /// It is not installed, does not start or does not understand the lines.
    pub async fn configured(lines: &str) -> Result<Self> {
        Self::of("redis-server".as_ref(), lines).await
    }

    /// Starts this program, with these lines on top of its configuration.
    ///
    /// # Errors
    /// It is not there, does not start or does not understand the lines.
    pub async fn of(program: &Path, lines: &str) -> Result<Self> {
        let keeps_nothing = "save \"\"\nappendonly no\n";
        Self::launch(program, &format!("{keeps_nothing}{lines}"), false).await
    }

    /// Starts a Sentinel with these lines as its configuration.
    ///
    /// # Errors
    /// It is not installed, does not start or does not understand the lines.
    pub async fn sentinel(lines: &str) -> Result<Self> {
        Self::launch("redis-server".as_ref(), lines, true).await
    }

    async fn launch(program: &Path, lines: &str, sentinel: bool) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let [port] = free_ports();
        let place = format!("bind 127.0.0.1\nport {port}\ndir {}\n", folder.path().display());
        std::fs::write(folder.path().join("redis.conf"), format!("{place}{lines}\n"))?;
        let server = Self {
            process: Restartable::default(),
            program: program.into(),
            port,
            folder,
            sentinel,
        };
        server.restart().await?;
        Ok(server)
    }

    /// The URL for managers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
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
        self.process
            .put(launch(&self.program, self.folder.path(), self.sentinel).await?);
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

    /// What it has printed since it was last started.
    ///
    /// # Errors
    /// It is gone.
    pub fn log(&self) -> Result<Log> {
        self.process.log()
    }
}

async fn launch(program: &Path, folder: &Path, sentinel: bool) -> Result<Process> {
    let file = folder.join("redis.conf");
    let mut args = vec![file.as_os_str()];
    let mut ready = "Ready to accept connections";
    if sentinel {
        args.push("--sentinel".as_ref());
        ready = "Sentinel ID is";
    }
    let mut process = Process::start("redis", program, |_| {}, args)?;
    let stdout = process.stdout()?;
    process.log().follow(stdout);
    let started = process.log().line(ready).await;
    started.with_context(|| format!("{} does not start", program.display()))?;
    Ok(process)
}
