//! Which rows of a batch can be among the newest ones of their group.

use std::collections::HashMap;

use model::Layout;
use model::row::Row;
use model::time::Timestamp;

use super::LAYOUT;

/// A row with what it belongs to.
pub(super) struct Grouped<'a, 'b> {
    /// The key of its group: the tags that groups are made by, as the key of a series has all of them.
    pub(super) group: String,
    pub(super) row: &'a Row<'b>,
}

/// The key of the group of a row.
fn group_of(row: &Row<'_>, by: Option<&[String]>) -> String {
    let Some(by) = by else {
        return LAYOUT.series_key(&row.tags).into_owned();
    };
    let tags = row.tags.iter();
    let tags: Vec<_> = tags
        .filter(|(name, _)| by.iter().any(|of_group| of_group == name.as_str()))
        .cloned()
        .collect();
    Layout::series_key(LAYOUT, &tags).into_owned()
}

/// The rows in order, without those of a group that has rows of `keep` later times in this batch: they would be
/// dropped anyway, and a batch after a long pause has thousands of them.
pub(super) fn newest_of_each<'a, 'b>(
    rows: &'a [Row<'b>],
    by: Option<&[String]>,
    keep: usize,
) -> Vec<Grouped<'a, 'b>> {
    let grouped = rows.iter().map(|row| Grouped {
        group: group_of(row, by),
        row,
    });
    let mut grouped: Vec<_> = grouped.collect();
    let mut times: HashMap<String, Vec<Timestamp>> = HashMap::new();
    for Grouped { group, row } in &grouped {
        match times.get_mut(group) {
            Some(times) => times.push(row.timestamp),
            None => {
                times.insert(group.clone(), vec![row.timestamp]);
            }
        }
    }
    for times in times.values_mut() {
        times.sort_unstable();
        times.dedup();
        times.drain(..times.len().saturating_sub(keep));
    }
    grouped.retain(|Grouped { group, row }| {
        let oldest = times.get(group).and_then(|times| times.first());
        oldest.is_none_or(|oldest| row.timestamp >= *oldest)
    });
    grouped
}
