//! What a process has printed so far.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;

use super::PATIENCE;

/// The lines of a process, kept while it runs and after.
#[derive(Clone, Debug)]
pub struct Log {
    process: Arc<str>,
    lines: watch::Sender<Vec<String>>,
}

impl Log {
    /// An empty log of the process called `process`.
    pub fn new(process: &str) -> Self {
        Self {
            process: process.into(),
            lines: watch::Sender::default(),
        }
    }

    /// Keeps what `stream` brings until it ends.
    pub fn follow(&self, stream: impl AsyncRead + Unpin + Send + 'static) {
        let log = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stream).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                log.push(line);
            }
        });
    }

    /// Adds a line that did not come by a stream.
    #[expect(clippy::print_stderr, reason = "the test runner shows it when the test fails")]
    pub fn push(&self, line: String) {
        eprintln!("[{}] {line}", self.process);
        self.lines.send_modify(|lines| lines.push(line));
    }

    /// The first line containing `text`, of now or soon.
    ///
    /// # Errors
    /// There was none in time.
    pub async fn line(&self, text: &str) -> Result<String> {
        self.nth_line(text, 1).await
    }

    /// The `n`th line containing `text`, counted from 1, of now or soon.
    ///
    /// # Errors
    /// There were fewer in time.
    pub async fn nth_line(&self, text: &str, n: usize) -> Result<String> {
        let nth = |lines: &Vec<String>| lines.iter().filter(|line| line.contains(text)).nth(n - 1).cloned();
        let mut lines = self.lines.subscribe();
        let found = tokio::time::timeout(PATIENCE, lines.wait_for(|lines| nth(lines).is_some())).await;
        let lines = found.map_err(|_| anyhow!("{}: line {n} with {text:?} did not come", self.process))??;
        nth(&lines).ok_or_else(|| anyhow!("the log of {} shrank", self.process))
    }

    /// How many lines contain `text`.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        self.lines.borrow().iter().filter(|line| line.contains(text)).count()
    }

    /// All lines as one text.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.borrow().join("\n")
    }
}
