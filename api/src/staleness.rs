//! Whether series are stale: how old their newest rows are, beside how far apart their rows usually are.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Timestamp;
use store::ReadError;
use store::history::{History, Selection, SeriesSpan};
use tokio::task::JoinSet;

use crate::alerts::usual_delay;
use crate::parts::{PipelineHistory, ServedPipeline};

/// No series is stale before its newest row is this old, and one whose period isn't known is from then on.
const LEAST: Duration = Duration::from_secs(30);
/// Rows whose distances tell the period of a series.
const ROWS: usize = 6;
/// Periods that a request reads at most, since each is a query; the others are unknown until a later one.
const MOST: usize = 100;
/// Periods that are read at a time.
const AT_ONCE: usize = 8;

/// The periods of series that send nothing. One that sends again is read again when it is silent the next time.
#[derive(Debug, Default)]
pub(crate) struct Staleness {
    /// By the pipeline's name and the key of the series.
    periods: Mutex<HashMap<String, HashMap<String, Known>>>,
}

/// The period of a series up to a row.
#[derive(Debug, Clone, Copy)]
struct Known {
    last: Timestamp,
    /// `None` for a single row.
    period: Option<Duration>,
}

impl Staleness {
    /// The keys of the series that are stale now.
    pub(crate) async fn of(
        &self,
        part: &ServedPipeline,
        spans: &[SeriesSpan],
        now: Timestamp,
    ) -> Result<HashSet<String>, ReadError> {
        let name = part.pipeline.name();
        let delay = usual_delay(&part.pipeline);
        let is_older = |span: &&SeriesSpan, limit: Duration| now.since(span.last) > limit + delay;
        let silent: Vec<_> = spans.iter().filter(|span| is_older(span, LEAST)).collect();
        let mut known = self.periods().get(name).cloned().unwrap_or_default();
        known.retain(|key, known| {
            let place = silent.binary_search_by(|span| span.key.as_str().cmp(key));
            place.is_ok_and(|place| silent[place].last == known.last)
        });
        let unknown = silent.iter().filter(|span| !known.contains_key(&span.key));
        let unknown: Vec<_> = unknown.take(MOST).copied().cloned().collect();
        for some in unknown.chunks(AT_ONCE) {
            let mut reads = JoinSet::new();
            for span in some {
                reads.spawn(period(part.history.clone(), span.clone()));
            }
            while let Some(read) = reads.join_next().await {
                let Ok(read) = read else {
                    continue;
                };
                let (key, period) = read?;
                known.insert(key, period);
            }
        }
        let stale = silent.into_iter().filter(|span| {
            let period = known.get(&span.key).and_then(|known| known.period);
            is_older(span, LEAST.max(2 * period.unwrap_or_default()))
        });
        let stale = stale.map(|span| span.key.clone()).collect();
        self.periods().insert(name.to_owned(), known);
        Ok(stale)
    }

    fn periods(&self) -> MutexGuard<'_, HashMap<String, HashMap<String, Known>>> {
        self.periods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The median distance of a series' newest rows.
async fn period(history: PipelineHistory, span: SeriesSpan) -> Result<(String, Known), ReadError> {
    let newest = Selection {
        series: &span.key,
        fields: &[],
        from: span.first,
        to: span.last.plus(Duration::from_nanos(1)),
    };
    let rows = history.newest(newest, ROWS).await?.rows;
    let mut distances: Vec<_> = rows
        .windows(2)
        .map(|pair| pair[0].timestamp.since(pair[1].timestamp))
        .collect();
    distances.sort_unstable();
    let known = Known {
        last: span.last,
        period: distances.get(distances.len() / 2).copied(),
    };
    Ok((span.key, known))
}
