//! The command line.
//!
//! Exit codes: 0 done; 1 it did not work (a taken port, a broker that is away); 2 wrong input (flags, configuration, JSON, URL).

mod check;
mod ctl;
mod emit;
mod serve;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use hallporter::config::Sources;

/// A horizontally scaled Socket.IO gateway.
///
/// Without a subcommand it serves on 127.0.0.1:3000 with the in-memory manager and a demo page at /.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    config: ConfigFlags,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 it did not work; 2 wrong flags, configuration, JSON or URL.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    #[command(after_help = EXIT_CODES)]
    Serve(ConfigFlags),
    /// Read the configuration and name every mistake in it
    #[command(after_help = check::AFTER_HELP)]
    Check(check::CheckFlags),
    /// Emit an event to the clients of a cluster
    #[command(after_help = emit::AFTER_HELP)]
    Emit(emit::EmitFlags),
    /// Look at a running cluster
    #[command(after_help = ctl::AFTER_HELP)]
    Ctl {
        #[command(subcommand)]
        command: ctl::Ctl,
    },
}

/// Where the configuration comes from: the file, then its tables [env.NAME], then the environment (HALLPORTER_MANAGER__URL is
/// manager.url), then flags; the last wins.
#[derive(Args, Debug)]
struct ConfigFlags {
    /// Configuration file (TOML)
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which tables [env.NAME] of the file to lay over it, such as production [default: HALLPORTER_ENV, else none]
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// Address to listen on [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// URL of the broker [default: memory://]
    #[arg(long, value_name = "URL")]
    manager_url: Option<String>,
    /// Any other key, such as engine.ping_interval=10s (again and again)
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl Cli {
    /// Does what the command line says.
    pub(crate) fn run(self) -> ExitCode {
        match self.command {
            None => serve::run(self.config),
            Some(Command::Serve(flags)) => serve::run(flags),
            Some(Command::Check(flags)) => check::run(flags),
            Some(Command::Emit(flags)) => emit::run(flags),
            Some(Command::Ctl { command }) => ctl::run(command),
        }
    }
}

impl ConfigFlags {
    fn sources(self) -> Sources {
        let named = [
            ("--listen", "listen", self.listen),
            ("--manager-url", "manager.url", self.manager_url),
        ];
        let named = named
            .into_iter()
            .filter_map(|(flag, key, value)| Some((flag.to_owned(), key.to_owned(), value?)));
        let set = self
            .set
            .into_iter()
            .map(|(key, value)| (format!("--set {key}"), key, value));
        Sources {
            defaults: "",
            file: self.config,
            env: self.env,
            environment: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            flags: named.chain(set).collect(),
            standalone: true,
        }
    }
}

/// What went wrong, for a person, and whose fault it was.
enum Failure {
    /// The input: exit code 2.
    Input(anyhow::Error),
    /// The world: exit code 1.
    World(anyhow::Error),
}

impl Failure {
    fn report(self) -> ExitCode {
        let (code, error) = match self {
            Self::Input(error) => (2, error),
            Self::World(error) => (1, error),
        };
        say(&format!("error: {error:#}"));
        ExitCode::from(code)
    }
}

fn outcome(result: Result<(), Failure>) -> ExitCode {
    result.map_or_else(Failure::report, |()| ExitCode::SUCCESS)
}

/// A line for the person at the terminal, apart from output that a program may read.
fn say(line: &str) {
    // Nobody to tell when stderr is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::World(error.into()))
}
