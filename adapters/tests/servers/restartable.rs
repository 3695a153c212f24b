//! A server that a test stops, kills and starts again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::{Log, Process};

/// A process that may be away for a while.
#[derive(Debug, Default)]
pub struct Restartable(Mutex<Option<Process>>);

impl Restartable {
    /// This process from now on; the one before it is killed.
    pub fn put(&self, process: Process) {
        *self.process() = Some(process);
    }

    /// Kills it at once, with SIGKILL.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn kill(&self) -> Result<()> {
        let process = self.process().take();
        match process {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process().as_ref().context("it is killed")?.signal(signal)
    }

    /// Makes it stop answering while its connections stay open, until it gets SIGCONT.
    ///
    /// # Errors
    /// It is gone.
    pub fn freeze(&self) -> Result<()> {
        self.process().as_ref().context("it is killed")?.freeze()
    }

    /// What it has printed since it was last started.
    ///
    /// # Errors
    /// It is gone.
    pub fn log(&self) -> Result<Log> {
        Ok(self.process().as_ref().context("it is killed")?.log().clone())
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
