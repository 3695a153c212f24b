//! What handlers write down: a line for each event, before it is answered.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tempfile::NamedTempFile;

/// A file that many processes write in.
#[derive(Debug)]
pub(super) struct Book(NamedTempFile);

impl Book {
    pub(super) fn new() -> Result<Self> {
        Ok(Self(tempfile::Builder::new().prefix("hallporter-book-").tempfile()?))
    }

    pub(super) fn path(&self) -> Result<&str> {
        Path::to_str(self.0.path()).context("the path is UTF-8")
    }

    pub(super) fn pen(&self) -> Result<File> {
        Ok(OpenOptions::new().append(true).open(self.0.path())?)
    }

    /// The numbers of each client, in the order in which they were handled.
    pub(super) fn read(&self) -> Result<HashMap<usize, Vec<usize>>> {
        let mut handled: HashMap<usize, Vec<usize>> = HashMap::new();
        for line in std::fs::read_to_string(self.0.path())?.lines() {
            let mut words = line.split_whitespace().map(str::parse);
            let (Some(client), Some(number)) = (words.next(), words.next()) else {
                ensure!(false, "{line:?} is no line of the book");
                continue;
            };
            handled.entry(client?).or_default().push(number?);
        }
        Ok(handled)
    }
}

/// Writes that an event was handled.
pub(super) fn write(mut pen: &File, client: usize, number: usize) -> Result<()> {
    // One write, so that lines of several processes do not mix.
    Ok(pen.write_all(format!("{client} {number}\n").as_bytes())?)
}
