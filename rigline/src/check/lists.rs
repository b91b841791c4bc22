//! Lists, their limits, and the ledger.

use std::time::{Duration, Instant};

use queue::Snapshot;
use queue::ledger::{Counter, Ledger};
use queue::settings::QueueLimits;

use super::line::Line;
use crate::inspect::ledger::{trouble, verdict};
use crate::inspect::lists::Lists;
use crate::inspect::output::grouped;

const RAW: &str = "raw list";
const ROWS: &str = "row list";
const DEAD: &str = "dead letters";
const LEDGER: &str = "ledger";
/// How long the rate is measured.
const MEASURED: Duration = Duration::from_secs(2);
/// A list that will be full sooner than this is worth a warning.
const SOON: f64 = 3_600.0;

/// The lines about lists and ledger, from a snapshot that was taken just now and another one later.
pub(super) async fn lists(
    lists: &Lists,
    first: Snapshot,
    limits: QueueLimits,
) -> anyhow::Result<Vec<Line>> {
    let started = Instant::now();
    tokio::time::sleep(MEASURED).await;
    let second = lists.snapshot().await?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(lines(&first.ledger, &second.ledger, seconds, limits))
}

/// The lines, from two ledgers that are some seconds apart.
fn lines(before: &Ledger, now: &Ledger, seconds: f64, limits: QueueLimits) -> Vec<Line> {
    let rate = |count: fn(&Ledger) -> i64| per_second(count(now) - count(before), seconds);
    let raw = Flow {
        check: RAW,
        length: now.raw,
        arriving: rate(|ledger| ledger.get(Counter::RawTaken) + ledger.raw),
        growing: rate(|ledger| ledger.raw),
        consumer: "transformer",
    };
    let rows = Flow {
        check: ROWS,
        length: now.normalized,
        arriving: rate(|ledger| ledger.get(Counter::RowsTaken) + ledger.normalized),
        growing: rate(|ledger| ledger.normalized),
        consumer: "sink",
    };
    vec![
        raw.line(limits.queue_limit),
        rows.line(limits.queue_limit),
        dead_line(now, limits.dead_letter_limit),
        ledger_line(now),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn per_second(count: i64, seconds: f64) -> f64 {
    count as f64 / seconds
}

/// What happens to a list.
struct Flow {
    check: &'static str,
    length: i64,
    /// Elements a second that are appended.
    arriving: f64,
    /// Elements a second that it grows by.
    growing: f64,
    consumer: &'static str,
}

impl Flow {
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    fn line(&self, limit: usize) -> Line {
        let limit = queue::ledger::delta(limit);
        let room = (limit - self.length).max(0);
        let mut detail = format!("{} of {}", grouped(self.length), grouped(limit));
        if self.arriving > 0.0 {
            let lasts = span(room as f64 / self.arriving);
            detail = format!(
                "{detail}, {} arrive a second: it holds {lasts} without the {}",
                rounded(self.arriving),
                self.consumer
            );
        } else {
            detail = format!("{detail}, nothing arrives");
        }
        let consumer = self.consumer;
        let next = format!("see why the {consumer} is slow or stopped: its log and its /readyz");
        if room == 0 {
            return Line::bad(self.check, format!("{detail}; it is full"), next);
        }
        let is_nearly_full = self.length * 5 >= limit * 4;
        if self.growing > 0.0 && room as f64 / self.growing < SOON {
            let full = span(room as f64 / self.growing);
            return Line::warn(self.check, format!("{detail}; it is full in {full}"), next);
        }
        if is_nearly_full {
            return Line::warn(self.check, detail, next);
        }
        Line::ok(self.check, detail)
    }
}

fn dead_line(ledger: &Ledger, limit: usize) -> Line {
    let trimmed = ledger.get(Counter::Trimmed);
    let mut detail = format!(
        "{} of {}",
        grouped(ledger.dead),
        grouped(queue::ledger::delta(limit))
    );
    if trimmed > 0 {
        let trimmed = grouped(trimmed);
        detail = format!("{detail}; {trimmed} more were trimmed or not kept");
        return Line::warn(
            DEAD,
            detail,
            "`rigline dlq list` (with --pipeline) shows why inputs can't be used; raise DEAD_LETTER_LIMIT and \
             DEAD_LETTER_BYTES to keep more",
        );
    }
    Line::ok(DEAD, detail)
}

fn ledger_line(ledger: &Ledger) -> Line {
    match trouble(ledger) {
        Some(trouble) => Line::bad(
            LEDGER,
            trouble,
            "`rigline ledger` shows all lines; find out which other program writes to the lists, or \
             whether the server lost data",
        ),
        None => Line::ok(LEDGER, verdict(ledger)),
    }
}

/// A rate, with a digit behind the point if it is small.
fn rounded(rate: f64) -> String {
    if rate < 10.0 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.0}")
    }
}

/// A number of seconds, in the two largest units.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and saturating"
)]
fn span(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use queue::ledger::{Counter, Ledger};
    use queue::settings::QueueLimits;

    use super::super::line::{Line, Status};
    use super::{lines, span};

    const LIMITS: QueueLimits = QueueLimits {
        batch: 5_000,
        queue_limit: 10_000,
        dead_letter_limit: 100,
        dead_letter_bytes: 1 << 20,
    };

    fn after_2_s(change: impl Fn(&mut Ledger)) -> Vec<Line> {
        let before = Ledger::default();
        let mut now = before.clone();
        change(&mut now);
        lines(&before, &now, 2.0, LIMITS)
    }

    #[test]
    fn rate_and_room_are_told() {
        let idle = after_2_s(|_| ());
        assert_eq!(idle[0].detail, "0 of 10,000, nothing arrives");
        let busy = after_2_s(|ledger| {
            ledger.set(Counter::Accepted, 120);
            ledger.set(Counter::RawTaken, 120);
            ledger.set(Counter::Samples, 120);
            ledger.set(Counter::Readings, 120);
            ledger.set(Counter::OpenReadings, 120);
        });
        assert_eq!(
            busy[0].detail,
            "0 of 10,000, 60 arrive a second: it holds 2 min without the transformer"
        );
        assert_eq!(busy[0].status, Status::Ok);
        assert_eq!(busy[3], Line::ok("ledger", "balanced"));
    }

    #[test]
    fn lists_that_grow_or_are_full_and_trimmed_letters_are_told_of() {
        let grows = after_2_s(|ledger| ledger.raw = 100);
        assert_eq!(grows[0].status, Status::Warn);
        assert!(
            grows[0].detail.ends_with("it is full in 3 min"),
            "{grows:?}"
        );
        let full = after_2_s(|ledger| ledger.normalized = 10_000);
        assert_eq!(full[1].status, Status::Bad);
        let trimmed = after_2_s(|ledger| ledger.set(Counter::Trimmed, 7));
        assert_eq!(trimmed[2].status, Status::Warn);
        assert_eq!(trimmed[3].status, Status::Bad, "no letter was counted");
    }

    #[test]
    fn spans_have_two_units() {
        for (seconds, text) in [
            (5.9, "5 s"),
            (61.0, "1 min"),
            (3_700.0, "1 h 1 min"),
            (90_000.0, "1 d 1 h"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
