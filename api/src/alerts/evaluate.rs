//! A round of the evaluation: reads the rows that are new and takes them to the alerts.

use std::collections::BTreeSet;
use std::time::Duration;

use model::Timestamp;
use store::ReadError;
use store::history::{History, Latest, Selection};

use super::book::{Book, tags_of};
use super::machine::Machine;

/// Rows that are read at once.
const PAGE: usize = 1_000;
/// Most pages of an alert of a series in a round; the next round goes on.
const MAX_PAGES: usize = 10;
const NANOSECOND: Duration = Duration::from_nanos(1);

/// Evaluates the rows that are new. After an error, what was evaluated before it counts.
pub(crate) async fn round<H: History>(
    book: &mut Book,
    history: &H,
    now: Timestamp,
    watched_since: Timestamp,
) -> Result<(), ReadError> {
    let all = history.latest_of_all().await?;
    for rule in 0..book.rules.len() {
        let mut present = BTreeSet::new();
        for series in &all {
            let of_rule = &book.rules[rule];
            let newest = series.values.iter().find(|it| it.field == of_rule.field);
            let is_wanted = of_rule.tags.is_empty() || of_rule.is_for(&tags_of(&series.key));
            if let (Some(newest), true) = (newest, is_wanted) {
                present.insert(series.key.as_str());
                catch_up(book, history, rule, &series.key, newest, now).await?;
            }
        }
        book.keep_only(rule, &present, now);
    }
    book.check_stale(now, watched_since);
    Ok(())
}

/// Evaluates the rows of a series up to the newest one.
async fn catch_up<H: History>(
    book: &mut Book,
    history: &H,
    rule: usize,
    series: &str,
    newest: &Latest,
    now: Timestamp,
) -> Result<(), ReadError> {
    let of_rule = &book.rules[rule];
    let start = of_rule
        .backfilled_until(now)
        .min(newest.tick.minus(NANOSECOND));
    let first = Machine::new(start);
    let machine = book.machine(rule, series).unwrap_or(&first);
    if newest.tick <= machine.evaluated {
        return Ok(());
    }
    let done = machine.done_until(of_rule, now);
    if newest.tick <= done {
        let row = (newest.tick, newest.value.as_number());
        book.take(rule, series, &first, row, now);
        return Ok(());
    }
    let fields = [of_rule.field.clone()];
    let mut from = done.plus(NANOSECOND);
    for _ in 0..MAX_PAGES {
        let of = Selection {
            series,
            fields: &fields,
            from,
            to: newest.tick.plus(NANOSECOND),
        };
        let page = history.range(of, PAGE).await?;
        for row in &page.rows {
            let value = row.fields.iter().find(|(name, _)| **name == *fields[0]);
            let value = value.and_then(|(_, value)| value.as_number());
            book.take(rule, series, &first, (row.timestamp, value), now);
        }
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    Ok(())
}
