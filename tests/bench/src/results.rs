//! What was measured.

use std::collections::BTreeMap;

use crate::load::Faults;
use crate::server::Kind;

/// One line of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    IdleMemory,
    Connect,
    FanOut,
    FanOutToCrowd,
    Burst,
    Echo,
    TwoHosts,
    HostOfWorker,
    Worker,
}

impl Figure {
    pub(crate) const ALL: [Self; 9] = [
        Self::IdleMemory,
        Self::Connect,
        Self::FanOut,
        Self::FanOutToCrowd,
        Self::Burst,
        Self::Echo,
        Self::TwoHosts,
        Self::HostOfWorker,
        Self::Worker,
    ];

    /// The figure of the bare limit it is compared with, if any.
    pub(crate) const fn limit(self) -> Option<Self> {
        match self {
            Self::TwoHosts => Some(Self::FanOut),
            Self::HostOfWorker | Self::Worker => None,
            own => Some(own),
        }
    }

    /// Bytes, where other figures are microseconds.
    pub(crate) const fn is_memory(self) -> bool {
        matches!(self, Self::IdleMemory)
    }
}

/// All rounds of all servers.
#[derive(Debug, Default)]
pub(crate) struct Results {
    round: u32,
    /// Of each round that came so far.
    values: BTreeMap<(Figure, Kind), BTreeMap<u32, f64>>,
    faults: BTreeMap<Kind, Faults>,
    failures: Vec<(Kind, String)>,
}

impl Results {
    /// What is added from now on is of this round.
    pub(crate) fn begin(&mut self, round: u32) {
        self.round = round;
    }

    pub(crate) fn add(&mut self, figure: Figure, kind: Kind, value: f64) {
        self.values.entry((figure, kind)).or_default().insert(self.round, value);
    }

    pub(crate) fn add_faults(&mut self, kind: Kind, faults: Faults) {
        *self.faults.entry(kind).or_default() += faults;
    }

    /// A measurement came to no end.
    pub(crate) fn add_failure(&mut self, kind: Kind, failure: String) {
        self.failures.push((kind, failure));
    }

    /// The lowest and the highest round.
    pub(crate) fn spread(&self, figure: Figure, kind: Kind) -> Option<(f64, f64)> {
        let rounds = self.values.get(&(figure, kind))?.values().copied();
        Some((rounds.clone().reduce(f64::min)?, rounds.reduce(f64::max)?))
    }

    /// The median of the rounds.
    pub(crate) fn median(&self, figure: Figure, kind: Kind) -> Option<f64> {
        median(self.values.get(&(figure, kind))?.values().copied().collect())
    }

    /// The median of the multiples of the bare limit, each of which is of one round: what else the machine did changes from round to round.
    pub(crate) fn ratio(&self, figure: Figure, kind: Kind) -> Option<f64> {
        let limits = self.values.get(&(figure.limit()?, Kind::Bare))?;
        let rounds = self.values.get(&(figure, kind))?;
        median(
            rounds
                .iter()
                .filter_map(|(round, value)| Some(value / limits.get(round)?))
                .collect(),
        )
    }

    pub(crate) fn faults(&self) -> &BTreeMap<Kind, Faults> {
        &self.faults
    }

    pub(crate) fn failures(&self) -> &[(Kind, String)] {
        &self.failures
    }

    /// Whether all that this project answers for went well. What others lose is reported, and fails nothing.
    pub(crate) fn passed(&self) -> bool {
        let ours = |kind: Kind| matches!(kind, Kind::Bare | Kind::Hallporter);
        let faulty = self.faults.iter().any(|(kind, faults)| ours(*kind) && faults.any());
        !faulty && !self.failures.iter().any(|(kind, _)| ours(*kind))
    }
}

/// The value in the middle; of two, the lower one.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::{Figure, Results};
    use crate::load::Faults;
    use crate::server::Kind;

    #[test]
    fn rounds_are_compared_with_their_own_limit() {
        let mut results = Results::default();
        for (round, (limit, value)) in [(9.0, 18.0), (2.0, 6.0), (3.0, 3.0)].into_iter().enumerate() {
            results.begin(u32::try_from(round).unwrap());
            results.add(Figure::FanOut, Kind::Bare, limit);
            results.add(Figure::TwoHosts, Kind::Node, value);
        }
        assert_eq!(results.median(Figure::FanOut, Kind::Bare), Some(3.0));
        assert_eq!(results.median(Figure::TwoHosts, Kind::Node), Some(6.0));
        assert_eq!(results.ratio(Figure::TwoHosts, Kind::Node), Some(2.0));
        assert_eq!(results.spread(Figure::TwoHosts, Kind::Node), Some((3.0, 18.0)));
        assert_eq!(results.median(Figure::Echo, Kind::Node), None);
    }

    #[test]
    fn a_lost_event_of_ours_fails_the_run() {
        let lost = Faults {
            lost: 1,
            ..Faults::default()
        };
        let mut results = Results::default();
        results.add_faults(Kind::Node, lost);
        results.add_faults(Kind::Hallporter, Faults::default());
        assert!(results.passed());
        results.add_faults(Kind::Hallporter, lost);
        assert!(!results.passed());
    }
}
