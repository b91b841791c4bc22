//! The ledger: counters that change in the same commit as the data.

/// Defines the counters once: their order, names and number.
macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)+) => {
        /// A counter of the ledger; each has one writer.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Counter { $($(#[$doc])* $variant,)+ }

        impl Counter {
            /// All counters.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The name in the ledger.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

counters! {
    /// Readings that the ingester appended.
    Accepted => "accepted",
    /// Readings that a replay of dead letters appended.
    RawReplayed => "raw_replayed",
    /// Elements that the transformer took.
    RawTaken => "raw_taken",
    /// Dead letters of the ingester.
    DeadIngester => "dead_ingester",
    /// Dead letters of the transformer.
    DeadTransformer => "dead_transformer",
    /// Dead letters of the sink.
    DeadSink => "dead_sink",
    /// Elements that the transformer took and could use.
    Samples => "samples",
    /// Readings in these elements.
    Readings => "readings",
    /// Readings of a cell taken before, equal in time and value.
    Repeated => "repeated",
    /// Readings of a cell taken before, different in time or value.
    Superseded => "superseded",
    /// Readings behind their rig's window; `in_rows` includes them.
    Late => "late",
    /// Readings in rows that were emitted.
    InRows => "in_rows",
    /// Readings in rows that are open; goes up and down.
    OpenReadings => "open_readings",
    /// Rows that the transformer emitted.
    RowsOut => "rows_out",
    /// Rows that a replay of dead letters appended.
    RowsReplayed => "rows_replayed",
    /// Elements that the sink took.
    RowsTaken => "rows_taken",
    /// Rows written to the store.
    RowsStored => "rows_stored",
    /// Dead letters trimmed to keep the list within its limits.
    Trimmed => "trimmed",
    /// Dead letters that an operator discarded.
    Discarded => "discarded",
}

/// The counters and the lists' lengths at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    counts: [i64; Counter::ALL.len()],
    /// Elements in the raw list.
    pub raw: i64,
    /// Elements in the normalized list.
    pub normalized: i64,
    /// Elements in the list of dead letters.
    pub dead: i64,
}

/// One line of the ledger: two sides that must be equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The equation.
    pub text: &'static str,
    /// The left side.
    pub left: i64,
    /// The right side.
    pub right: i64,
}

impl Ledger {
    /// A counter's value.
    #[must_use]
    pub const fn get(&self, counter: Counter) -> i64 {
        self.counts[counter as usize]
    }

    /// Sets a counter.
    pub const fn set(&mut self, counter: Counter, value: i64) {
        self.counts[counter as usize] = value;
    }

    /// Sets the counter of this name. Returns false if there is none.
    pub fn set_named(&mut self, name: &[u8], value: i64) -> bool {
        let found = Counter::ALL
            .into_iter()
            .find(|counter| counter.name().as_bytes() == name);
        if let Some(counter) = found {
            self.set(counter, value);
        }
        found.is_some()
    }

    /// Sets the counters that a ledger of version 0.1 lacks: there each element held one reading. They are
    /// added to the ledger when the next lease is taken.
    pub const fn convert(&mut self) {
        if self.get(Counter::Samples) == 0 && self.get(Counter::Readings) == 0 {
            let samples = self.get(Counter::RawTaken) - self.get(Counter::DeadTransformer);
            self.set(Counter::Samples, samples);
            self.set(Counter::Readings, samples);
        }
    }

    /// Elements that external producers pushed to the raw list. A negative number of elements vanished.
    #[must_use]
    pub const fn raw_foreign(&self) -> i64 {
        self.get(Counter::RawTaken) + self.raw
            - self.get(Counter::Accepted)
            - self.get(Counter::RawReplayed)
    }

    /// Elements that external producers pushed to the normalized list. A negative number of elements
    /// vanished.
    #[must_use]
    pub const fn rows_foreign(&self) -> i64 {
        self.get(Counter::RowsTaken) + self.normalized
            - self.get(Counter::RowsOut)
            - self.get(Counter::RowsReplayed)
    }

