//! The pipe to a process that holds real clients.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::client::{Client, Connect};
use crate::{Log, PATIENCE, Process, paths};

/// A process with the clients of one language; see `tests/clients/driver.*` for what it understands.
#[derive(Clone, Debug)]
pub struct Driver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stdin: tokio::sync::Mutex<ChildStdin>,
    next: AtomicU64,
    routes: Arc<Mutex<Routes>>,
    _process: Process,
}

/// Who waits for which line.
#[derive(Debug, Default)]
struct Routes {
    replies: HashMap<u64, oneshot::Sender<Result<Value, String>>>,
    inboxes: HashMap<String, mpsc::UnboundedSender<Value>>,
}

impl Driver {
    /// Starts the driver of socket.io-client on Node.
    ///
    /// # Errors
    /// Its packages are not installed.
    pub fn node() -> Result<Self> {
        Self::start("node", std::path::Path::new("node"), "driver.mjs")
    }

    /// Starts the driver of python-socketio.
    ///
    /// # Errors
    /// Its packages are not installed.
    pub fn python() -> Result<Self> {
        Self::start("python", &paths::python()?, "driver.py")
    }

    fn start(name: &str, interpreter: &std::path::Path, script: &str) -> Result<Self> {
        let piped = |command: &mut tokio::process::Command| {
            command.stdin(Stdio::piped());
        };
        let mut process = Process::start(name, interpreter, piped, [paths::clients(script)?])?;
        let routes = Arc::<Mutex<Routes>>::default();
        tokio::spawn(read(process.stdout()?, routes.clone(), process.log().clone()));
        let stdin = process.stdin()?.into();
        Ok(Self(Arc::new(Inner {
            stdin,
            next: AtomicU64::new(1),
            routes,
            _process: process,
        })))
    }

    /// Sends a request and returns its answer.
    ///
    /// # Errors
    /// The driver says so, or says nothing in time.
    pub async fn request(&self, op: &str, request: Value) -> Result<Value> {
        self.request_within(PATIENCE, op, request).await
    }

    /// Sends a request and returns its answer, which may take as long as this.
    ///
    /// # Errors
    /// The driver says so, or says nothing in time.
    pub async fn request_within(&self, patience: Duration, op: &str, mut request: Value) -> Result<Value> {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        request["id"] = id.into();
        request["op"] = op.into();
        let (sender, reply) = oneshot::channel();
        lock(&self.0.routes).replies.insert(id, sender);
        self.0
            .stdin
            .lock()
            .await
            .write_all(format!("{request}\n").as_bytes())
            .await?;
        timeout(patience, reply)
            .await
            .with_context(|| format!("{op} is not answered: {request}"))?
            .context("the driver has ended")?
            .map_err(|error| anyhow!("{op} failed: {error}: {request}"))
    }

    /// What will be reported under `name` from now on.
    pub fn inbox(&self, name: &str) -> mpsc::UnboundedReceiver<Value> {
        let (sender, inbox) = mpsc::unbounded_channel();
        lock(&self.0.routes).inboxes.insert(name.to_owned(), sender);
        inbox
    }

    /// Connects a client called `name` and waits until it is in its namespace.
    ///
    /// # Errors
    /// It is refused or not connected in time.
    pub async fn connect(&self, name: &str, connect: Connect) -> Result<Client> {
        Client::connect(self.clone(), name, connect).await
    }

    /// Tries to connect a client and returns the message it is refused with.
    ///
    /// # Errors
    /// It is not refused.
    pub async fn refused(&self, name: &str, connect: Connect) -> Result<Value> {
        Ok(self.refusal(name, connect).await?["message"].take())
    }

    /// Tries to connect a client and returns what it is refused with: `message` and `data`.
    ///
    /// # Errors
    /// It is not refused.
    pub async fn refusal(&self, name: &str, connect: Connect) -> Result<Value> {
        let mut inbox = self.inbox(name);
        self.request("connect", connect.request(name)).await?;
        loop {
            let report = timeout(PATIENCE, inbox.recv()).await?.context("the driver has ended")?;
            match report["kind"].as_str() {
                Some("connect_error") => return Ok(report),
                Some("connect") => bail!("{name} is not refused: {report}"),
                _ => {}
            }
        }
    }

    /// Calls a method of a python server or worker as it stands in python-socketio.
    ///
    /// # Errors
    /// It raises.
    pub async fn call(&self, target: &str, method: &str, args: Value, kwargs: Value) -> Result<Value> {
        self.request(
            "call",
            json!({"target": target, "method": method, "args": args, "kwargs": kwargs}),
        )
        .await
    }
}

fn lock(routes: &Mutex<Routes>) -> std::sync::MutexGuard<'_, Routes> {
    routes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands each line to who waits for it, until the driver ends.
async fn read(stdout: ChildStdout, routes: Arc<Mutex<Routes>>, log: Log) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(line) = serde_json::from_str::<Value>(&line) else {
            log.push(format!("not a line of JSON: {line}"));
            continue;
        };
        let mut routes = lock(&routes);
        if let Some(id) = line["reply"].as_u64() {
            let answer = match line.get("error").and_then(Value::as_str) {
                Some(error) => Err(error.to_owned()),
                None => Ok(line["ok"].clone()),
            };
            let waiting = routes.replies.remove(&id).map(|waiting| waiting.send(answer));
            drop(waiting);
        } else if let Some(inbox) = line["client"].as_str().and_then(|name| routes.inboxes.get(name)) {
            let _gone = inbox.send(line);
        }
    }
    *lock(&routes) = Routes::default();
}
