//! Messages that are determined by a few small numbers, so that millions of them fit into memory and each
//! stored value can be traced to its message.

use std::fmt;
use std::time::Duration;

use model::time::Timestamp;

/// Sensors of a complete row.
pub const SENSORS: [&str; 6] = [
    "temp_inlet",
    "temp_outlet",
    "pressure",
    "flow_rate",
    "voltage",
    "current",
];
/// Time from one row of a rig to its next: `ALIGN` of the stages.
pub const STEP: Duration = Duration::from_millis(100);
/// A payload that isn't valid.
pub const GARBLED: &str = "{\"value\":";

/// A sensor's value in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// The rig's number.
    pub rig: u16,
    /// The row, counted in [`STEP`]s from the first.
    pub row: u32,
    /// The index in [`SENSORS`].
    pub sensor: u8,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sensor = SENSORS[usize::from(self.sensor)];
        write!(f, "RIG-{:04} row {} {sensor}", self.rig, self.row)
    }
}

/// The kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A reading; a repetition is identical.
    Reading,
    /// A reading of the same cell with another value.
    Contradiction,
    /// An invalid payload.
    Garbled,
}

/// A message about a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// The cell.
    pub cell: Cell,
    /// The kind.
    pub kind: Kind,
}

/// The first row's time, by which cells and times are converted.
#[derive(Debug, Clone, Copy)]
pub struct Epoch(pub Timestamp);

impl Epoch {
    /// The time of a row.
    #[must_use]
    pub fn time(self, row: u32) -> Timestamp {
        self.0.plus(STEP * row)
    }

    /// The cell of a rig's sensor at a time; `None` if no message can have it.
    #[must_use]
    pub fn cell(self, rig_id: &str, time: Timestamp, sensor: &str) -> Option<Cell> {
        let since = time.nanos().checked_sub(self.0.nanos())?;
        let step = i64::try_from(STEP.as_nanos()).ok()?;
        if since % step != 0 {
            return None;
        }
        Some(Cell {
            rig: rig_id.strip_prefix("RIG-")?.parse().ok()?,
            row: u32::try_from(since / step).ok()?,
            sensor: u8::try_from(SENSORS.iter().position(|name| *name == sensor)?).ok()?,
        })
    }
}

impl Message {
    /// The topic.
    #[must_use]
    pub fn topic(&self) -> String {
        let sensor = SENSORS[usize::from(self.cell.sensor)];
        model::topic::format(&rig_id(self.cell.rig), sensor)
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self, epoch: Epoch) -> String {
        if self.kind == Kind::Garbled {
            return GARBLED.to_owned();
        }
        let (time, value) = (epoch.time(self.cell.row), self.value());
        format!("{{\"timestamp\":\"{time}\",\"value\":{value}}}")
    }

    /// The value, with few digits: the store keeps about fifteen.
    #[must_use]
    pub fn value(&self) -> f64 {
        let Cell { rig, row, sensor } = self.cell;
        let backend = row % 10_000 * 10_000 + u32::from(rig) % 1_000 * 10 + u32::from(sensor);
        let other = if self.kind == Kind::Contradiction {
            0.000_5
        } else {
            0.0
        };
        f64::from(backend) / 1_000.0 + other
    }
}

/// A rig's name.
#[must_use]
pub fn rig_id(rig: u16) -> String {
    format!("RIG-{rig:04}")
}
