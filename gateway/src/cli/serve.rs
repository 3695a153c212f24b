//! `hallporter serve`

use std::io::IsTerminal;
use std::process::ExitCode;

use hallporter::config::{Config, load};
use hallporter::{Gateway, shutdown};
use tracing_subscriber::EnvFilter;

use super::{ConfigFlags, Failure, outcome, runtime, say};

pub(super) fn run(flags: ConfigFlags) -> ExitCode {
    outcome(serve(flags))
}

fn serve(flags: ConfigFlags) -> Result<(), Failure> {
    let config = load(flags.sources()).map_err(|error| Failure::Input(error.into()))?;
    log_as(&config);
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    runtime()?.block_on(async {
        let shutdown = shutdown::requested().map_err(|error| Failure::World(error.into()))?;
        let demo = config.demo == Some(true);
        let gateway = Gateway::new(config)
            .bind()
            .await
            .map_err(|error| Failure::World(error.into()))?;
        if demo {
            say(&format!("Hallporter is open: http://{}", gateway.address()));
        }
        gateway
            .serve(shutdown)
            .await
            .map_err(|error| Failure::World(error.into()))
    })
}

/// What logs every attempt to connect; the manager says once that the broker is away. The user's own directives come after and win.
const QUIET: &str = "async_nats=off,lapin=off";

fn log_as(config: &Config) {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("{QUIET},{}", config.log)))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}
