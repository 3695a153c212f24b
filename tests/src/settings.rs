//! Configuration files for `hallporter`.

use std::path::Path;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

/// A configuration file that is there as long as this value.
#[derive(Debug)]
pub struct Settings(NamedTempFile);

impl Settings {
    /// A file with this text.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(toml: &str) -> Result<Self> {
        let file = tempfile::Builder::new()
            .prefix("hallporter-")
            .suffix(".toml")
            .tempfile()?;
        std::fs::write(file.path(), toml)?;
        Ok(Self(file))
    }

    /// Its path, as an argument.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn path(&self) -> Result<&str> {
        Path::to_str(self.0.path()).context("the path is UTF-8")
    }
}
