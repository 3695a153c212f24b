//! `hallporter ctl`: looking at a running cluster, by the HTTP API of one of its gateways.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use hallporter::adapters::url::{BrokerUrl, Scheme};
use hallporter::adapters::{GatewayClient, Instance};
use serde::{Deserialize, Serialize};

use super::{Failure, outcome, runtime, say};

pub(super) const AFTER_HELP: &str = "\
Examples:
  hallporter ctl list
  HALLPORTER_API__KEY=… hallporter ctl list --url http://gateway:3000 --json

Exit codes: 0 done; 1 the gateway could not be reached, or refused; 2 wrong flags or URL.";

#[derive(Debug, Subcommand)]
pub(super) enum Ctl {
    /// List the servers of the cluster
    #[command(after_help = AFTER_HELP)]
    List(ListFlags),
}

#[derive(Args, Debug)]
pub(super) struct ListFlags {
    /// One of the gateways
    #[arg(long, default_value = "http://127.0.0.1:3000")]
    url: String,
    /// A key of its HTTP API with the scope cluster; on the command line others on this machine can read it
    #[arg(long, env = "HALLPORTER_API__KEY", hide_env_values = true)]
    key: Option<String>,
    /// As JSON, for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(ctl: Ctl) -> ExitCode {
    let Ctl::List(flags) = ctl;
    outcome(list(flags))
}

/// What `GET /api/v1/cluster` answers.
#[derive(Debug, Deserialize, Serialize)]
struct Cluster {
    this: String,
    instances: Vec<Instance>,
    broker: Broker,
}

#[derive(Debug, Deserialize, Serialize)]
struct Broker {
    url: String,
    status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

fn list(flags: ListFlags) -> Result<(), Failure> {
    let url: BrokerUrl = flags.url.parse().context("--url").map_err(Failure::Input)?;
    if url.scheme() != Scheme::Http {
        let problem = anyhow::anyhow!("--url: names no gateway; write it like http://127.0.0.1:3000");
        return Err(Failure::Input(problem));
    }
    let client = GatewayClient::new(url, flags.key.as_deref()).map_err(|error| Failure::Input(error.into()))?;
    let cluster = runtime()?.block_on(client.get("api/v1/cluster"));
    let cluster: Cluster = cluster.map_err(|error| Failure::World(error.into()))?;
    let Broker { url, status, reason } = &cluster.broker;
    if status != "listening" {
        let reason = reason.as_deref().unwrap_or("it has not been reached yet");
        say(&format!("warning: {url} is {status} ({reason}); there may be others"));
    }
    let shown = match flags.json {
        true => serde_json::to_string_pretty(&cluster).map_err(|error| Failure::World(error.into()))?,
        false => table(&cluster),
    };
    writeln!(std::io::stdout(), "{shown}").map_err(|error| Failure::World(error.into()))
}

/// A line for each instance, the columns as wide as they have to be.
fn table(cluster: &Cluster) -> String {
    let line = |instance: &Instance| {
        let this = if instance.host_id == cluster.this { "*" } else { "" };
        [&instance.kind, &instance.id, &instance.host_id, this].map(str::to_owned)
    };
    let mut lines = vec![["TYPE", "ID", "HOST ID", "THIS"].map(str::to_owned)];
    lines.extend(cluster.instances.iter().map(line));
    let widths: [usize; 4] = std::array::from_fn(|column| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or_default()
    });
    let shown = lines.iter().map(|line| {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    shown.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let instance = |kind: &str, id: &str, host_id: &str| Instance {
            kind: kind.into(),
            id: id.into(),
            host_id: host_id.into(),
        };
        let cluster = Cluster {
            this: "h2".into(),
            instances: vec![instance("chat", "chät-1", "h1"), instance("gateway", "g", "h2")],
            broker: Broker {
                url: "memory://".into(),
                status: "listening".into(),
                reason: None,
            },
        };
        let shown = "TYPE     ID      HOST ID  THIS\nchat     chät-1  h1\ngateway  g       h2       *";
        assert_eq!(table(&cluster), shown);
    }
}
