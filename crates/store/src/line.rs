//! Rows as `InfluxDB` line protocol.
//!
//! <https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/>: one line a row,
//! `measurement,tag=value field=1.0,field=2.0 nanoseconds`. All numbers are floats, because a
//! field keeps the type that it was first written with.

use model::row::Row;

#[cfg(test)]
mod tests;

const MEASUREMENT: &[u8] = b"rig_measurements";

/// Initial capacity for a line, in bytes. Six sensors need about 130.
const USUAL_LINE: usize = 160;

/// Why a row can't be written as a line.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum LineError {
    /// A tag or field without a name, or a tag without a value.
    #[error("a tag or field has an empty name or value")]
    Empty,
    /// The protocol has no unambiguous form for it: a backslash before an escaped character, a line end,
    /// or leading white space.
    #[error("{0:?} has a backslash or a control character, which line protocol can't carry")]
    Unwritable(String),
    /// The row has no fields.
    #[error("there is no field in it")]
    NoField,
    /// A value is NaN or infinite.
    #[error("{0:?} is {1}, which is no number that can be stored")]
    NotFinite(String, f64),
}

/// Encodes rows. Returns the index of the first row that can't be encoded.
pub(crate) fn encode(rows: &[Row<'_>]) -> Result<Vec<u8>, (usize, LineError)> {
    let mut lines = Vec::with_capacity(rows.len() * USUAL_LINE);
    for (index, row) in rows.iter().enumerate() {
        encode_row(row, &mut lines).map_err(|error| (index, error))?;
    }
    Ok(lines)
}

/// Appends the line of a row. After an error, `out` ends with a part of it.
fn encode_row(row: &Row<'_>, out: &mut Vec<u8>) -> Result<(), LineError> {
    let tags = row.tags.iter().map(|(name, value)| (&**name, &**value));
    let fields = row.fields.iter().map(|(name, value)| (&**name, *value));
    encode_line(tags, fields, row.timestamp.nanos(), out)
}

/// Like [`encode_row`], but for any names: the escapes don't rely on the rules of [`model::Name`].
fn encode_line<'a>(
    tags: impl Iterator<Item = (&'a str, &'a str)>,
    fields: impl Iterator<Item = (&'a str, f64)>,
    nanos: i64,
    out: &mut Vec<u8>,
) -> Result<(), LineError> {
    out.extend_from_slice(MEASUREMENT);
    for (name, value) in tags {
        out.push(b',');
        push_name(name, out)?;
        out.push(b'=');
        push_name(value, out)?;
    }
    let mut before = b' ';
    for (name, value) in fields {
        out.push(before);
        push_name(name, out)?;
        out.push(b'=');
        if !value.is_finite() {
            return Err(LineError::NotFinite(name.to_owned(), value));
        }
        let mut digits = zmij::Buffer::new();
        out.extend_from_slice(digits.format_finite(value).as_bytes());
        before = b',';
    }
    if before == b' ' {
        return Err(LineError::NoField);
    }
    out.push(b' ');
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(digits.format(nanos).as_bytes());
    out.push(b'\n');
    Ok(())
}

/// Appends a tag's name or value, or a field's name. All are escaped in the same way.
fn push_name(name: &str, out: &mut Vec<u8>) -> Result<(), LineError> {
    if name.is_empty() {
        return Err(LineError::Empty);
    }
    let mut escapes = false;
    for byte in name.bytes() {
        match byte {
            b',' | b'=' | b' ' => escapes = true,
            b'\\' | 0x00..=0x1f | 0x7f => return Err(LineError::Unwritable(name.to_owned())),
            _ => {}
        }
    }
    if !escapes {
        out.extend_from_slice(name.as_bytes());
        return Ok(());
    }
    for byte in name.bytes() {
        if matches!(byte, b',' | b'=' | b' ') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    Ok(())
}
