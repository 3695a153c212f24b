//! What a broker that fails costs: two gateways, 200 clients, workers that emit without a pause, and every fault in turn.
//!
//! *Recovery* is when both gateways are ready (`/readyz` answers 200) and, after that, an event begun by each worker has
//! reached a client of each gateway. What is accepted and lost before is reported, for a broker keeps nothing for who
//! is away; from recovery on nothing may be lost. Nothing may ever come twice or out of order, and no client may lose
//! its connection.

mod broker;
mod crowd;
mod outcome;
mod stage;
mod worker;

pub use broker::Breakable;
pub use crowd::{Crowd, Heard};
pub use outcome::Outcome;
pub use stage::Stage;
pub use worker::{Book, Pace, Sent, Shift, Worker};

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::{Instant, sleep};

use crate::{Proxy, artefacts};

/// How often a gateway of these tests sends itself a canary.
pub const CANARY: Duration = Duration::from_secs(1);

/// How long a broker is away, a line cut or a hole black.
const AWAY: Duration = Duration::from_secs(3);

/// How long a broker is frozen.
const FROZEN: Duration = Duration::from_secs(10);

/// Attempts to connect that a gateway may make while the broker is away for [`AWAY`]: its back-off begins at 100 ms and
/// doubles, and it may try to publish, too.
const ATTEMPTS: usize = 20;

/// What may go wrong with a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL and, after a while, a new start.
    Killed,
    /// SIGSTOP for 10 s, then SIGCONT.
    Frozen,
    /// All connections closed, and new ones too for a while.
    Cut,
    /// Bytes swallowed on all connections, and new ones too for longer than two canary intervals; no end of any is told.
    BlackHole,
    /// The connections that listen closed; those that publish go on.
    Unsubscribed,
    /// Bytes swallowed on the one connection on which the first gateway listens.
    Deafened,
    /// As `Killed`, while the workers emit as fast as they can.
    KilledInStorm,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Killed,
        Self::Frozen,
        Self::Cut,
        Self::BlackHole,
        Self::Unsubscribed,
        Self::Deafened,
        Self::KilledInStorm,
    ];

    /// What it is called in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Killed => "SIGKILL and restart",
            Self::Frozen => "SIGSTOP for 10 s",
            Self::Cut => "connections cut for 3 s",
            Self::BlackHole => "black hole for 3 s",
            Self::Unsubscribed => "listening connections closed",
            Self::Deafened => "one listening connection silent",
            Self::KilledInStorm => "SIGKILL and restart in a storm",
        }
    }

    const fn pace(self) -> Pace {
        match self {
            Self::KilledInStorm => Pace::Storm,
            _ => Pace::Steady,
        }
    }

    /// Strikes, and returns when it began to be over and when the gateways had recovered.
    async fn strike<B: Breakable>(self, stage: &mut Stage<B>, shifts: &[Shift]) -> Result<[Instant; 2]> {
        let over = match self {
            Self::Killed => {
                stage.broker.kill().await?;
                sleep(AWAY).await;
                stage.broker.restart().await?;
                Instant::now()
            }
            Self::Frozen => {
                stage.broker.freeze()?;
                sleep(FROZEN).await;
                stage.broker.thaw()?;
                Instant::now()
            }
            Self::Cut => {
                stage.proxies.iter().for_each(Proxy::cut);
                sleep(AWAY).await;
                stage.restore()
            }
            Self::BlackHole => {
                stage.proxies.iter().for_each(Proxy::black_hole);
                sleep(AWAY).await;
                stage.restore()
            }
            Self::Unsubscribed => {
                let notice = stage.notice();
                let close = stage.broker.close_listeners(&stage.proxies);
                tokio::try_join!(notice, close)?.0
            }
            Self::Deafened => return stage.deafen(shifts).await,
            Self::KilledInStorm => {
                let before = stage.attempts();
                stage.broker.kill().await?;
                sleep(AWAY).await;
                for (now, before) in stage.attempts().into_iter().zip(before) {
                    let attempts = now - before;
                    ensure!(attempts <= ATTEMPTS, "a gateway tried to connect {attempts} times");
                }
                stage.broker.restart().await?;
                Instant::now()
            }
        };
        Ok([over, stage.recovered(shifts).await?])
    }
}

/// Has a cluster on this broker go through all faults and leaves a line of the table for each among the artefacts.
///
/// # Errors
/// A fault costs what it may not, or something is not installed, not built, or does not start.
pub async fn withstand<B: Breakable>(broker: B) -> Result<()> {
    let mut stage = Stage::start(broker).await?;
    let mut table = String::new();
    for fault in Fault::ALL {
        let outcome = stage.endure(fault).await;
        let outcome = outcome.with_context(|| format!("{}: {}", B::NAME, fault.name()))?;
        let line = format!("| {} | {} | {outcome} |\n", B::NAME, fault.name());
        print(&line);
        outcome.is_tolerable().context(line.clone())?;
        table.push_str(&line);
    }
    std::fs::write(artefacts()?.join(format!("faults-{}.md", B::NAME)), table)?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "it is what the test is run for")]
fn print(line: &str) {
    print!("{line}");
}
