//! Elements of a list: the last ones, and then those that are appended.

use std::collections::VecDeque;
use std::time::Duration;

use model::dead_letter::id_of;
use queue::Stretch;
use queue::list::List;

use super::TapArgs;
use super::elements::Printer;
use crate::inspect::lists::{Lists, Purpose};
use crate::inspect::output::grouped;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(250);
/// Elements that are read at once.
const PAGE: usize = 1_000;
/// Dead letters that are read at once: all new ones, because their positions aren't exact.
const ALL: usize = 1_000_000_000;

/// Prints the last elements, and with `--follow` new ones, for ever.
pub(super) async fn list(args: &mut TapArgs, list: List) -> anyhow::Result<()> {
    let mut lists = args.lists.open(Purpose::Read).await?;
    // The layout is known once the lists are open.
    let mut printer = args.printer();
    let (elements, mut seen) = newest(&lists, list, &printer, args.number).await?;
    for element in &elements {
        printer.element(list, element)?;
    }
    printer.flush()?;
    if !args.follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(EVERY).await;
        // Opened again each time: a file in a directory that can't be written to is opened as one that
        // doesn't change, and a process may have started since.
        if lists.redis().is_none() {
            lists = args.lists.open(Purpose::Read).await?;
        }
        while let Some(news) = seen.next(&lists, list).await? {
            report(&mut printer, &news)?;
            for element in &news.elements {
                if printer.wants_element(list, element) {
                    printer.element(list, element)?;
                }
            }
            printer.flush()?;
        }
    }
}

/// The last elements that the filter lets pass, and the place after them.
async fn newest(
    lists: &Lists,
    list: List,
    printer: &Printer,
    number: usize,
) -> anyhow::Result<(VecDeque<Vec<u8>>, Seen)> {
    if !printer.has_filter() {
        let stretch = lists.stretch(list, None, number).await?;
        let seen = Seen::after(&stretch, stretch.items.last(), stretch.end);
        return Ok((stretch.items.into(), seen));
    }
    let mut found = VecDeque::new();
    let mut stretch = lists.stretch(list, Some(0), PAGE).await?;
    let mut newest: Option<Vec<u8>> = None;
    loop {
        let next = stretch.first + queue::ledger::delta(stretch.items.len());
        let is_end = stretch.items.is_empty() || next >= stretch.end;
        for element in std::mem::take(&mut stretch.items) {
            if printer.wants_element(list, &element) {
                found.push_back(element.clone());
                if found.len() > number {
                    found.pop_front();
                }
            }
            newest = Some(element);
        }
        if is_end {
            let seen = Seen::after(&stretch, newest.as_ref(), next);
            return Ok((found, seen));
        }
        stretch = lists.stretch(list, Some(next), PAGE).await?;
    }
}

/// What came since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
struct News {
    elements: Vec<Vec<u8>>,
    /// Elements that came and were taken or trimmed before they could be read.
    missed: i64,
    /// Whether the queue was flushed or replaced.
    is_reset: bool,
}

/// Up to where a list was read.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    instance: String,
    /// The position after the last element that was read.
    next: i64,
    /// What identifies that element, if it is a dead letter.
    last: Option<Vec<u8>>,
}

impl Seen {
    fn after(stretch: &Stretch, last: Option<&Vec<u8>>, next: i64) -> Self {
        Self {
            instance: stretch.instance.clone(),
            next,
            last: last.map(|element| identity(element)),
        }
    }

    /// Reads what came; `None` if nothing did.
    async fn next(&mut self, lists: &Lists, list: List) -> anyhow::Result<Option<News>> {
        let max = if list == List::Dead { ALL } else { PAGE };
        let stretch = lists.stretch(list, Some(self.next), max).await?;
        let is_first = self.instance.is_empty();
        if (stretch.instance != self.instance && !is_first) || stretch.end < self.next {
            let stretch = lists.stretch(list, Some(0), max).await?;
            let mut news = self.take(stretch, 0, list);
            news.is_reset = true;
            return Ok(Some(news));
        }
        let from = self.next;
        let news = self.take(stretch, from, list);
        Ok(Some(news).filter(|news| news.missed > 0 || !news.elements.is_empty()))
    }

    /// Takes over what was read from the position `from` on.
    fn take(&mut self, stretch: Stretch, from: i64, list: List) -> News {
        let mut elements = stretch.items;
        let after = stretch.first + queue::ledger::delta(elements.len());
        // Letters that weren't kept moved the others, so that old ones may be among the new.
        if list == List::Dead
            && let Some(last) = &self.last
            && let Some(place) = elements.iter().rposition(|other| identity(other) == *last)
        {
            elements.drain(..=place);
        }
        let missed = after - from - queue::ledger::delta(elements.len());
        if let Some(element) = elements.last() {
            self.last = Some(identity(element));
        }
        self.instance = stretch.instance;
        self.next = after;
        News {
            elements,
            missed,
            is_reset: false,
        }
    }
}

/// A dead letter's id, which stays when it is marked as replayed; of other elements all of it.
fn identity(element: &[u8]) -> Vec<u8> {
    let id = id_of(element).map(|id| id.as_bytes().to_vec());
    id.unwrap_or_else(|| element.to_vec())
}

/// Says what can't be shown: on standard error, so that each line of the output is an element.
#[expect(clippy::print_stderr, reason = "the answer of a command")]
fn report(printer: &mut Printer, news: &News) -> std::io::Result<()> {
    if news.missed == 0 && !news.is_reset {
        return Ok(());
    }
    printer.flush()?;
    if news.is_reset {
        eprintln!("the queue was flushed, emptied or replaced; starting from its head");
    }
    if news.missed > 0 {
        let missed = grouped(news.missed);
        eprintln!("{missed} not shown: they left the list, or weren't kept, between two looks");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use queue::Stretch;
    use queue::list::List;

    use super::{News, Seen};

    fn stretch(first: i64, items: &[&str]) -> Stretch {
        let items: Vec<_> = items.iter().map(|item| item.as_bytes().to_vec()).collect();
        Stretch {
            instance: "a".to_owned(),
            end: first + queue::ledger::delta(items.len()),
            first,
            items,
        }
    }

    fn seen(next: i64, last: &str) -> Seen {
        Seen {
            instance: "a".to_owned(),
            next,
            last: Some(last.as_bytes().to_vec()),
        }
    }

    fn news(items: &[&str], missed: i64) -> News {
        News {
            elements: stretch(0, items).items,
            missed,
            is_reset: false,
        }
    }

    #[test]
    fn elements_that_left_between_two_looks_are_counted() {
        let mut place = seen(3, "c");
        let found = place.take(stretch(5, &["f", "g"]), 3, List::Raw);
        assert_eq!(found, news(&["f", "g"], 2));
        assert_eq!(place, seen(7, "g"));
        // Equal elements of other lists are other elements.
        assert_eq!(
            place.take(stretch(7, &["g"]), 7, List::Raw),
            news(&["g"], 0)
        );
    }

    #[test]
    fn dead_letters_are_not_repeated_when_others_were_not_kept() {
        // Two letters weren't kept: all positions are two higher.
        let mut place = seen(3, "c");
        let found = place.take(stretch(3, &["b", "c", "d"]), 3, List::Dead);
        assert_eq!(found, news(&["d"], 2));
        assert_eq!(place, seen(6, "d"));
        let nothing = place.take(stretch(6, &["d"]), 6, List::Dead);
        assert_eq!(nothing, news(&[], 1));
    }
}
