//! Child processes that do not outlive the test.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::Instant;

use super::{Log, PATIENCE};

/// A running child. It is killed when this value goes, however the test ends, and when the test process is killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: Log,
}

/// Whether a program is on the path.
pub fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).exists()))
}

/// Stops a process with SIGSTOP and returns when all its threads stand still: until then it may answer.
///
/// # Errors
/// It is gone, or goes on.
pub fn freeze(process: Pid) -> Result<()> {
    kill_process(process, Signal::STOP)?;
    let deadline = Instant::now() + PATIENCE;
    while !is_frozen(process)? {
        ensure!(Instant::now() < deadline, "it does not stop");
        std::thread::yield_now();
    }
    Ok(())
}

fn is_frozen(process: Pid) -> Result<bool> {
    for thread in std::fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero()))? {
        let status = std::fs::read_to_string(thread?.path().join("status"))?;
        if !status.contains("State:\tT") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A command for `program` that dies with the thread that starts it.
fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .arg(program)
        .kill_on_drop(true)
        .stdin(Stdio::null());
    command
}

impl Process {
    /// Starts `program` as `name`; its standard error goes to the log.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        configure: impl FnOnce(&mut Command),
        args: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        let mut command = command(program);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        configure(&mut command);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let log = Log::new(name);
        log.follow(child.stderr.take().context("standard error is piped")?);
        Ok(Self { child, log })
    }

    /// What it has printed to standard error, and to standard output if that is logged.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its standard output, once.
    ///
    /// # Errors
    /// It was taken before.
    pub fn stdout(&mut self) -> Result<ChildStdout> {
        self.child.stdout.take().context("standard output is taken once")
    }

    /// Its standard input, once.
    ///
    /// # Errors
    /// The command does not pipe it, or it was taken before.
    pub fn stdin(&mut self) -> Result<ChildStdin> {
        self.child
            .stdin
            .take()
            .context("standard input is piped and taken once")
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is no longer there.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.id()?, signal)?)
    }

    /// Makes it stop answering while its connections stay open.
    ///
    /// # Errors
    /// It is no longer there.
    pub fn freeze(&self) -> Result<()> {
        freeze(self.id()?)
    }

    /// Its id.
    ///
    /// # Errors
    /// It has ended.
    pub fn id(&self) -> Result<Pid> {
        let id = self.child.id().context("the process has ended")?;
        Pid::from_raw(id.try_into()?).context("no process has the id 0")
    }

    /// Kills it and waits until it is gone.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Waits until it ends by itself and returns its exit code.
    ///
    /// # Errors
    /// It does not end in time, or by a signal.
    pub async fn ended(&mut self) -> Result<i32> {
        let status = tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .context("it does not end")??;
        status.code().ok_or_else(|| anyhow!("it ended by a signal: {status}"))
    }
}

/// What a program that ran to its end left behind.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// What it printed to standard output.
    pub stdout: String,
    /// What it printed to standard error.
    pub stderr: String,
}

/// Runs `program` to its end.
///
/// # Errors
/// It cannot be started, or does not end in time by itself.
pub async fn run<A: AsRef<OsStr>>(program: &Path, args: impl IntoIterator<Item = A>) -> Result<Ended> {
    run_within(3 * PATIENCE, program, args).await
}

/// As [`run`], for a program that may take as long as this.
///
/// # Errors
/// As [`run`].
pub async fn run_within<A: AsRef<OsStr>>(
    patience: Duration,
    program: &Path,
    args: impl IntoIterator<Item = A>,
) -> Result<Ended> {
    let output = command(program).args(args).output();
    let output = tokio::time::timeout(patience, output)
        .await
        .with_context(|| format!("{} does not end", program.display()))?
        .with_context(|| format!("cannot start {}", program.display()))?;
    Ok(Ended {
        code: output
            .status
            .code()
            .ok_or_else(|| anyhow!("ended by a signal: {}", output.status))?,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
