//! `hallporter emit`

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use hallporter::adapters::envelope::encode_args;
use hallporter::adapters::url::{BrokerUrl, Scheme, UrlError};
use hallporter::adapters::{
    Ack, Args, Asking, AskingError, Emit, EventName, ManagerOptions, Receipt, Target, manager, user_room,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Failure, outcome, runtime, say};

pub(super) const AFTER_HELP: &str = "\
Examples:
  hallporter emit news '\"to everybody\"'
  hallporter emit moved '{\"x\": 1}' '[2, 3]' --url redis://127.0.0.1:6379 --namespace /game --room board-7
  hallporter emit paid --user ann --receipt 2s
  hallporter emit ask '\"how are you?\"' --room lobby --ack 5s

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
    /// Say how many sockets on how many gateways it was delivered to, as far as is known in this time, such as 2s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    receipt: Option<Duration>,
    /// Ask for acks, wait so long for them, and write each as a line of JSON
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    ack: Option<Duration>,
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
    let (receipt, ack) = (flags.receipt, flags.ack);
    runtime()?.block_on(async {
        let (Some(timeout), with_acks) = (ack.or(receipt), ack.is_some()) else {
            let manager = manager(&url, options).map_err(|error| Failure::Input(error.into()))?;
            return manager.emit(event).await.map_err(world);
        };
        let asking = Asking::open(&url, options).await.map_err(|error| match error {
            AskingError::Url(error) => Failure::Input(error.into()),
            AskingError::Manager(error) => world(error),
        })?;
        let receipt = match with_acks {
            true => Some(emit_with_ack(&asking, event, timeout).await?).filter(|_| receipt.is_some()),
            false => Some(asking.emit_with_receipt(event, timeout).await.map_err(world)?),
        };
        asking.close().await;
        receipt.map_or(Ok(()), |receipt| tell(&receipt))
    })
}

fn world(error: impl Into<anyhow::Error>) -> Failure {
    Failure::World(error.into())
}

/// Writes each ack as a line, and says how many are missing.
async fn emit_with_ack(asking: &Asking, event: Emit, timeout: Duration) -> Result<Receipt, Failure> {
    #[derive(Serialize)]
    struct Line<'a> {
        sid: &'a Option<String>,
        args: Box<RawValue>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<String>,
    }
    let answers = asking.emit_with_ack(event, timeout).await.map_err(world)?;
    for Ack { sid, args } in &answers.acks {
        let (args, attachments) = encode_args(args).map_err(world)?;
        let line = serde_json::to_string(&Line { sid, args, attachments }).map_err(world)?;
        writeln!(std::io::stdout(), "{line}").map_err(world)?;
    }
    if answers.missing > 0 {
        let asked = answers.receipt.sockets;
        say(&format!(
            "{} of {asked} sockets did not answer in time",
            answers.missing
        ));
    }
    Ok(answers.receipt)
}

fn tell(receipt: &Receipt) -> Result<(), Failure> {
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let (sockets, gateways) = (count(receipt.sockets, "socket"), count(receipt.gateways, "gateway"));
    writeln!(std::io::stdout(), "delivered to {sockets} on {gateways}").map_err(world)?;
    if !receipt.missing.is_empty() {
        say(&format!("no receipt in time from {}", receipt.missing.join(", ")));
    }
    Ok(())
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
