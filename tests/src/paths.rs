//! Where the programs under test and the drivers' interpreters are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file or folder a `make` target provides.
fn provided(path: PathBuf, target: &str) -> Result<PathBuf> {
    if !path.exists() {
        bail!("{} is missing: run `make {target}`", path.display());
    }
    Ok(path)
}

/// `target/<profile>`, found from the running test, which lies in `deps/` below it.
fn profile_folder() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test
        .ancestors()
        .nth(2)
        .context("a test lies in target/<profile>/deps")?;
    Ok(folder.to_path_buf())
}

/// The program `hallporter`.
///
/// # Errors
/// It is not built.
pub fn hallporter() -> Result<PathBuf> {
    provided(profile_folder()?.join("hallporter"), "build")
}

/// An example of the gateway, by name.
///
/// # Errors
/// It is not built.
pub fn example(name: &str) -> Result<PathBuf> {
    provided(profile_folder()?.join("examples").join(name), "build")
}

/// A program or script in the folder of the clients.
///
/// # Errors
/// npm's packages are not installed there.
pub fn clients(file: &str) -> Result<PathBuf> {
    let folder = root().join("tests/clients");
    provided(folder.join("node_modules/.ready"), "setup-node")?;
    Ok(folder.join(file))
}

/// The interpreter that has python-socketio.
///
/// # Errors
/// It is not installed.
pub fn python() -> Result<PathBuf> {
    provided(root().join(".cache/python/.ready"), "setup-python")?;
    Ok(root().join(".cache/python/bin/python"))
}

/// Where tests leave what people may want to look at; git ignores it.
///
/// # Errors
/// It cannot be made.
pub fn artefacts() -> Result<PathBuf> {
    let folder = root().join("artefacts");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
