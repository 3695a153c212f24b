//! `hallporter check`

use std::io::Write;
use std::process::ExitCode;

use hallporter::config;

use super::{ConfigFlags, Failure, outcome};

pub(super) fn run(flags: ConfigFlags) -> ExitCode {
    outcome(check(flags))
}

fn check(flags: ConfigFlags) -> Result<(), Failure> {
    let config = config::check(flags.sources()).map_err(|error| {
        let count = error.0.len();
        let mistakes = if count == 1 {
            "1 mistake".to_owned()
        } else {
            format!("{count} mistakes")
        };
        Failure::Input(anyhow::anyhow!("{mistakes} in the configuration\n{error}"))
    })?;
    let who = |public| if public { "public" } else { "by token" };
    let namespaces: Vec<String> = config
        .namespace
        .iter()
        .map(|namespace| format!("{} ({})", namespace.name, who(namespace.public)))
        .collect();
    let summary = format!(
        "The configuration is fine: listen on {}, path {}, manager {} (channel {}), namespaces {}.",
        config.listen,
        config.path,
        config.manager.url,
        config.manager.channel,
        namespaces.join(", ")
    );
    writeln!(std::io::stdout(), "{summary}").map_err(|error| Failure::World(error.into()))
}
