//! Elements of the pipeline `rigs`.

use super::Rest;
use crate::name::Name;
use crate::reading::Reading;
use crate::row::Row;
use crate::sample::Value;

/// The reading of an element; `None` if it isn't written in this form, or is invalid.
pub(in crate::element) fn decode_reading(element: &[u8]) -> Option<Reading<'_>> {
    let mut rest = Rest(str::from_utf8(element).ok()?);
    rest.skip("{\"rig_id\":")?;
    let rig_id = Name::strict(rest.string()?).ok()?;
    rest.skip(",\"sensor\":")?;
    let sensor = Name::sensor(rest.string()?).ok()?;
    rest.skip(",\"timestamp\":")?;
    let timestamp = rest.time()?;
    rest.skip(",\"value\":")?;
    let value = rest.float()?;
    rest.skip(",\"ingest_time\":")?;
    let ingest_time = rest.time()?;
    (rest.0 == "}").then_some(Reading {
        rig_id,
        sensor,
        timestamp,
        value,
        ingest_time,
    })
}

/// The row of an element; `None` if it isn't written in this form, or is invalid.
pub(in crate::element) fn decode_row(element: &[u8]) -> Option<Row<'_>> {
    let mut rest = Rest(str::from_utf8(element).ok()?);
    rest.skip("{\"rig_id\":")?;
    let rig_id = Name::strict(rest.string()?).ok()?;
    rest.skip(",\"timestamp\":")?;
    let mut row = Row::of_rig(rig_id, rest.time()?);
    while rest.skip(",").is_some() {
        let name = Name::sensor(rest.string()?).ok()?;
        if row.fields.iter().any(|(other, _)| *other == name) {
            return None;
        }
        rest.skip(":")?;
        row.fields.push((name, Value::Float(rest.float()?)));
    }
    (rest.0 == "}" && !row.fields.is_empty()).then_some(row)
}
