//! The figures as Markdown.

use std::fmt::Write;

use clap::ValueEnum;

use crate::results::{Figure, Results};
use crate::scene::Sizes;
use crate::server::Kind;

/// What a figure is, for people.
pub(super) fn label(figure: Figure, sizes: &Sizes) -> String {
    let Sizes { crowd, room, burst, .. } = sizes;
    match figure {
        Figure::IdleMemory => "idle connection, bytes".into(),
        Figure::Connect => "connect: handshake, namespace, room".into(),
        Figure::FanOut => format!("delivery in a room of {}", grouped(*room as f64)),
        Figure::FanOutToCrowd => format!("delivery in a room of {}", grouped(*crowd as f64)),
        Figure::Burst => format!("delivery in a burst of {burst} to {}", grouped(*room as f64)),
        Figure::Echo => "echo with ack".into(),
        Figure::TwoHosts => "delivery, two hosts over Redis".into(),
        Figure::HostOfWorker => "event of a worker: the host".into(),
        Figure::Worker => "event of a worker: the worker".into(),
    }
}

/// What this project wants to reach.
const fn goal(figure: Figure) -> &'static str {
    match figure {
        Figure::IdleMemory => "4,000",
        Figure::Connect => "60",
        Figure::FanOut => "(1.35)",
        Figure::FanOutToCrowd => "(1.45)",
        Figure::Burst => "0.40",
        Figure::Echo => "(1.5)",
        Figure::TwoHosts => "5.0",
        Figure::HostOfWorker | Figure::Worker => "",
    }
}

/// Medians of all figures and servers, and Hallporter's rounds.
pub(super) fn figures(results: &Results, sizes: &Sizes) -> String {
    let mut table = String::from("| |");
    for kind in Kind::value_variants() {
        let _ = write!(table, " {} |", kind.name());
    }
    table.push_str(" Hallporter, lowest to highest round | goal |\n|---|");
    table.push_str(&"---:|".repeat(Kind::value_variants().len() + 2));
    table.push('\n');
    for figure in Figure::ALL {
        let _ = write!(table, "| {} |", label(figure, sizes));
        for kind in Kind::value_variants() {
            let _ = write!(table, " {} |", cell(results, figure, *kind));
        }
        let spread = results.spread(figure, Kind::Hallporter);
        let spread = spread.map_or_else(String::new, |(low, high)| {
            format!("{} to {}", number(low), number(high))
        });
        let _ = writeln!(table, " {spread} | {} |", goal(figure));
    }
    table
}

/// A median, and its multiple of the bare limit's.
pub(super) fn cell(results: &Results, figure: Figure, kind: Kind) -> String {
    let Some(median) = results.median(figure, kind) else {
        return String::new();
    };
    match results.ratio(figure, kind) {
        Some(ratio) if !figure.is_memory() => format!("{} ({})", number(median), number(ratio)),
        _ => number(median),
    }
}

/// What was lost, doubled or out of order, and what came to no end.
pub(super) fn faults(results: &Results) -> String {
    let mut text = String::new();
    for (kind, faults) in results.faults() {
        let _ = writeln!(text, "- {}: {faults}", kind.name());
    }
    for (kind, failure) in results.failures() {
        let _ = writeln!(text, "- {} failed: {failure}", kind.name());
    }
    text
}

/// Three digits are enough, and all that is before the point.
fn number(value: f64) -> String {
    match value {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        large => grouped(large),
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_short() {
        let shown: Vec<_> = [0.153, 2.914, 49.55, 360.4, 1_836.0, 1_234_567.0].map(number).into();
        assert_eq!(shown, ["0.15", "2.91", "49.5", "360", "1,836", "1,234,567"]);
    }
}
