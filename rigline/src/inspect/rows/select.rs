//! Reads the rows to print.

use std::cmp::Reverse;

use model::row::Row;
use model::time::Timestamp;
use store::history::{History, RigSpan, Selection};
use store::{ReadError, SqliteHistory};
use tokio::sync::mpsc::{Receiver, channel};

/// Rows per page.
const PAGE: usize = 5_000;
/// Pages that are read before they are printed.
const AHEAD: usize = 2;

/// Sensors and time range of the rows.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Names of sensors; empty for all.
    pub(super) sensors: Vec<String>,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

impl Wanted {
    fn of<'a>(&'a self, rig: &'a str) -> Selection<'a> {
        Selection {
            rig,
            sensors: &self.sensors,
            from: self.from,
            to: self.to,
        }
    }
}

/// All rows, page by page, ordered by rig and time. They are read while others are printed.
pub(super) fn all(
    history: SqliteHistory,
    rigs: Vec<String>,
    wanted: Wanted,
) -> Receiver<Result<Vec<Row<'static>>, ReadError>> {
    let (pages, received) = channel(AHEAD);
    tokio::spawn(async move {
        for rig in &rigs {
            let mut span = wanted.of(rig);
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

/// The newest rows of all these rigs together, at most `limit`, ordered by time.
pub(super) async fn newest(
    history: &SqliteHistory,
    rigs: &[RigSpan],
    wanted: &Wanted,
    limit: usize,
) -> Result<Vec<Row<'static>>, ReadError> {
    let mut rigs: Vec<&RigSpan> = rigs.iter().collect();
    rigs.sort_by_key(|rig| Reverse(rig.last));
    let mut newest: Vec<Row<'static>> = Vec::new();
    for rig in rigs {
        let oldest = newest.last().filter(|_| newest.len() == limit);
        // This rig and those after it have no newer rows than those that were found.
        if oldest.is_some_and(|oldest| oldest.timestamp >= rig.last) {
            break;
        }
        let mut span = wanted.of(&rig.name);
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
        // Stable: rows of one time stay in the order of the rigs.
        newest.sort_by_key(|row| Reverse(row.timestamp));
        newest.truncate(limit);
    }
    newest.reverse();
    Ok(newest)
}

/// The rows of this rig that are newer than those seen, ordered by time.
pub(super) async fn newer(
    history: &SqliteHistory,
    rig: &RigSpan,
    sensors: &[String],
    seen: Option<Timestamp>,
) -> Result<Vec<Row<'static>>, ReadError> {
    let mut span = Selection {
        rig: &rig.name,
        sensors,
        from: seen.map_or(rig.first, after),
        // What is written meanwhile is read the next time.
        to: after(rig.last),
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
