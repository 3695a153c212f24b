//! The worker that links `hallporter-emitter`.

use anyhow::{Context, Result};
use hallporter_emitter::Emitter;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

use super::news;

/// Emits what the lines of standard input ask for, until they end.
#[expect(clippy::print_stdout, reason = "whoever started the worker reads it")]
pub(crate) async fn emit(redis: &str) -> Result<()> {
    let room = Emitter::connect(redis).await?.to("hall");
    println!("ready");
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let (first, count) = line.split_once(' ').context("FIRST COUNT")?;
        let (first, count): (u64, u64) = (first.parse()?, count.parse()?);
        for number in first..first + count {
            room.emit("news", &news(number)).await?;
        }
    }
    Ok(())
}
