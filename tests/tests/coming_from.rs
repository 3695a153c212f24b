//! The page for those who come from other servers names every call of those.

use std::path::Path;

use anyhow::{Result, ensure};
use e2e::{clients, python, run};

#[tokio::test]
async fn every_call_of_other_servers_is_in_the_table() -> Result<()> {
    let script = clients("coming_from.py")?;
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/coming-from.md");
    let found = run(&python()?, [script, page]).await?;
    ensure!(found.code == 0, "{}{}", found.stdout, found.stderr);
    Ok(())
}
