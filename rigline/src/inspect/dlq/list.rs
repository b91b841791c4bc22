//! Counts dead letters by reason, and lists the newest ones.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use common::settings::count;
use model::dead_letter::{DeadLetter, Handled, Reason, Summary};
use model::{Stage, topic};
use queue::Kinds;

use super::{Filter, PAGE};
use crate::inspect::lists::{Lists, Purpose, Where};
use crate::inspect::output::{grouped, line, printable, screen_width, stdout};

/// The narrowest column of topics.
const TOPIC: usize = 12;

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    /// Most dead letters to list, the newest ones
    #[arg(long, default_value = "50", value_parser = count)]
    limit: usize,
    #[command(flatten)]
    lists: Where,
}

pub(super) async fn run(mut args: ListArgs) -> anyhow::Result<ExitCode> {
    let lists = args.lists.open(Purpose::Read).await?;
    let counts = Counts::of(lists.dead_letter_kinds().await?);
    let wanted = counts.matching(&args.filter).min(args.limit);
    let newest = newest(&lists, &args.filter, counts.all, wanted).await?;
    let mut out = stdout();
    counts.print(&mut out, lists.place())?;
    if !newest.is_empty() {
        writeln!(out)?;
        table(&mut out, &newest, screen_width())?;
    }
    writeln!(out, "{} shown of {}", newest.len(), counts.all)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The newest dead letters that match, the newest last, read from the end of the list.
async fn newest(
    lists: &Lists,
    filter: &Filter,
    all: usize,
    wanted: usize,
) -> anyhow::Result<Vec<DeadLetter>> {
    let (mut found, mut skip) = (Vec::new(), all);
    while skip > 0 && found.len() < wanted {
        let page = if filter.is_empty() { wanted } else { PAGE };
        let page = page.clamp(1, PAGE).min(skip);
        skip -= page;
        for letter in lists.dead_letters(skip, page).await?.iter().rev() {
            let matches = |of: &Summary| filter.matches(of.stage, of.reason);
            if found.len() < wanted && Summary::of(&letter.element).is_some_and(|of| matches(&of)) {
                found.extend(DeadLetter::decode(&letter.element));
            }
        }
    }
    found.reverse();
    Ok(found)
}

/// Numbers of dead letters.
#[derive(Debug, Default)]
struct Counts {
    all: usize,
    replayed: usize,
    discarded: usize,
    /// In another format.
    foreign: usize,
    /// The others by reason and stage.
    kinds: Vec<(Reason, Stage, usize)>,
}

impl Counts {
    fn of(kinds: Kinds) -> Self {
        let mut counts = Self::default();
        for (kind, number) in kinds.0 {
            counts.all += number;
            let Some(kind) = kind else {
                counts.foreign += number;
                continue;
            };
            match kind.handled {
                Some(Handled::Replayed) => counts.replayed += number,
                Some(Handled::Discarded) => counts.discarded += number,
                None => {}
            }
            let (reason, stage) = (kind.reason, kind.stage);
            let mut known = counts.kinds.iter_mut();
            match known.find(|(of, at, _)| (*of, *at) == (reason, stage)) {
                Some((.., count)) => *count += number,
                None => counts.kinds.push((reason, stage, number)),
            }
        }
        let order = |kind: &(Reason, Stage, usize)| (Reverse(kind.2), kind.0.as_str());
        counts.kinds.sort_by_key(order);
        counts
    }

    fn matching(&self, filter: &Filter) -> usize {
        let kinds = self.kinds.iter();
        kinds
            .filter(|(reason, stage, _)| filter.matches(*stage, *reason))
            .map(|(.., count)| count)
            .sum()
    }

    fn print(&self, out: &mut impl Write, place: &str) -> io::Result<()> {
        let number = |count: usize| grouped(i64::try_from(count).unwrap_or(i64::MAX));
        let place = printable(place);
        write!(out, "{} dead letters in {place}", number(self.all))?;
        let handled = [(self.replayed, "replayed"), (self.discarded, "discarded")];
        for (count, how) in handled.into_iter().filter(|(count, _)| *count > 0) {
            write!(out, ", {} of them {how}", number(count))?;
        }
        writeln!(out)?;
        for (reason, stage, count) in &self.kinds {
            writeln!(out, "{:>11}  {reason:<14}  {stage}", number(*count))?;
        }
        if self.foreign > 0 {
            let count = number(self.foreign);
            writeln!(out, "{count:>11}  elements in another format")?;
        }
        Ok(())
    }
}

/// A line for each dead letter, at most `screen` columns wide, if that is 80 or more.
fn table(out: &mut impl Write, letters: &[DeadLetter], screen: usize) -> io::Result<()> {
    let rows: Vec<[Cow<'_, str>; 4]> = letters
        .iter()
        .map(|letter| {
            let mark = mark(letter);
            [
                printable(&letter.id),
                printable(seconds(&letter.time)),
                format!("{}{mark}", letter.reason).into(),
                printable(&origin(&letter.topic)).into_owned().into(),
            ]
        })
        .collect();
    let head = ["id", "time", "reason", "from"].map(Cow::Borrowed);
    let mut widths = [0; 3];
    for row in rows.iter().chain([&head]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let left = screen.saturating_sub(widths.iter().map(|width| width + 2).sum());
    for [id, time, reason, from] in [head].iter().chain(&rows) {
        let from = shortened(from, left.max(TOPIC));
        line(out, &widths, &[id, time, reason, &from])?;
    }
    for handled in [Handled::Replayed, Handled::Discarded] {
        if let Some(letter) = letters.iter().find(|it| it.handled() == Some(handled)) {
            writeln!(out, "{} was {}", mark(letter), handled.as_str())?;
        }
    }
    Ok(())
}

/// The mark of a dead letter about which something was done.
const fn mark(letter: &DeadLetter) -> &'static str {
    match letter.handled() {
        Some(Handled::Replayed) => "*",
        Some(Handled::Discarded) => "-",
        None => "",
    }
}

/// The time without its fraction.
fn seconds(time: &str) -> &str {
    time.split(['.', 'Z']).next().unwrap_or(time)
}

/// Rig and sensor, or the topic if it names none.
fn origin(topic: &str) -> String {
    match topic::parse(topic) {
        Ok((rig, sensor)) => format!("{}/{}", rig.as_str(), sensor.as_str()),
        Err(_) => topic.to_owned(),
    }
}

/// The end of a string that is too long; the end tells more of a topic.
fn shortened(text: &str, width: usize) -> Cow<'_, str> {
    let length = text.chars().count();
    if length <= width {
        return Cow::Borrowed(text);
    }
    let end: String = text.chars().skip(length + 3 - width).collect();
    Cow::Owned(format!("...{end}"))
}

#[cfg(test)]
mod tests {
    use model::Stage;
    use model::dead_letter::{DeadLetter, Handled, Reason, Rejection, Summary, encode};
    use model::time::Timestamp;
    use queue::Kinds;

    use super::{Counts, table};

    fn letter(stage: Stage, reason: Reason, topic: &str) -> Vec<u8> {
        let now = Timestamp::from_nanos(1_762_093_293_512_345_678);
        encode(stage, &Rejection::new(reason, "why"), topic, b"", now)
    }

    #[test]
    fn counts_are_sorted_and_other_elements_have_a_line() {
        let kind = |stage, reason, handled| {
            Some(Summary {
                stage,
                reason,
                handled,
            })
        };
        let counts = Counts::of(Kinds(vec![
            (kind(Stage::Sink, Reason::StoreRejected, None), 1),
            (
                kind(Stage::Ingester, Reason::Future, Some(Handled::Replayed)),
                1,
            ),
            (
                kind(Stage::Ingester, Reason::Future, Some(Handled::Discarded)),
                2,
            ),
            (None, 1),
            (kind(Stage::Ingester, Reason::Future, None), 1),
        ]));
        let mut out = Vec::new();
        counts.print(&mut out, "data/queue.db").unwrap();
        let expected = "6 dead letters in data/queue.db, 1 of them replayed, 2 of them discarded\n          \
                        4  future          ingester\n          \
                        1  store_rejected  sink\n          \
                        1  elements in another format\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn lines_fit_80_columns_whatever_a_device_sent() {
        let long = format!("rigs/{}/measurements/\x1b[2J", "x".repeat(500));
        let topics = ["rigs/RIG-1/measurements/flow", &long, ""];
        let letters: Vec<_> = topics
            .iter()
            .map(|topic| letter(Stage::Ingester, Reason::StoreRejected, topic))
            .map(|element| DeadLetter::decode(&element).unwrap())
            .collect();
        for screen in [80, 120] {
            let mut out = Vec::new();
            table(&mut out, &letters, screen).unwrap();
            let out = String::from_utf8(out).unwrap();
            for line in out.lines() {
                assert!(line.chars().count() <= screen, "{line}");
            }
            assert!(out.contains("store_rejected  RIG-1/flow\n"), "{out}");
            assert!(out.contains("/\\u{1b}[2J\n"), "{out}");
        }
    }
}
