//! Figures of a pipeline's stages and lists.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use model::Stage;
use queue::Progress;
use queue::ledger::{Counter, Ledger};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::routes::dead_letters::DeadLetterCounts;
use crate::routes::health::{DependencyState, LedgerLine};
use crate::routes::value::Time;

/// Rates are averages over this time.
const RATE_SPAN: Duration = Duration::from_secs(5);
/// And unknown until this much of it has passed: devices send in rounds.
const LEAST_SPAN: Duration = Duration::from_secs(2);

/// Data of the event `figures`: the state of the stages and of the lists between them.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Figures {
    /// When this was read, by the server's clock.
    pub(crate) time: Time,
    /// Whether all that the stages depend on is up.
    pub(crate) ready: bool,
    /// Whether each line of the ledger holds and no element vanished.
    pub(crate) balanced: bool,
    /// The stages in the order of the data: ingester, transformer, sink.
    pub(crate) stages: Vec<StageFigures>,
    /// The lists: raw, normalized, `dead_letters`.
    pub(crate) lists: Vec<ListFigures>,
    /// The counters of the ledger.
    pub(crate) counters: BTreeMap<&'static str, i64>,
    /// The lines of the ledger: each has two sides that must be equal.
    pub(crate) ledger: Vec<LedgerLine>,
    /// Readings and rows that aren't stored and won't be.
    pub(crate) omitted: Omitted,
    /// Dead letters by stage and reason. Counted every two seconds at most.
    pub(crate) dead_letters: DeadLetterCounts,
}

/// A stage.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct StageFigures {
    /// Its name.
    #[schema(example = "transformer")]
    name: &'static str,
    /// The elements that it took per second, averaged over five seconds. Of the ingester: readings and dead letters.
    /// Rates are absent until two seconds are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    taken_per_second: Option<f64>,
    /// The elements that it handed on per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    given_per_second: Option<f64>,
    /// The dead letters that it made per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_per_second: Option<f64>,
    /// How many commits its list has seen; absent for the ingester.
    #[serde(skip_serializing_if = "Option::is_none")]
    commits: Option<u64>,
    /// The token of the lease under which the last commit was made; absent for the ingester.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
    /// What it depends on.
    dependencies: Vec<DependencyState>,
}

/// A list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ListFigures {
    /// Its name.
    #[schema(example = "raw")]
    name: &'static str,
    /// Elements in it.
    length: i64,
    /// At how many it is full.
    limit: usize,
    /// How long its elements last at the rate at which they are taken now, in seconds. Absent if some wait and
    /// none is taken, and for dead letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_seconds: Option<f64>,
}

/// Readings and rows that aren't stored and won't be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Omitted {
    /// Readings of a cell that was taken before, with another time or value.
    superseded: i64,
    /// Readings that became dead letters of the ingester or of the transformer.
    dead_readings: i64,
    /// Rows that the store refused.
    refused_rows: i64,
}

impl Omitted {
    pub(super) const fn of(ledger: &Ledger) -> Self {
        Self {
            superseded: ledger.get(Counter::Superseded),
            dead_readings: ledger.get(Counter::DeadIngester) + ledger.get(Counter::DeadTransformer),
            refused_rows: ledger.get(Counter::DeadSink),
        }
    }
}

/// The ledger of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Rates {
    /// The oldest first.
    seen: VecDeque<(Instant, Ledger)>,
}

impl Rates {
    /// Adds a ledger that was read now.
    pub(super) fn add(&mut self, now: Instant, ledger: &Ledger) {
        // A queue that was emptied starts again at zero.
        let went_back = self
            .seen
            .back()
            .is_some_and(|(_, last)| last.get(Counter::Accepted) > ledger.get(Counter::Accepted));
        if went_back {
            self.seen.clear();
        }
        self.seen.push_back((now, ledger.clone()));
        // The one before the span stays, so that the average is over the whole of it.
        while self
            .seen
            .get(1)
            .is_some_and(|(time, _)| now.duration_since(*time) >= RATE_SPAN)
        {
            self.seen.pop_front();
        }
    }