    /// The six lines that hold in every state.
    #[must_use]
    pub fn lines(&self) -> [Line; 6] {
        let sum = |counters: &[Counter]| counters.iter().map(|counter| self.get(*counter)).sum();
        let sum = |counters: &[Counter]| -> i64 { sum(counters) };
        [
            Line {
                text: "accepted + raw_replayed + raw_foreign = raw_taken + length(raw)",
                left: sum(&[Counter::Accepted, Counter::RawReplayed]) + self.raw_foreign(),
                right: self.get(Counter::RawTaken) + self.raw,
            },
            Line {
                text: "raw_taken = dead_transformer + samples",
                left: self.get(Counter::RawTaken),
                right: sum(&[Counter::DeadTransformer, Counter::Samples]),
            },
            Line {
                text: "readings = repeated + superseded + in_rows + open_readings",
                left: self.get(Counter::Readings),
                right: sum(&[
                    Counter::Repeated,
                    Counter::Superseded,
                    Counter::InRows,
                    Counter::OpenReadings,
                ]),
            },
            Line {
                text: "rows_out + rows_replayed + rows_foreign = rows_taken + length(normalized)",
                left: sum(&[Counter::RowsOut, Counter::RowsReplayed]) + self.rows_foreign(),
                right: self.get(Counter::RowsTaken) + self.normalized,
            },
            Line {
                text: "rows_taken = rows_stored + dead_sink",
                left: self.get(Counter::RowsTaken),
                right: sum(&[Counter::RowsStored, Counter::DeadSink]),
            },
            Line {
                text: "dead_ingester + dead_transformer + dead_sink = length(dead) + trimmed + discarded",
                left: sum(&[
                    Counter::DeadIngester,
                    Counter::DeadTransformer,
                    Counter::DeadSink,
                ]),
                right: self.dead + sum(&[Counter::Trimmed, Counter::Discarded]),
            },
        ]
    }

    /// Whether each line holds and no element vanished.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.broken_line().is_none() && self.raw_foreign() >= 0 && self.rows_foreign() >= 0
    }

    /// The first line that doesn't hold, if any.
    #[must_use]
    pub fn broken_line(&self) -> Option<Line> {
        self.lines()
            .into_iter()
            .find(|line| line.left != line.right)
    }
}

/// A number of elements or bytes as a signed number, for counters and SQL.
#[must_use]
pub const fn delta(count: usize) -> i64 {
    // No collection holds more than `isize::MAX` elements.
    count.cast_signed() as i64
}

#[cfg(test)]
mod tests {
    use super::{Counter, Ledger};

    #[test]
    fn broken_line_is_returned() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.broken_line(), None);
        for (counter, value) in [
            (Counter::Accepted, 10),
            (Counter::RawTaken, 8),
            (Counter::Samples, 8),
            (Counter::Readings, 8),
            (Counter::Repeated, 1),
            (Counter::InRows, 5),
            (Counter::OpenReadings, 2),
            (Counter::RowsOut, 1),
        ] {
            ledger.set(counter, value);
        }
        (ledger.raw, ledger.normalized) = (2, 1);
        assert_eq!(ledger.broken_line(), None);
        ledger.set(Counter::Repeated, 2);
        assert_eq!(
            ledger.broken_line().map(|line| (line.left, line.right)),
            Some((8, 9))
        );
    }

    #[test]
    fn foreign_elements_are_the_difference_to_the_counters() {
        let mut ledger = Ledger {
            raw: 3,
            normalized: 1,
            ..Ledger::default()
        };
        ledger.set(Counter::Accepted, 1);
        ledger.set(Counter::RowsOut, 2);
        assert_eq!((ledger.raw_foreign(), ledger.rows_foreign()), (2, -1));
        assert_eq!(ledger.broken_line(), None);
    }

    #[test]
    fn counters_are_found_by_name() {
        let mut ledger = Ledger::default();
        for (value, counter) in Counter::ALL.into_iter().enumerate() {
            let value = i64::try_from(value).unwrap() + 1;
            assert!(ledger.set_named(counter.name().as_bytes(), value));
            assert_eq!(ledger.get(counter), value);
        }
        assert!(!ledger.set_named(b"unheard_of", 1));
    }
}
