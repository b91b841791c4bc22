//! Reads all rows from InfluxDB.

use std::collections::BTreeMap;

use testkit::InfluxDb;
use testkit::influxdb::{BUCKET, Point};

/// The measurement that the sink writes to.
const MEASUREMENT: &str = "rig_measurements";

/// A cell of a row: rig, milliseconds since 1970, sensor.
pub type Cell = (String, i64, String);

/// All values that were ever written to each cell; more than one distinct value is an error.
pub type Rows = BTreeMap<Cell, Vec<f64>>;

/// Reads the measurement `rig_measurements`: all writes from the server's log, which have to contain
/// everything that a query returns.
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
