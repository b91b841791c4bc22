//! Reads the rows to print.

use std::cmp::Reverse;

use api::PipelineHistory;
use model::row::Row;
use model::time::Timestamp;
use store::ReadError;
use store::history::{History, Selection, SeriesSpan};
use tokio::sync::mpsc::{Receiver, channel};

/// Rows per page.
const PAGE: usize = 5_000;
/// Pages that are read before they are printed.
const AHEAD: usize = 2;

/// Fields and time range of the rows.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Names of fields; empty for all.
    pub(super) fields: Vec<String>,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

impl Wanted {
    fn of<'a>(&'a self, series: &'a str) -> Selection<'a> {
        Selection {
            series,
            fields: &self.fields,
            from: self.from,
            to: self.to,
        }
    }
}

/// All rows, page by page, ordered by series and time. They are read while others are printed.
pub(super) fn all(
    history: PipelineHistory,
    series: Vec<String>,
    wanted: Wanted,
) -> Receiver<Result<Vec<Row<'static>>, ReadError>> {
    let (pages, received) = channel(AHEAD);
    tokio::spawn(async move {
        for key in &series {
            let mut span = wanted.of(key);
            loop {
                let page = history.range(span, PAGE).await;
                let next = page.as_ref().ok().and_then(|page| page.next);
                // Fails if nobody prints any more.
                if pages.send(page.map(|page| page.rows)).await.is_err() {
                    return;
                }
                let Some(next) = next else { break };
                span.from = next;
            }
        }
    });
    received
}

/// The newest rows of all these series together, at most `limit`, ordered by time.
pub(super) async fn newest(
    history: &PipelineHistory,
    series: &[SeriesSpan],
    wanted: &Wanted,
    limit: usize,
) -> Result<Vec<Row<'static>>, ReadError> {
    let mut series: Vec<&SeriesSpan> = series.iter().collect();
    series.sort_by_key(|one| Reverse(one.last));
    let mut newest: Vec<Row<'static>> = Vec::new();
    for one in series {
        let oldest = newest.last().filter(|_| newest.len() == limit);
        // This series and those after it have no newer rows than those that were found.
        if oldest.is_some_and(|oldest| oldest.timestamp >= one.last) {
            break;
        }
        let mut span = wanted.of(&one.key);
        if let Some(oldest) = oldest {
            span.from = span.from.max(oldest.timestamp);
        }
        let mut left = limit;
        while left > 0 {
            let page = history.newest(span, PAGE.min(left)).await?;
            left -= page.rows.len();
            newest.extend(page.rows);
            let Some(next) = page.next else { break };
            span.to = next;
        }
        // Stable: rows of one time stay in the order of the series.
        newest.sort_by_key(|row| Reverse(row.timestamp));
        newest.truncate(limit);
    }
    newest.reverse();
    Ok(newest)
}

/// The rows of this series that are newer than those seen, ordered by time.
pub(super) async fn newer(
    history: &PipelineHistory,
    series: &SeriesSpan,
    fields: &[String],
    seen: Option<Timestamp>,
) -> Result<Vec<Row<'static>>, ReadError> {
    let mut span = Selection {
        series: &series.key,
        fields,
        from: seen.map_or(series.first, after),
        // What is written meanwhile is read the next time.
        to: after(series.last),
    };
    let mut rows = Vec::new();
    loop {
        let page = history.range(span, PAGE).await?;
        rows.extend(page.rows);
        let Some(next) = page.next else {
            return Ok(rows);
        };
        span.from = next;
    }
}

fn after(time: Timestamp) -> Timestamp {
    Timestamp::from_nanos(time.nanos().saturating_add(1))
}
