//! Where and with what it was measured.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::results::Results;
use crate::scene::Sizes;
use crate::server::{Kind, folder, python};

/// The load average of the last minute: what else the machine does, where it is asked before anything is measured.
pub(crate) fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}

/// A list of all that may matter.
pub(super) async fn conditions(results: &Results, sizes: &Sizes, rounds: u32, load: &str) -> Result<String> {
    let mut text = String::new();
    let Sizes {
        crowd,
        room,
        burst,
        echoing,
        time,
    } = sizes;
    let _ = writeln!(
        text,
        "- {rounds} rounds, servers in turn; {crowd} and {room} clients, bursts of {burst}, {echoing} echoes at a time; at least {time} ms for each measurement"
    );
    let date = said("date", &["-u", "+%F"]).await?;
    let _ = writeln!(text, "- date: {date}");
    let _ = writeln!(
        text,
        "- machine: {}; {}; load before the run {load}",
        machine()?,
        said("uname", &["-srm"]).await?
    );
    let commit = said(
        "git",
        &["-C", &folder().to_string_lossy(), "rev-parse", "--short", "HEAD"],
    )
    .await;
    let commit = commit.map_or_else(|_| String::new(), |commit| format!(", commit {commit}"));
    let hallporter = concat!("Hallporter ", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(
        text,
        "- {hallporter}{commit}, {} build; {}",
        profile(),
        said("rustc", &["--version"]).await?
    );
    let _ = writeln!(
        text,
        "- {}",
        crates(&["socketioxide", "socketioxide-redis", "axum", "tokio"])?
    );
    if measured(results, Kind::Node) {
        let packages = ["socket.io", "engine.io", "ws", "@socket.io/redis-adapter"].map(package);
        let packages = packages.into_iter().collect::<Result<Vec<_>>>()?.join(", ");
        let _ = writeln!(text, "- Node {}: {packages}", said("node", &["--version"]).await?);
    }
    if measured(results, Kind::Python) {
        let script = "import sys, importlib.metadata as m; \
            print(sys.version.split()[0] + ': ' + ', '.join(f'{p} {m.version(p)}' for p in \
            ('python-socketio', 'uvicorn', 'uvloop', 'websockets', 'redis')))";
        let _ = writeln!(text, "- Python {}", said(python(), &["-c", script]).await?);
    }
    let redis = said("redis-server", &["--version"]).await?;
    let redis: Vec<_> = redis.split_whitespace().take(3).collect();
    let _ = writeln!(text, "- {}", redis.join(" "));
    Ok(text)
}

fn measured(results: &Results, kind: Kind) -> bool {
    results.faults().contains_key(&kind)
}

const fn profile() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}

/// What a program prints.
async fn said(program: impl AsRef<OsStr>, args: &[&str]) -> Result<String> {
    let ended = e2e::run(Path::new(&program), args).await?;
    ensure!(ended.code == 0, "{:?} failed: {}", program.as_ref(), ended.stderr);
    Ok(ended.stdout.trim().to_owned())
}

fn machine() -> Result<String> {
    let value = |file: &str, key: &str| -> Result<String> {
        let text = fs::read_to_string(file)?;
        let line = text.lines().find(|line| line.starts_with(key));
        let value = line.and_then(|line| line.split_once(':')).context("a known key")?.1;
        Ok(value.trim().to_owned())
    };
    // Not every kind of processor has a name.
    let processor = value("/proc/cpuinfo", "model name").unwrap_or_else(|_| "unnamed processor".into());
    let cores = std::thread::available_parallelism()?;
    Ok(format!(
        "{processor}, {cores} cores, memory {}",
        value("/proc/meminfo", "MemTotal")?
    ))
}

/// The versions this program was built with.
fn crates(names: &[&str]) -> Result<String> {
    let lock = fs::read_to_string(folder().join("../../Cargo.lock"))?;
    let version = |name: &&str| {
        let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        Some(format!("{name} {}", rest.split('"').next()?))
    };
    let versions: Vec<_> = names.iter().filter_map(version).collect();
    Ok(versions.join(", "))
}

/// A package of Node and its version.
fn package(name: &str) -> Result<String> {
    let file = folder().join("node/node_modules").join(name).join("package.json");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let package: Value = serde_json::from_str(&text)?;
    Ok(format!("{name} {}", package["version"].as_str().context("a version")?))
}
