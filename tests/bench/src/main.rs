//! Socket.IO servers side by side: how much CPU time and memory they need for the same, as a ratio to bare `write` calls.
//!
//! `run` plays every [`scene`] with every [`server`], in turn and in several rounds, with the clients of [`load`]; the
//! [`report`] shows medians. `serve` and `emit` are the [`apps`] that are measured, each in a process of its own.

mod apps;
mod frame;
mod load;
mod report;
mod results;
mod scene;
mod server;
mod ways;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use e2e::RedisServer;

use crate::report::Report;
use crate::results::Results;
use crate::scene::{Scene, Sizes};
use crate::server::Kind;

/// Compares Socket.IO servers: CPU time and memory, as a ratio to bare `write` calls.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure, and print the report.
    Run(Run),
    /// Measure what an event costs on each way to the user's code, and print the table.
    Ways(ways::Ways),
    /// Be the app on one of the libraries that are written in Rust.
    #[command(hide = true)]
    Serve { kind: Kind, redis: Option<String> },
    /// Be the worker that links hallporter-emitter.
    #[command(hide = true)]
    Emit { redis: String },
    /// Be the app with a route for its echo.
    #[command(hide = true)]
    Route { to: String, broker: String },
    /// Be the user's code over HTTP.
    #[command(hide = true)]
    Endpoint,
    /// Be the user's code on a broker.
    #[command(hide = true)]
    Work { broker: String },
}

#[derive(Debug, clap::Args)]
struct Run {
    /// What to measure, separated by commas. Default: all.
    #[arg(long, value_delimiter = ',')]
    servers: Vec<Kind>,
    /// Which measurements, separated by commas. Default: all.
    #[arg(long, value_delimiter = ',')]
    scenes: Vec<Scene>,
    /// How often; the medians count.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    #[command(flatten)]
    sizes: Sizes,
    /// Write `benchmarks.md` and `benchmarks.svg` into this folder.
    #[arg(long)]
    output: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    match Cli::parse().command {
        Command::Run(run) => return run.measure().await,
        Command::Serve { kind, redis } => apps::serve(kind, redis.as_deref()).await?,
        Command::Emit { redis } => apps::emit(&redis).await?,
        Command::Ways(ways) => print(&ways.measure().await?),
        Command::Route { to, broker } => apps::route(&to, &broker).await?,
        Command::Endpoint => apps::endpoint().await?,
        Command::Work { broker } => apps::work(&broker).await?,
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "whoever measures reads it")]
fn print(text: &str) {
    println!("{text}");
}

impl Run {
    #[expect(clippy::print_stdout, reason = "whoever measures reads it")]
    async fn measure(self) -> Result<ExitCode> {
        // Besides its connections a server has its libraries and its epolls.
        server::raise_open_files(self.sizes.crowd.max(2 * self.sizes.room) as u64 + 100)?;
        let load = report::load()?;
        let redis = RedisServer::start().await?;
        let mut results = Results::default();
        let plan = self.plan();
        for (step, (round, scene, kind)) in plan.iter().enumerate() {
            println!(
                "[{}/{}] round {round}, {scene:?}: {}",
                step + 1,
                plan.len(),
                kind.name()
            );
            results.begin(*round);
            if let Err(error) = scene.play(*kind, &self.sizes, &redis, &mut results).await {
                println!("{} failed: {error:#}", kind.name());
                results.add_failure(*kind, format!("{scene:?}, round {round}: {error:#}"));
            }
        }
        let report = Report::new(&results, &self.sizes, self.rounds, &load).await?;
        println!("\n{}", report.table());
        if let Some(folder) = &self.output {
            report
                .write(folder)
                .with_context(|| format!("cannot write into {}", folder.display()))?;
            println!("written: {}", folder.join("benchmarks.md").display());
        }
        Ok(if results.passed() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    /// Servers take turns as often as possible, so that what else the machine does hits all of them.
    fn plan(&self) -> Vec<(u32, Scene, Kind)> {
        let scenes = or_all(&self.scenes);
        let kinds = or_all(&self.servers);
        let turns = (1..=self.rounds).flat_map(|round| scenes.iter().map(move |scene| (round, *scene)));
        turns
            .flat_map(|(round, scene)| {
                let suited = kinds.iter().filter(move |kind| scene.suits(**kind));
                suited.map(move |kind| (round, scene, *kind))
            })
            .collect()
    }
}

fn or_all<T: ValueEnum>(chosen: &[T]) -> &[T] {
    if chosen.is_empty() { T::value_variants() } else { chosen }
}
