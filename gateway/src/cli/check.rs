//! `hallporter check`

use std::io::Write;
use std::process::ExitCode;

use hallporter::config::{self, Config, Destination, Namespace, Route};

use super::{ConfigFlags, Failure, outcome, say};

pub(super) const AFTER_HELP: &str = "\
Examples:
  hallporter check --config hallporter.toml
  hallporter check --config hallporter.toml --event /chat order.new
  hallporter check --config hallporter.toml --event / connect

Exit codes: 0 the configuration is fine; 1 nothing could be written; 2 wrong flags or configuration, or a namespace that nobody opens.";

#[derive(clap::Args, Debug)]
pub(super) struct CheckFlags {
    #[command(flatten)]
    config: ConfigFlags,
    /// Say which route this event takes in this namespace, and why; connect and disconnect are those of clients
    #[arg(long, num_args = 2, value_names = ["NAMESPACE", "EVENT"])]
    event: Option<Vec<String>>,
}

pub(super) fn run(flags: CheckFlags) -> ExitCode {
    outcome(check(flags))
}

fn check(flags: CheckFlags) -> Result<(), Failure> {
    let config = config::check(flags.config.sources()).map_err(|error| {
        let count = error.0.len();
        let mistakes = if count == 1 {
            "1 mistake".to_owned()
        } else {
            format!("{count} mistakes")
        };
        Failure::Input(anyhow::anyhow!("{mistakes} in the configuration\n{error}"))
    })?;
    for warning in config.warnings() {
        say(&format!("warning: {warning}"));
    }
    let says = match flags.event.as_deref() {
        Some([namespace, event]) => explain(&config, namespace, event)?,
        _ => summary(&config),
    };
    writeln!(std::io::stdout(), "{says}").map_err(|error| Failure::World(error.into()))
}

fn summary(config: &Config) -> String {
    let who = |public| if public { "public" } else { "by token" };
    let namespaces: Vec<String> = config
        .namespace
        .iter()
        .map(|namespace| format!("{} ({})", namespace.name, who(namespace.public)))
        .collect();
    format!(
        "The configuration is fine: listen on {}, path {}, manager {} (channel {}), namespaces {}.",
        config.listen,
        config.path,
        config.manager.url,
        config.manager.channel,
        namespaces.join(", ")
    )
}

/// Which route an event takes, and why not those before it.
fn explain(config: &Config, namespace: &str, event: &str) -> Result<String, Failure> {
    let Some(opened) = config.opened(namespace) else {
        return Err(Failure::Input(anyhow::anyhow!(
            "nobody opens the namespace {namespace:?}; there is no [[namespace]] for it"
        )));
    };
    let is_of_clients = matches!(event, "connect" | "disconnect");
    let fits = |route: &Route| route.is_for(&opened.name) && route.event.matches(event);
    let taken = config.route.iter().position(fits);
    let mut says = match taken.and_then(|at| Some((at, config.route.get(at)?))) {
        Some((at, route)) => format!("{event:?} in {namespace} takes {}.", described(at, route)),
        None => format!(
            "{event:?} in {namespace} takes no route: {}.",
            unrouted(config, &opened, event)
        ),
    };
    let passed = config
        .route
        .iter()
        .enumerate()
        .take(taken.unwrap_or(config.route.len()));
    for (at, route) in passed {
        let pattern = route.event.as_str();
        let why = match route.is_for(&opened.name) {
            false => format!("is for the namespace {}", route.namespace),
            true if is_of_clients && pattern.trim_matches('*').is_empty() => {
                format!("is for the event {pattern:?}; {event} has to be named")
            }
            true => format!("is for the event {pattern:?}"),
        };
        says.push_str(&format!("\n  Route {} {why}.", at + 1));
    }
    if opened.name != namespace {
        says.push_str(&format!("\n  {namespace} is one of {}.", opened.name));
    }
    Ok(says)
}

fn described(at: usize, route: &Route) -> String {
    let Route {
        namespace,
        event,
        to,
        timeout,
        in_flight,
        ..
    } = route;
    let event = event.as_str();
    let limits = match (to, event) {
        (Destination::Handler(_), _) => "the user's code in the gateway".into(),
        (_, "disconnect") => "many at once, again until it is taken".into(),
        _ => {
            let order = match (event, route.parallel) {
                ("connect", _) => "",
                (_, true) => ", those of a client in parallel",
                (_, false) => ", those of a client one after the other",
            };
            let timeout = humantime::format_duration(*timeout);
            format!("within {timeout}, {in_flight} in flight at most{order}")
        }
    };
    format!(
        "route {} (namespace {namespace}, event {event:?}) to {to}: {limits}",
        at + 1
    )
}

/// Who gets an event that no route takes.
fn unrouted(config: &Config, namespace: &Namespace, event: &str) -> String {
    let has_rooms = !namespace.client_rooms.is_empty();
    match event {
        "connect" if namespace.public => "the namespace is public".into(),
        "connect" if config.token.is_some() => "a token decides".into(),
        "connect" => "nobody lets clients in, unless the user's code in the gateway does".into(),
        "disconnect" => "it goes to the user's code in the gateway, where there is any".into(),
        "join" | "leave" if has_rooms => format!(
            "the gateway answers it itself, for the client_rooms {}",
            namespace.client_rooms.join(", ")
        ),
        _ => "it goes to the user's code in the gateway; where that has no handler, the client is told \"unhandled\""
            .into(),
    }
}
