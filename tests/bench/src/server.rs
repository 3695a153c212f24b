//! A server that is measured: its process, and what the system says of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use e2e::Process;
use nix::time::ClockId;
use nix::unistd::Pid;
use tokio::process::ChildStdin;
use tokio::time::{Instant, interval};

/// How long memory has to stay the same to be taken for settled.
const AT_REST: Duration = Duration::from_millis(500);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// A loop of `write` calls, and nothing else.
    Bare,
    /// This project.
    Hallporter,
    /// socketioxide on axum.
    Socketioxide,
    /// Socket.IO for Node, on `ws`.
    Node,
    /// python-socketio on uvicorn.
    Python,
}

impl Kind {
    /// As reports call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare limit",
            Self::Hallporter => "Hallporter",
            Self::Socketioxide => "socketioxide",
            Self::Node => "Node",
            Self::Python => "python-socketio",
        }
    }

    /// The program that runs the app, and its first arguments.
    fn app(self) -> Result<(PathBuf, Vec<PathBuf>)> {
        match self {
            Self::Bare => own(&["serve", "bare"]),
            Self::Hallporter => own(&["serve", "hallporter"]),
            Self::Socketioxide => own(&["serve", "socketioxide"]),
            Self::Node => Ok(("node".into(), vec![folder().join("node/app.mjs")])),
            Self::Python => Ok((python(), vec![folder().join("python/app.py")])),
        }
    }

    /// The program that emits from outside.
    fn worker(self) -> Result<(PathBuf, Vec<PathBuf>)> {
        match self {
            Self::Hallporter => own(&["emit"]),
            Self::Node => Ok(("node".into(), vec![folder().join("node/worker.mjs")])),
            Self::Python => Ok((python(), vec![folder().join("python/worker.py")])),
            Self::Bare | Self::Socketioxide => bail!("{} has no worker", self.name()),
        }
    }
}

/// This package.
pub(crate) fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The interpreter that has the packages of `python/requirements.txt`.
pub(crate) fn python() -> PathBuf {
    folder().join("../../.cache/bench/bin/python")
}

/// This program, with these arguments.
pub(crate) fn own(args: &[&str]) -> Result<(PathBuf, Vec<PathBuf>)> {
    Ok((std::env::current_exe()?, args.iter().map(PathBuf::from).collect()))
}

/// A running process whose CPU time and memory can be read.
#[derive(Debug)]
pub(crate) struct Measured {
    process: Process,
    pid: Pid,
    clock: ClockId,
}

impl Measured {
    pub(crate) fn start(name: &str, (program, mut args): (PathBuf, Vec<PathBuf>), redis: Option<&str>) -> Result<Self> {
        args.extend(redis.map(PathBuf::from));
        let mut process = Process::start(
            name,
            &program,
            |command| {
                command.stdin(Stdio::piped());
            },
            args,
        )?;
        let pid = Pid::from_raw(process.id()?.as_raw_nonzero().get());
        let clock = ClockId::pid_cpu_clock_id(pid)?;
        let stdout = process.stdout()?;
        process.log().follow(stdout);
        Ok(Self { process, pid, clock })
    }

    /// Where it says that it listens.
    pub(crate) async fn address(&self) -> Result<SocketAddr> {
        let line = self.line("listening address=").await?;
        Ok(line.rsplit('=').next().context("an address")?.parse()?)
    }

    /// The first line it prints with this text.
    pub(crate) async fn line(&self, text: &str) -> Result<String> {
        self.process.log().line(text).await
    }

    /// What all its threads have used so far, in user mode and in the kernel.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        Ok(self.clock.now()?.into())
    }

    /// The bytes of its memory that are resident.
    fn resident(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let size = line.and_then(|line| line.split_whitespace().next());
        Ok(size.context("a process has a resident size")?.parse::<u64>()? * 1024)
    }
}

/// A running app.
#[derive(Debug)]
pub(crate) struct Server {
    measured: Measured,
    address: SocketAddr,
}

impl Server {
    /// Starts the app, in a cluster if there is a Redis.
    pub(crate) async fn start(kind: Kind, redis: Option<&str>) -> Result<Self> {
        let measured = Measured::start(kind.name(), kind.app()?, redis)?;
        let address = measured.address().await?;
        Ok(Self { measured, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.measured.cpu()
    }

    pub(crate) fn resident(&self) -> Result<u64> {
        self.measured.resident()
    }

    /// The bytes resident once they do not change any more.
    pub(crate) async fn resident_at_rest(&self) -> Result<u64> {
        let (mut last, mut since) = (self.resident()?, Instant::now());
        let mut pace = interval(Duration::from_millis(100));
        let deadline = Instant::now() + e2e::PATIENCE;
        while since.elapsed() < AT_REST && Instant::now() < deadline {
            pace.tick().await;
            let now = self.resident()?;
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        Ok(last)
    }
}

/// A running worker, and where it takes its orders.
pub(crate) async fn worker(kind: Kind, redis: &str) -> Result<(Measured, ChildStdin)> {
    let mut worker = Measured::start(&format!("{} worker", kind.name()), kind.worker()?, Some(redis))?;
    worker.line("ready").await?;
    let stdin = worker.process.stdin()?;
    Ok((worker, stdin))
}

/// Waits until so many connections to the Redis listen: python-socketio begins with its first client.
pub(crate) async fn listening(redis: &e2e::RedisServer, hosts: usize) -> Result<()> {
    let mut connection = redis.connection().await?;
    let deadline = Instant::now() + e2e::PATIENCE;
    let mut pace = interval(Duration::from_millis(25));
    loop {
        let mut command = redis::cmd("CLIENT");
        let list: String = command
            .arg("LIST")
            .arg("TYPE")
            .arg("pubsub")
            .query_async(&mut connection)
            .await?;
        if list.lines().count() >= hosts {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "only {} of {hosts} hosts listen",
            list.lines().count()
        );
        pace.tick().await;
    }
}

/// Lets this process and its children have as many connections as the system allows them.
pub(crate) fn raise_open_files(needed: u64) -> Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if most < needed {
        bail!("{needed} open files are needed, and {most} allowed: see `ulimit -Hn`, or ask for less with --crowd");
    }
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}
