//! All changes of the lists in a run, from records that are as exact as the lists themselves.

pub mod redis;
pub mod sqlite;

use std::collections::HashMap;

use model::name::RIG_ID;
use model::{Layout, element};

use crate::message::{Cell, Epoch};

/// How many elements of unknown origin are kept.
const KEPT_UNKNOWN: usize = 20;

/// All changes of a run.
#[derive(Debug, Default)]
pub struct History {
    /// For each cell the values appended to the raw list, in order.
    pub appended: HashMap<Cell, Vec<f64>>,
    /// For each cell the values appended to the normalized list.
    pub emitted: HashMap<Cell, Vec<f64>>,
    /// Rows appended to the normalized list.
    pub rows: usize,
    /// Elements appended to the dead-letter list.
    pub dead_letters: usize,
    /// Elements that no message can have produced.
    pub unknown: Vec<String>,
    /// Commits.
    pub commits: usize,
    /// Commits without the lease, and commits out of sequence.
    pub invalid_commits: Vec<String>,
    /// The number of each consumer's last commit.
    pub numbers: HashMap<String, i64>,
}

impl History {
    /// Records a commit with the token `by` while `holder` had the lease.
    fn commit(&mut self, consumer: &str, number: i64, by: &str, holder: Option<&str>) {
        self.commits += 1;
        if holder != Some(by) {
            let holder = holder.unwrap_or("nobody");
            self.invalid_commits.push(format!(
                "commit {number} of the {consumer} by {by}, while {holder} had the lease"
            ));
        }
        let before = self
            .numbers
            .insert(consumer.to_owned(), number)
            .unwrap_or(0);
        if number != before + 1 {
            self.invalid_commits
                .push(format!("commit {number} of the {consumer} after {before}"));
        }
    }

    fn append(&mut self, item: &[u8], epoch: Epoch) {
        let reading = element::decode_reading(item).ok();
        let found = reading.and_then(|reading| {
            let cell = epoch.cell(&reading.rig_id, reading.timestamp, &reading.sensor)?;
            Some((cell, reading.value))
        });
        match found {
            Some((cell, value)) => self.appended.entry(cell).or_default().push(value),
            None => self.add_unknown(item),
        }
    }

    fn emit(&mut self, item: &[u8], epoch: Epoch) {
        self.rows += 1;
        let Ok(row) = Layout::Rigs.decode_row(item) else {
            return self.add_unknown(item);
        };
        let rig = row.tags.iter().find(|(name, _)| name == RIG_ID);
        let rig_id = rig.map(|(_, value)| value.as_ref()).unwrap_or_default();
        for (sensor, value) in &row.fields {
            let cell = epoch.cell(rig_id, row.timestamp, sensor);
            match cell.zip(value.as_number()) {
                Some((cell, value)) => self.emitted.entry(cell).or_default().push(value),
                None => self.add_unknown(item),
            }
        }
    }

    fn add_unknown(&mut self, item: &[u8]) {
        if self.unknown.len() < KEPT_UNKNOWN {
            self.unknown
                .push(String::from_utf8_lossy(&item[..item.len().min(300)]).into_owned());
        }
    }
}

/// Whether an element contains a cell.
fn mentions(item: &[u8], cell: Cell, epoch: Epoch) -> bool {
    if let Ok(reading) = element::decode_reading(item) {
        return epoch.cell(&reading.rig_id, reading.timestamp, &reading.sensor) == Some(cell);
    }
    let Ok(row) = Layout::Rigs.decode_row(item) else {
        return false;
    };
    let rig_id = row.tags.first().map_or("", |(_, value)| value.as_ref());
    row.fields
        .iter()
        .any(|(sensor, _)| epoch.cell(rig_id, row.timestamp, sensor) == Some(cell))
}

#[cfg(test)]
mod tests {
    use super::History;

    #[test]
    fn commits_without_the_lease_or_out_of_sequence_are_invalid() {
        let mut history = History::default();
        history.commit("sink", 1, "mine", Some("mine"));
        history.commit("transformer", 1, "other", Some("other"));
        history.commit("sink", 2, "mine", Some("mine"));
        assert_eq!(history.invalid_commits, [""; 0]);
        history.commit("sink", 3, "mine", Some("theirs"));
        history.commit("sink", 4, "mine", None);
        history.commit("sink", 4, "mine", Some("mine"));
        history.commit("transformer", 3, "other", Some("other"));
        assert_eq!(
            history.invalid_commits.len(),
            4,
            "{:?}",
            history.invalid_commits
        );
        assert_eq!(history.commits, 7);
    }
}
