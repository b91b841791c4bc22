//! Prints rows as they are stored.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write;
use std::time::Duration;

use api::PipelineHistory;
use model::Layout;
use model::row::Row;
use model::time::Timestamp;
use store::history::SeriesSpan;

use super::printer::Printer;
use super::{RowsArgs, select};

/// How often a file is read, and how often a server is asked.
const EVERY: Duration = Duration::from_millis(250);
const EVERY_OF_SERVER: Duration = Duration::from_secs(2);

/// The newest time of each series up to which its rows are printed or passed over.
#[derive(Debug)]
pub(super) struct Seen {
    layout: Layout,
    /// By the keys of the series.
    times: HashMap<String, Timestamp>,
}

impl Seen {
    /// Everything that was stored when the series were read.
    pub(super) fn of(series: &[SeriesSpan], layout: Layout) -> Self {
        let times = series.iter().map(|span| (span.key.clone(), span.last));
        Self {
            layout,
            times: times.collect(),
        }
    }

    /// Rows that were printed since.
    pub(super) fn add(&mut self, rows: &[Row<'_>]) {
        for row in rows {
            let key = self.layout.series_key(&row.tags).into_owned();
            self.set(&key, row.timestamp);
        }
    }

    fn set(&mut self, key: &str, time: Timestamp) {
        match self.times.get_mut(key) {
            Some(seen) => *seen = time.max(*seen),
            None => {
                self.times.insert(key.to_owned(), time);
            }
        }
    }
}

/// Prints new rows, for ever.
pub(super) async fn follow<W: Write>(
    args: &RowsArgs,
    mut history: PipelineHistory,
    printer: &mut Printer<W>,
    mut seen: Seen,
) -> anyhow::Result<Infallible> {
    let is_file = matches!(history, PipelineHistory::Sqlite(_));
    let every = if is_file { EVERY } else { EVERY_OF_SERVER };
    loop {
        tokio::time::sleep(every).await;
        if is_file {
            // A file in a directory that can't be written to is opened as one that doesn't change, and a process may
            // have started since.
            history = args.stored.open()?;
        }
        let mut rows = Vec::new();
        let series = args.series(&history).await?;
        for span in &series {
            let before = seen.times.get(&span.key).copied();
            if before.is_none_or(|before| before < span.last) {
                rows.extend(select::newer(&history, span, &args.sensors, before).await?);
                seen.set(&span.key, span.last);
            }
        }
        if rows.is_empty() {
            continue;
        }
        rows.sort_by_key(|row| row.timestamp);
        printer.set_columns(args.columns(&history, &series).await?);
        printer.rows(&rows)?;
        printer.flush()?;
    }
}
