//! Examples of readings that a row didn't take, or that came late, for the log.

use std::time::Duration;

use model::Timestamp;

/// Examples since the last call of [`crate::shape::Shape::take_examples`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examples {
    /// A cell with superseded readings.
    pub superseded: Option<SupersededExample>,
    /// A late reading.
    pub late: Option<LateExample>,
}

/// A cell that got more readings than the one it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupersededExample {
    /// The key of its series.
    pub series: String,
    /// The field's name.
    pub field: String,
    /// The row's tick.
    pub tick: Timestamp,
    /// How many readings were superseded.
    pub readings: u64,
    /// The shortest time from one of the cell's readings to the next, as far as both times are known.
    pub gap: Option<Duration>,
    /// The time of the last of them.
    last: Timestamp,
}

/// A reading behind its series' window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateExample {
    /// The key of its series.
    pub series: String,
    /// The field's name.
    pub field: String,
    /// The reading's time.
    pub time: Timestamp,
    /// The series' newest tick.
    pub newest: Timestamp,
}

impl Examples {
    /// Records a superseded reading: the first one makes the example, further ones of the same cell are
    /// counted. `first` is the time of the reading that the cell took, if it is still known.
    pub(crate) fn superseded(
        &mut self,
        series: &str,
        field: &str,
        tick: Timestamp,
        first: Option<Timestamp>,
        time: Timestamp,
    ) {
        match &mut self.superseded {
            None => {
                self.superseded = Some(SupersededExample {
                    series: series.to_owned(),
                    field: field.to_owned(),
                    tick,
                    readings: 1,
                    gap: first.map(|first| time.distance(first)),
                    last: time,
                });
            }
            Some(example)
                if example.tick == tick && example.series == series && example.field == field =>
            {
                let gap = time.distance(example.last);
                example.readings += 1;
                example.gap = Some(example.gap.map_or(gap, |known| known.min(gap)));
                example.last = time;
            }
            Some(_) => {}
        }
    }
}
