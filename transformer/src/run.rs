//! Turns readings of the raw list into rows of the normalized list.

use std::time::{Duration, Instant};

use common::guard::guarded;
use common::harness::Process;
use common::health::Dependency;
use common::metric;
use metrics::{counter, gauge};
use model::Stage;
use model::dead_letter::{Reason, Rejection};
use queue::consume::{Batch, Changes, Decision, Processor, consume};
use queue::ledger::Counter;
use queue::rejected::{DeadLetterEncoder, Input, Rejected};
use queue::{Queue, State};

use crate::element;
use crate::settings::Work;
use crate::shape::{self, Counts, Inconsistent, Shape};
use crate::warnings::Warnings;

const STAGE: Stage = Stage::Transformer;
/// How long to wait while the normalized list is full.
const FULL_POLL: Duration = Duration::from_millis(100);

/// Runs until the process stops. Errors of the queue are retried.
pub async fn run<Q: Queue>(settings: Work, queue: Q, process: Process) -> anyhow::Result<()> {
    let transformer = Transformer {
        output_has_space: process.health.dependency("normalized_list"),
        shape: shape::load(&settings.shape, settings.queue.layout, State::new())?,
        dead_letters: DeadLetterEncoder::new(STAGE, &settings.queue.limits),
        warnings: Warnings::new(&settings.shape),
        process: process.clone(),
        settings: settings.clone(),
    };
    let ended = consume(
        queue,
        Stage::Transformer,
        &settings.queue,
        &process,
        transformer,
    );
    Ok(ended.await?)
}

struct Transformer {
    settings: Work,
    process: Process,
    shape: Box<dyn Shape>,
    dead_letters: DeadLetterEncoder,
    warnings: Warnings,
    output_has_space: Dependency,
}

impl Processor for Transformer {
    type Summary = Counts;
    type Error = Inconsistent;

    fn load(&mut self, state: State) -> Result<(), Inconsistent> {
        self.shape = shape::load(&self.settings.shape, self.settings.queue.layout, state)?;
        let open_rows = self.shape.open_rows();
        tracing::info!(open_rows, "took the lease and loaded the state");
        Ok(())
    }

    async fn process(&mut self, batch: &Batch) -> Result<Decision<Counts>, Inconsistent> {
        self.dead_letters.log_rest();
        let (length, limits) = (batch.peek.output_length, self.settings.queue.limits);
        if length >= limits.queue_limit {
            self.output_has_space.down(&format_args!(
                "{} is full ({length} elements), waiting until the sink has drained it",
                self.settings.queue.normalized_queue
            ));
            return Ok(Decision::Wait(FULL_POLL));
        }
        self.output_has_space.up();
        let dead = self.take(batch)?;
        let unfinished = batch.reached_end && !self.shape.expire(batch.now, limits.batch)?;
        let changes = self.shape.finish()?;
        let counts = changes.counts;
        let samples = queue::ledger::delta(batch.peek.items.len() - dead.len());
        let changes = Changes {
            take: None,
            outputs: changes.rows,
            dead,
            puts: changes.puts,
            deletes: changes.deletes,
            counts: vec![
                (Counter::Samples, samples),
                (Counter::Readings, counts.readings.cast_signed()),
                (Counter::Repeated, counts.repeated.cast_signed()),
                (Counter::Superseded, counts.superseded.cast_signed()),
                (Counter::Late, counts.late.cast_signed()),
                (Counter::InRows, counts.in_rows.cast_signed()),
                (Counter::OpenReadings, counts.open_readings),
            ],
            unfinished,
        };
        Ok(Decision::Commit(changes, counts))
    }

    fn committed(&mut self, counts: Counts) {
        counter!(metric::READINGS, "stage" => STAGE.name()).increment(counts.readings);
        counter!(metric::REPEATED).increment(counts.repeated);
        counter!(metric::SUPERSEDED).increment(counts.superseded);
        counter!(metric::LATE).increment(counts.late);
        for (kind, rows) in [
            ("complete", counts.complete),
            ("partial", counts.partial),
            ("forced", counts.forced),
            ("second", counts.second),
            ("late", counts.late_rows),
            ("window", counts.windows),
            ("corrected", counts.corrected),
            ("sample", counts.samples),
        ] {
            counter!(metric::ROWS, "kind" => kind).increment(rows);
        }
        #[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
        gauge!(metric::OPEN_ROWS).set(self.shape.open_rows() as f64);
        let examples = self.shape.take_examples();
        self.warnings.add(&counts, examples, Instant::now());
    }
}

impl Transformer {
    /// Takes all elements. Returns the elements that can't be used.
    fn take(&mut self, batch: &Batch) -> Result<Vec<Rejected>, Inconsistent> {
        let layout = self.settings.queue.layout;
        let limits = self.settings.times;
        let mut rejected = Vec::new();
        for item in &batch.peek.items {
            let decoded = guarded(|| element::decode(layout, item, &limits))
                .unwrap_or_else(|panic| Err(Rejection::new(Reason::Poison, panic)));
            let (rejection, series) = match decoded {
                Ok(sample) => match self.shape.take(&sample, batch.now)? {
                    Ok(()) => continue,
                    Err(rejection) => (rejection, sample.series.into_owned()),
                },
                Err(rejection) => (rejection, String::new()),
            };
            let input = Input {
                series: &series,
                topic: &self.settings.queue.raw_queue,
                payload: item,
                truncated: None,
                time: self.process.clock.now(),
            };
            rejected.push(self.dead_letters.encode(&rejection, &input));
        }
        Ok(rejected)
    }
}
