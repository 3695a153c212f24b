//! `hallporter emit`

use std::process::ExitCode;

use anyhow::Context;
use hallporter::adapters::url::{BrokerUrl, Scheme, UrlError};
use hallporter::adapters::{Args, Emit, EventName, ManagerOptions, Target, manager, user_room};

use super::{Failure, outcome, runtime};

pub(super) const AFTER_HELP: &str = "\
Examples:
  hallporter emit news '\"to everybody\"'
  hallporter emit moved '{\"x\": 1}' '[2, 3]' --url redis://127.0.0.1:6379 --namespace /game --room board-7

Exit codes: 0 the broker or gateway has the event; 1 it could not be reached, did not answer or refused; 2 wrong flags, JSON or URL.";

#[derive(clap::Args, Debug)]
pub(super) struct EmitFlags {
    /// The name of the event
    event: String,
    /// Its arguments, each as JSON (a text needs its quotes: '"hello"')
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    args: Vec<String>,
    /// The broker, or a gateway: redis://…, amqp://…, nats://…, http://127.0.0.1:3000, http://:KEY@gateway:3000
    #[arg(long, default_value = "http://127.0.0.1:3000")]
    url: String,
    /// The channel of the cluster
    #[arg(long, default_value = "socketio")]
    channel: String,
    /// The namespace
    #[arg(long, short, default_value = "/")]
    namespace: String,
    /// Only to the members of this room or to this sid (again and again)
    #[arg(long, short, allow_hyphen_values = true)]
    room: Vec<String>,
    /// Only to the sockets of this user (again and again)
    #[arg(long, short, allow_hyphen_values = true)]
    user: Vec<String>,
    /// Not to this sid or the members of this room (again and again)
    #[arg(long, allow_hyphen_values = true)]
    except: Vec<String>,
    /// May be dropped for clients that cannot take it now
    #[arg(long)]
    volatile: bool,
}

pub(super) fn run(flags: EmitFlags) -> ExitCode {
    outcome(emit(flags))
}

fn emit(flags: EmitFlags) -> Result<(), Failure> {
    let url: BrokerUrl = flags.url.parse().context("--url").map_err(Failure::Input)?;
    if url.scheme() == Scheme::Memory {
        return Err(Failure::Input(UrlError::Memory.into()));
    }
    let users = flags.user.iter().map(|user| user_room(user));
    let rooms: Vec<String> = flags.room.into_iter().chain(users).collect();
    let event = Emit {
        args: arguments(&flags.args).map_err(Failure::Input)?,
        event: EventName::new(&flags.event),
        target: Target {
            rooms: (!rooms.is_empty()).then_some(rooms),
            except: flags.except,
        },
        namespace: match flags.namespace.starts_with('/') {
            true => flags.namespace.into(),
            false => format!("/{}", flags.namespace).into(),
        },
        volatile: flags.volatile,
    };
    let options = ManagerOptions {
        channel: flags.channel,
        ..ManagerOptions::default()
    };
    let manager = manager(&url, options).map_err(|error| Failure::Input(error.into()))?;
    runtime()?
        .block_on(manager.emit(event))
        .map_err(|error| Failure::World(error.into()))
}

/// Each text has to be JSON by itself, so that a mistake can be named.
fn arguments(texts: &[String]) -> anyhow::Result<Args> {
    for (index, text) in texts.iter().enumerate() {
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
            let number = index + 1;
            anyhow::bail!("argument {number} is not JSON ({error}): {text}\n  a text needs its quotes: '\"{text}\"'");
        }
    }
    Ok(Args::from_json_array(&format!("[{}]", texts.join(",")), Vec::new())?)
}
