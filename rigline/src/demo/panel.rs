//! The form of the summary: a panel on a terminal, plain lines elsewhere.

use std::time::Duration;

use queue::ledger::{Counter, Ledger};

use crate::inspect::ledger::{omitted, trouble};
use crate::inspect::output::grouped;

/// Width of the panel, in columns.
const WIDTH: usize = 80;

/// The figures of a second.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Time since the start.
    pub(super) elapsed: Duration,
    /// Readings taken per second, over the last seconds.
    pub(super) rate: i64,
    /// Counters and lengths.
    pub(super) ledger: Ledger,
    /// Delay from a reading's arrival until its row is stored: median and 99th percentile.
    pub(super) delays: Option<(Duration, Duration)>,
}

impl Seen {
    fn shown_delays(&self) -> (String, String) {
        match self.delays {
            Some((median, p99)) => (seconds(median), seconds(p99)),
            None => ("-".to_owned(), "-".to_owned()),
        }
    }

    /// The summary as a line, for a file or a pipe.
    pub(super) fn plain(&self) -> String {
        let of = |counter| self.ledger.get(counter);
        let (median, p99) = self.shown_delays();
        format!(
            "{}s readings/s={} accepted={} rows={} repeated={} superseded={} late={} dead={} \
             open={} raw={} normalized={} p50={median} p99={p99} ledger={}",
            self.elapsed.as_secs(),
            self.rate,
            of(Counter::Accepted),
            of(Counter::RowsStored),
            of(Counter::Repeated),
            of(Counter::Superseded),
            of(Counter::Late),
            self.ledger.dead,
            of(Counter::OpenReadings),
            self.ledger.raw,
            self.ledger.normalized,
            trouble(&self.ledger).as_deref().unwrap_or("balanced"),
        )
    }

    /// The lines of the panel, each of at most 80 columns. The last one says what is wrong, or omitted.
    pub(super) fn panel(&self) -> Vec<String> {
        let of = |counter| grouped(self.ledger.get(counter));
        let (median, p99) = self.shown_delays();
        let line = |cells: [(&str, String); 3]| {
            let [left, middle, right] = cells.map(|(name, value)| format!("{name:<12}{value:>11}"));
            format!(" {left}   {middle}   {right}")
        };
        let trouble = trouble(&self.ledger);
        let account = trouble.as_ref().map_or("balanced", |_| "OFF");
        let whole = self.elapsed.as_secs();
        let (hours, minutes, rest) = (whole / 3_600, whole / 60 % 60, whole % 60);
        let mut lines = vec![
            "─".repeat(WIDTH),
            line([
                ("readings/s", grouped(self.rate)),
                ("rows stored", of(Counter::RowsStored)),
                ("stored p50", median),
            ]),
            line([
                ("accepted", of(Counter::Accepted)),
                ("repeated", of(Counter::Repeated)),
                ("stored p99", p99),
            ]),
            line([
                ("in rows", of(Counter::InRows)),
                ("superseded", of(Counter::Superseded)),
                ("raw list", grouped(self.ledger.raw)),
            ]),
            line([
                ("open", of(Counter::OpenReadings)),
                ("late", of(Counter::Late)),
                ("row list", grouped(self.ledger.normalized)),
            ]),
            line([
                ("running", format!("{hours:02}:{minutes:02}:{rest:02}")),
                ("dead letters", grouped(self.ledger.dead)),
                ("ledger", account.to_owned()),
            ]),
        ];
        if let Some(notice) = trouble.or_else(|| omitted(&self.ledger)) {
            let said = format!(" {notice}");
            lines.push(said.chars().take(WIDTH).collect());
        }
        lines.push("─".repeat(WIDTH));
        lines
    }
}

fn seconds(delay: Duration) -> String {
    format!("{:.3}s", delay.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use queue::ledger::{Counter, Ledger};

    use super::{Seen, WIDTH};

    fn seen(accepted: i64) -> Seen {
        let mut ledger = Ledger::default();
        for counter in Counter::ALL {
            ledger.set(counter, accepted);
        }
        Seen {
            elapsed: Duration::from_secs(3_723),
            rate: 1_234_567,
            ledger,
            delays: Some((Duration::from_millis(420), Duration::from_millis(12_345))),
        }
    }

    #[test]
    fn the_panel_fits_its_width() {
        for accepted in [0, 7, 1_234_567_890] {
            for line in seen(accepted).panel() {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
        }
        let panel = seen(0).panel().join("\n");
        assert!(
            panel.contains("balanced") && panel.contains("01:02:03"),
            "{panel}"
        );
        assert!(seen(7).panel().join("\n").contains("OFF"));
        let mut late = seen(0);
        late.ledger.set(Counter::DeadIngester, 3);
        late.ledger.dead = 3;
        let panel = late.panel().join("\n");
        assert!(
            panel.contains(" 3 readings omitted: 3 dead letters"),
            "{panel}"
        );
    }

    #[test]
    fn a_plain_line_names_everything() {
        let plain = seen(0).plain();
        for part in [
            "3723s ",
            "readings/s=1234567 ",
            "p50=0.420s ",
            "p99=12.345s ",
            "ledger=balanced",
        ] {
            assert!(plain.contains(part), "{plain}");
        }
    }
}
