//! What a process takes of the machine.

use anyhow::{Context, Result};
use rustix::process::Pid;

/// Memory, threads and open files of a process, as `/proc` tells.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    /// Resident memory, in KiB.
    pub rss: u64,
    /// Threads.
    pub threads: u64,
    /// Open files and connections.
    pub files: u64,
}

impl Footprint {
    /// Of this process, now.
    ///
    /// # Errors
    /// It has ended.
    pub fn of(process: Pid) -> Result<Self> {
        let pid = process.as_raw_nonzero();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
            number.with_context(|| format!("/proc tells no {key}"))
        };
        Ok(Self {
            rss: number("VmRSS:")?,
            threads: number("Threads:")?,
            files: std::fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64,
        })
    }
}
