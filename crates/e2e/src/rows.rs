//! What the store has, read back.

use std::collections::BTreeMap;

use testkit::InfluxDb;
use testkit::influxdb::{BUCKET, Point};

/// The measurement that the sink writes to.
const MEASUREMENT: &str = "rig_measurements";

/// Rig, milliseconds since 1970, sensor: one cell of one row.
pub type Cell = (String, i64, String);

/// For each cell every value that was ever written to it; more than one distinct value is wrong.
pub type Rows = BTreeMap<Cell, Vec<f64>>;

/// Reads everything in the measurement `rig_measurements`: what was written from the server's log, and
/// what a query returns, which has to be among it.
#[must_use]
pub fn read_back(server: &InfluxDb) -> Rows {
    let mut rows = Rows::new();
    for point in server.written(MEASUREMENT) {
        let value = point.value;
        rows.entry(cell(point)).or_default().push(value);
    }
    let points = server.points(BUCKET);
    assert_eq!(points.len(), rows.len(), "cells that a query returns");
    for point in points {
        let value = point.value;
        let cell = cell(point);
        let written = rows.get(&cell).map_or(&[][..], Vec::as_slice);
        let is_written = written.iter().any(|w| w.to_bits() == value.to_bits());
        assert!(is_written, "{cell:?} is {value}, of {written:?}");
    }
    rows
}

fn cell(mut point: Point) -> Cell {
    let rig = point.tags.remove("rig_id").unwrap_or_default();
    (rig, point.nanos / 1_000_000, point.field)
}
