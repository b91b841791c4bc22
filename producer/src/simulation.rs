//! What a pipeline file's `[simulate]` sends: messages of which the pipeline makes these samples.

mod message;
mod schedule;
mod values;

use std::collections::BTreeMap;
use std::time::Duration;

use model::Timestamp;
use model::pipeline::{PipelineFile, SimulateTable};

use self::message::Composer;
pub use self::message::Message;
pub(crate) use self::schedule::{SimulationSchedule, Target};
use self::values::Source;

/// The default interval of a series' samples.
const INTERVAL: Duration = Duration::from_secs(1);

/// Why a pipeline can't be simulated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pipeline {pipeline} can't be simulated: {why}")]
pub struct NotSimulated {
    pipeline: String,
    why: String,
}

/// The simulated series of a pipeline.
#[derive(Debug)]
pub struct Simulation {
    composer: Composer,
    series: Vec<Series>,
    interval: Duration,
    random: fastrand::Rng,
}

#[derive(Debug)]
struct Series {
    tags: BTreeMap<String, String>,
    /// The name of each field, and how its values are drawn.
    fields: Vec<(String, Source)>,
}

impl Simulation {
    /// The series of a pipeline file; `seed` decides the values.
    pub fn new(file: &PipelineFile, seed: u64) -> Result<Self, NotSimulated> {
        let failed = |why: &str| NotSimulated {
            pipeline: file.name.to_string(),
            why: why.to_owned(),
        };
        let table = file
            .simulate
            .as_ref()
            .ok_or_else(|| failed("its file has no [simulate]"))?;
        let composer = Composer::new(file).map_err(|why| failed(&why))?;
        for tag in composer.tags() {
            if !table.tags.contains_key(tag) {
                return Err(failed(&format!("[simulate.tags] has no values of {tag}")));
            }
        }
        Ok(Self {
            composer,
            series: series(table),
            interval: table
                .interval
                .as_ref()
                .map_or(INTERVAL, |interval| interval.0),
            random: fastrand::Rng::with_seed(seed),
        })
    }

    /// The interval of each series' samples.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// How many series there are.
    #[must_use]
    pub fn series(&self) -> usize {
        self.series.len()
    }

    /// The messages of a sample of each series at a time.
    pub fn round(&mut self, time: Timestamp) -> Vec<Message> {
        let mut messages = Vec::new();
        for series in &mut self.series {
            let random = &mut self.random;
            let fields = series.fields.iter_mut();
            let values: Vec<_> = fields
                .map(|(name, source)| (name.as_str(), source.draw(random)))
                .collect();
            messages.extend(self.composer.compose(&series.tags, &values, time));
        }
        messages
    }
}

/// Every combination of the tags' values.
fn series(table: &SimulateTable) -> Vec<Series> {
    // With the share that the number of a series has of their count.
    let mut combinations = vec![(BTreeMap::new(), 1.0)];
    for (name, values) in &table.tags {
        let (is_numbered, values) = (values.is_numbered(), values.all());
        let before = std::mem::take(&mut combinations);
        for (tags, share) in before {
            combinations.extend(values.iter().enumerate().map(|(place, value)| {
                let mut tags = tags.clone();
                tags.insert(name.clone(), value.clone());
                let of_number = || ratio(place + 1, values.len());
                (tags, if is_numbered { of_number() } else { share })
            }));
        }
    }
    let series = combinations.into_iter().map(|(tags, share)| {
        let fields = table.fields.iter().map(|(name, usual)| {
            let other = table.exceptions.iter().rev().find_map(|exception| {
                let mut wanted = exception.tags.iter();
                let is_it = wanted.all(|(tag, value)| tags.get(tag) == Some(value));
                exception.fields.get(name).filter(|_| is_it)
            });
            (name.clone(), Source::new(other.unwrap_or(usual), share))
        });
        let fields = fields.collect();
        Series { tags, fields }
    });
    series.collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "there are at most 100,000 series"
)]
fn ratio(number: usize, count: usize) -> f64 {
    number as f64 / count as f64
}
