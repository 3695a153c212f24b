//! A gateway under test: the program itself, or the reference application.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, interval};

use crate::shared::on_node;
use crate::{Footprint, Log, PATIENCE, Process, paths};

/// A running gateway on a free port.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    address: String,
}

impl Gateway {
    /// Starts the reference application as `name`.
    ///
    /// # Errors
    /// It is not built or does not start.
    pub async fn reference(name: &str, environment: &[(&str, &str)]) -> Result<Self> {
        if on_node() {
            let script = paths::clients("reference.mjs")?;
            let script = script.to_str().context("the path is UTF-8")?;
            return Self::start(name, Path::new("node"), &[script], environment).await;
        }
        Self::example(name, "reference", environment).await
    }

    /// Starts an example of the gateway as `name`.
    ///
    /// # Errors
    /// It is not built or does not start.
    pub async fn example(name: &str, example: &str, environment: &[(&str, &str)]) -> Result<Self> {
        Self::start(name, &paths::example(example)?, &[], environment).await
    }

    /// Starts `hallporter` as `name` with these arguments.
    ///
    /// # Errors
    /// It is not built or does not start.
    pub async fn hallporter(name: &str, args: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        Self::start(name, &paths::hallporter()?, args, environment).await
    }

    async fn start(name: &str, program: &Path, args: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let configure = |command: &mut tokio::process::Command| {
            command
                .env("HALLPORTER_LISTEN", "127.0.0.1:0")
                .envs(environment.iter().copied());
        };
        let mut process = Process::start(name, program, configure, args)?;
        let stdout = process.stdout()?;
        process.log().follow(stdout);
        let line = process.log().line("listening").await?;
        let address = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("address="))
            .with_context(|| format!("no address= in {line:?}"))?
            .to_owned();
        Ok(Self { process, address })
    }

    /// What clients connect to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The host and port it listens on.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it has printed.
    #[must_use]
    pub fn log(&self) -> &Log {
        self.process.log()
    }

    /// The process itself.
    #[must_use]
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it takes of the machine now.
    ///
    /// # Errors
    /// It has ended.
    pub fn footprint(&self) -> Result<Footprint> {
        Footprint::of(self.process.id()?)
    }

    /// Waits until it has no more threads and open files than these.
    ///
    /// # Errors
    /// It keeps more.
    pub async fn lets_go(&self, limit: Footprint) -> Result<()> {
        let reached = async || {
            let now = self.footprint()?;
            Ok(now.threads <= limit.threads && now.files <= limit.files)
        };
        // A thread for blocking work ends 10 s after its last.
        poll(2 * PATIENCE, reached, || {
            format!("{:?} is more than {limit:?}", self.footprint())
        })
        .await
    }

    /// Status and body of a page.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        let response = reqwest::get(format!("{}{path}", self.url())).await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    /// Status and body of the answer to a JSON document.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn post(&self, path: &str, body: &serde_json::Value) -> Result<(u16, String)> {
        let response = reqwest::Client::new()
            .post(format!("{}{path}", self.url()))
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    /// The sum of a metric over all its series whose labels contain `labels`; 0 where there is none.
    ///
    /// # Errors
    /// `/metrics` does not answer, or with something else than numbers.
    pub async fn metric(&self, name: &str, labels: &str) -> Result<f64> {
        let (status, text) = self.get("/metrics").await?;
        if status != 200 {
            bail!("/metrics answers {status}");
        }
        sum(&text, name, labels)
    }

    /// Waits until a metric is at least `value`.
    ///
    /// # Errors
    /// It is not in time.
    pub async fn metric_reaches(&self, name: &str, labels: &str, value: f64) -> Result<()> {
        let reached = async || Ok(self.metric(name, labels).await? >= value);
        poll(PATIENCE, reached, || {
            format!("{name}{{{labels}}} did not reach {value}")
        })
        .await
    }

    /// Waits until a page answers with this status.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn answers(&self, path: &str, status: u16) -> Result<()> {
        self.answers_within(PATIENCE, path, status).await
    }

    /// Waits until a page answers with this status, but no longer than this.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn answers_within(&self, patience: Duration, path: &str, status: u16) -> Result<()> {
        let reached = async || Ok(self.get(path).await?.0 == status);
        poll(patience, reached, || format!("{path} did not answer {status}")).await
    }
}

/// Asks again and again, where nothing can be awaited, until the answer is yes.
///
/// # Errors
/// It is not in time; or to ask fails.
pub async fn poll(
    patience: Duration,
    asked: impl AsyncFn() -> Result<bool>,
    failure: impl Fn() -> String,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    let mut pace = interval(Duration::from_millis(25));
    while !asked().await? {
        if Instant::now() > deadline {
            bail!(failure());
        }
        pace.tick().await;
    }
    Ok(())
}

/// Adds up the series of one metric in Prometheus text.
fn sum(text: &str, name: &str, labels: &str) -> Result<f64> {
    let mut total = 0.0;
    for line in text.lines() {
        let Some(rest) = line.strip_prefix(name) else {
            continue;
        };
        if (rest.starts_with('{') || rest.starts_with(' ')) && rest.contains(labels) {
            let value = rest.rsplit(' ').next().context("a series has a value")?;
            total += value.parse::<f64>().with_context(|| format!("{line:?} is no series"))?;
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn series_of_one_metric_are_added_up() {
        let text = "# TYPE a counter\na{x=\"1\"} 2\na{x=\"2\"} 3\na_total 9\na 1\n";
        assert_eq!(sum(text, "a", "").unwrap(), 6.0);
        assert_eq!(sum(text, "a", "x=\"2\"").unwrap(), 3.0);
        assert_eq!(sum(text, "b", "").unwrap(), 0.0);
    }
}
