//! What the store has, read back.

use std::collections::BTreeMap;

use serde_json::Value;
use testkit::VictoriaMetrics;

/// Rig, milliseconds since 1970, sensor: one cell of one row.
pub type Cell = (String, i64, String);

/// For each cell every value that was ever written to it; more than one distinct value is wrong.
pub type Rows = BTreeMap<Cell, Vec<f64>>;

/// Reads everything in the measurement `rig_measurements`.
#[must_use]
pub fn read_back(victoria: &VictoriaMetrics) -> Rows {
    let _ = victoria.get("/internal/force_flush");
    let body = victoria.get(
        "/api/v1/export?match%5B%5D=%7B__name__%3D~%22rig_measurements_.%2A%22%7D\
         &reduce_mem_usage=1&start=0",
    );
    let mut rows = Rows::new();
    for line in body.lines() {
        let series: Value = serde_json::from_str(line).expect("a line of JSON");
        let text = |name: &str| {
            series["metric"][name]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let sensor = text("__name__")
            .trim_start_matches("rig_measurements_")
            .to_owned();
        let array = |name: &str| series[name].as_array().cloned().unwrap_or_default();
        for (time, value) in array("timestamps").iter().zip(array("values")) {
            let time = time.as_i64().expect("milliseconds");
            let cell = (text("rig_id"), time, sensor.clone());
            rows.entry(cell)
                .or_default()
                .push(value.as_f64().expect("a number"));
        }
    }
    rows
}
