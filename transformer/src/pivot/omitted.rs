//! Examples of readings that a row didn't take, or that came late, for the log.

use std::time::Duration;

use model::Timestamp;

/// Examples since the last call of [`super::Pivot::take_examples`].
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
    /// The rig's name.
    pub rig: String,
    /// The sensor's name.
    pub sensor: String,
    /// The row's tick.
    pub tick: Timestamp,
    /// How many readings were superseded.
    pub readings: u64,
    /// The shortest time from one of the cell's readings to the next, as far as both times are known.
    pub gap: Option<Duration>,
    /// The time of the last of them.
    last: Timestamp,
}

/// A reading behind its rig's window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateExample {
    /// The rig's name.
    pub rig: String,
    /// The sensor's name.
    pub sensor: String,
    /// The reading's time.
    pub time: Timestamp,
    /// The rig's newest tick.
    pub newest: Timestamp,
}

impl Examples {
    /// Records a superseded reading: the first one makes the example, further ones of the same cell are
    /// counted. `first` is the time of the reading that the cell took, if it is still known.
    pub(super) fn superseded(
        &mut self,
        rig: &str,
        sensor: &str,
        tick: Timestamp,
        first: Option<Timestamp>,
        time: Timestamp,
    ) {
        match &mut self.superseded {
            None => {
                self.superseded = Some(SupersededExample {
                    rig: rig.to_owned(),
                    sensor: sensor.to_owned(),
                    tick,
                    readings: 1,
                    gap: first.map(|first| time.distance(first)),
                    last: time,
                });
            }
            Some(example)
                if example.tick == tick && example.rig == rig && example.sensor == sensor =>
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