    /// How much the sum of counters grew per second.
    #[expect(clippy::cast_precision_loss, reason = "no span has 2^53 elements")]
    fn of(&self, counters: &[Counter]) -> Option<f64> {
        let ((from, first), (to, last)) = (self.seen.front()?, self.seen.back()?);
        let span = to.duration_since(*from);
        if span < LEAST_SPAN {
            return None;
        }
        let grown: i64 = counters
            .iter()
            .map(|counter| last.get(*counter) - first.get(*counter))
            .sum();
        Some(grown as f64 / span.as_secs_f64())
    }

    /// The stages with what they took and handed on.
    pub(super) fn stages(
        &self,
        dependencies: &[DependencyState],
        mut progress: impl FnMut(Stage) -> Option<Progress>,
    ) -> Vec<StageFigures> {
        use Counter::{
            Accepted, DeadIngester, DeadSink, DeadTransformer, RawTaken, RowsOut, RowsStored,
            RowsTaken,
        };
        let counters: [(Stage, &[Counter], Counter, Counter); 3] = [
            (
                Stage::Ingester,
                &[Accepted, DeadIngester],
                Accepted,
                DeadIngester,
            ),
            (Stage::Transformer, &[RawTaken], RowsOut, DeadTransformer),
            (Stage::Sink, &[RowsTaken], RowsStored, DeadSink),
        ];
        let stages = counters.into_iter().map(|(stage, taken, given, dead)| {
            let progress = progress(stage);
            let of_stage = dependencies.iter().filter(|one| one.stage == stage.name());
            StageFigures {
                name: stage.name(),
                taken_per_second: self.of(taken),
                given_per_second: self.of(&[given]),
                dead_per_second: self.of(&[dead]),
                commits: progress.as_ref().map(|progress| progress.number),
                lease: progress.map(|progress| progress.by),
                dependencies: of_stage.cloned().collect(),
            }
        });
        stages.collect()
    }

    /// The lists with their limits.
    pub(super) fn lists(&self, ledger: &Ledger, limit: usize, dead: usize) -> Vec<ListFigures> {
        vec![
            ListFigures {
                name: "raw",
                length: ledger.raw,
                limit,
                lag_seconds: lag(ledger.raw, self.of(&[Counter::RawTaken])),
            },
            ListFigures {
                name: "normalized",
                length: ledger.normalized,
                limit,
                lag_seconds: lag(ledger.normalized, self.of(&[Counter::RowsTaken])),
            },
            ListFigures {
                name: "dead_letters",
                length: ledger.dead,
                limit: dead,
                lag_seconds: None,
            },
        ]
    }
}

#[expect(clippy::cast_precision_loss, reason = "no list has 2^53 elements")]
fn lag(length: i64, per_second: Option<f64>) -> Option<f64> {
    match (length, per_second) {
        (..=0, _) => Some(0.0),
        (_, Some(rate)) if rate > 0.0 => Some(length as f64 / rate),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use queue::ledger::{Counter, Ledger};
    use tokio::time::Instant;

    use super::{Rates, lag};

    fn ledger(accepted: i64) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.set(Counter::Accepted, accepted);
        ledger
    }

    #[test]
    fn rates_are_averages_of_the_last_seconds() {
        let start = Instant::now();
        let mut rates = Rates::default();
        let is = |rates: &Rates, expected: f64| {
            let rate = rates.of(&[Counter::Accepted]);
            rate.is_some_and(|rate| (rate - expected).abs() < 0.001)
        };
        rates.add(start, &ledger(1_000));
        // 60 a second, and nothing from the tenth second on.
        for half in 1..=40_u32 {
            let now = start + Duration::from_millis(500) * half;
            rates.add(now, &ledger(1_000 + 30 * i64::from(half.min(20))));
            match half {
                ..4 => assert!(rates.of(&[Counter::Accepted]).is_none(), "{half}"),
                4..=20 => assert!(is(&rates, 60.0), "{half}"),
                25 => assert!(is(&rates, 30.0)),
                30.. => assert!(is(&rates, 0.0)),
                _ => {}
            }
        }
        // The lists were emptied.
        rates.add(start + Duration::from_secs(21), &ledger(5));
        assert!(rates.of(&[Counter::Accepted]).is_none());
    }

    #[test]
    fn lag_is_unknown_if_nothing_is_taken() {
        assert_eq!(lag(0, None), Some(0.0));
        assert_eq!(lag(50, Some(10.0)), Some(5.0));
        assert_eq!(lag(50, Some(0.0)), None);
    }
}
