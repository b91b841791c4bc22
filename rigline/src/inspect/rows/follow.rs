//! Prints rows as they are stored.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write;
use std::time::Duration;

use model::row::Row;
use model::time::Timestamp;
use store::history::RigSpan;

use super::printer::Printer;
use super::{RowsArgs, select};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(250);

/// The newest time of each rig up to which its rows are printed or passed over.
#[derive(Debug, Default)]
pub(super) struct Seen(HashMap<String, Timestamp>);

impl Seen {
    /// Everything that was stored when the rigs were read.
    pub(super) fn of(rigs: &[RigSpan]) -> Self {
        let rigs = rigs.iter();
        Self(rigs.map(|rig| (rig.name.clone(), rig.last)).collect())
    }

    /// Rows that were printed since.
    pub(super) fn add(&mut self, rows: &[Row<'_>]) {
        for row in rows {
            if let Some((_, rig)) = row.tags.first() {
                self.set(rig.as_str(), row.timestamp);
            }
        }
    }

    fn set(&mut self, rig: &str, time: Timestamp) {
        match self.0.get_mut(rig) {
            Some(seen) => *seen = time.max(*seen),
            None => {
                self.0.insert(rig.to_owned(), time);
            }
        }
    }
}

/// Prints new rows, for ever.
pub(super) async fn follow<W: Write>(
    args: &RowsArgs,
    printer: &mut Printer<W>,
    mut seen: Seen,
) -> anyhow::Result<Infallible> {
    loop {
        tokio::time::sleep(EVERY).await;
        // Opened again each time: a file in a directory that can't be written to is opened as one that
        // doesn't change, and a process may have started since.
        let history = args.stored.open()?;
        let mut rows = Vec::new();
        for rig in args.rigs(&history).await? {
            let before = seen.0.get(&rig.name).copied();
            if before.is_none_or(|before| before < rig.last) {
                rows.extend(select::newer(&history, &rig, &args.sensors, before).await?);
                seen.set(&rig.name, rig.last);
            }
        }
        if rows.is_empty() {
            continue;
        }
        rows.sort_by_key(|row| row.timestamp);
        printer.set_sensors(args.columns(&history).await?);
        printer.rows(&rows)?;
        printer.flush()?;
    }
}
