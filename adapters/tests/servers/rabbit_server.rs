//! A RabbitMQ of the test's own.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::free_ports;
use super::process::freeze;

/// Where Debian keeps the scripts that run as anybody; those on the path insist on the package's own user.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";

/// How long it may take to start. It needs some five seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// RabbitMQ and, since it needs one, an epmd of its own. Both end when the pipe to the shell does: with its value, and
/// with the test process, whatever way that ends. Prints the id of RabbitMQ's process.
/// A frozen server whose test has gone makes the kernel send SIGHUP, which must not end the shell first.
const LAUNCH: &str = r#"trap '' HUP; epmd -address 127.0.0.1 -port "$ERL_EPMD_PORT" >&2 & "$0" >&2 & echo "$!"; read -r _; kill -KILL 0"#;

/// What begins every AMQP connection.
const GREETING: &[u8] = b"AMQP\x00\x00\x09\x01";

/// A running `rabbitmq-server` on free ports, with a node name and folders of its own and no plugins.
#[derive(Debug)]
pub struct RabbitServer {
    folder: TempDir,
    port: u16,
    tls_port: u16,
    environment: Vec<(&'static str, String)>,
    process: Mutex<Option<Running>>,
}

/// The shell that started it, and the server itself.
#[derive(Debug)]
struct Running {
    shell: Child,
    server: Pid,
}

impl RabbitServer {
    /// Starts one and waits until it takes connections.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub async fn start() -> Self {
        Self::configured(|_| String::new()).await
    }

    /// Starts one with what this returns, given a free port, as its configuration.
    ///
    /// # Panics
    /// When it is not installed, does not start or does not understand the configuration.
    pub async fn configured(configuration: impl FnOnce(u16) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let [port, distribution, epmd, tls_port] = free_ports();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("the folder can be written");
            path.display().to_string()
        };
        let inside = |name: &str| folder.path().join(name).display().to_string();
        let environment = vec![
            ("HOME", inside("")),
            ("ERL_EPMD_PORT", epmd.to_string()),
            // Without helper processes that look up names.
            (
                "ERL_INETRC",
                file("inetrc", "{lookup,[file]}.\n{host,{127,0,0,1},[\"localhost\"]}.\n"),
            ),
            ("RABBITMQ_NODENAME", format!("rabbit-{port}@localhost")),
            ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".to_owned()),
            ("RABBITMQ_NODE_PORT", port.to_string()),
            ("RABBITMQ_DIST_PORT", distribution.to_string()),
            ("RABBITMQ_MNESIA_BASE", inside("data")),
            ("RABBITMQ_LOGS", inside("log")),
            ("RABBITMQ_LOG_BASE", inside("")),
            ("RABBITMQ_CONFIG_FILE", file("rabbitmq.conf", &configuration(tls_port))),
            ("RABBITMQ_CONF_ENV_FILE", inside("none")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", file("plugins", "[].")),
            // In place of the shell that starts it, not as its child.
            ("RABBITMQ_ALLOW_INPUT", "1".to_owned()),
            (
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+S 1:1 +sbwt none -noinput".to_owned(),
            ),
        ];
        let server = Self {
            folder,
            port,
            tls_port,
            environment,
            process: Mutex::default(),
        };
        server.restart().await;
        server
    }

    /// The URL for managers.
    pub fn url(&self) -> String {
        format!("amqp://127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The free port that its configuration was told of.
    pub fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// Whether there is something to start.
    pub fn is_installed() -> bool {
        Path::new(SCRIPTS).join("rabbitmq-server").exists()
    }

    /// Kills it at once, with SIGKILL.
    pub fn kill(&self) {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { mut shell, .. }) = process {
            drop(shell.stdin.take());
            shell.wait().expect("it can be waited for");
        }
    }

    /// Makes it stop answering while its connections stay open.
    ///
    /// # Panics
    /// When it is gone.
    pub fn freeze(&self) {
        freeze(self.server()).expect("it runs");
    }

    /// Lets it go on after `freeze`.
    ///
    /// # Panics
    /// When it is gone.
    pub fn thaw(&self) {
        kill_process(self.server(), Signal::CONT).expect("it runs");
    }

    fn server(&self) -> Pid {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.as_ref().expect("it runs").server
    }

    /// Starts it again on the same ports after `kill`, with nothing left of before but what is durable.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&self) {
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.spawn());
        let ready = async {
            while !self.answers().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, ready).await.is_err() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            panic!("rabbitmq-server does not start: {log}");
        }
    }

    /// Runs `rabbitmqctl` and returns what it prints.
    ///
    /// # Panics
    /// When it fails.
    pub async fn ctl(&self, args: &[&str]) -> String {
        let mut command = tokio::process::Command::new(Path::new(SCRIPTS).join("rabbitmqctl"));
        command.envs(self.environment.iter().cloned()).arg("--quiet").args(args);
        let output = command.output().await.expect("rabbitmqctl runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rabbitmqctl {args:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn spawn(&self) -> Running {
        let server = Path::new(SCRIPTS).join("rabbitmq-server");
        assert!(
            Self::is_installed(),
            "rabbitmq-server is not installed; `make setup` installs what the tests need"
        );
        let mut command = Command::new("sh");
        command
            .args(["-c", LAUNCH])
            .arg(server)
            .envs(self.environment.iter().cloned());
        command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut shell = command.spawn().expect("a shell can be started");
        let mut line = String::new();
        let stdout = shell.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the shell prints");
        let server = line.trim().parse().ok().and_then(Pid::from_raw);
        let server = server.expect("the shell prints the id of the process");
        Running { shell, server }
    }

    async fn answers(&self) -> bool {
        let answer = async {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
            stream.write_all(GREETING).await?;
            stream.read_u8().await
        };
        answer.await.is_ok()
    }
}

impl Drop for RabbitServer {
    fn drop(&mut self) {
        self.kill();
    }
}
