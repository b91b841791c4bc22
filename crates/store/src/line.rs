//! Rows as `InfluxDB` line protocol.
//!
//! <https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/>: one line a row,
//! `measurement,tag=value float=1.0,integer=2i,boolean=true,string="text" nanoseconds`. A string may have
//! line ends in it.
//!
//! What the documentation leaves open was tried on InfluxDB 2.8, and the tests try it again.

use model::row::Row;
use model::sample::Value;

use crate::influx::Measurement;

#[cfg(test)]
mod tests;

/// Initial capacity for a line, in bytes. Six sensors need about 130.
const USUAL_LINE: usize = 160;

/// The longest string that the server stores, in bytes.
const MAX_STRING: usize = 1 << 20;

/// Tags that the server refuses, or that make every Flux query of the bucket fail.
const RESERVED_TAGS: [&str; 7] = [
    "time",
    "_time",
    "_field",
    "_measurement",
    "_value",
    "_start",
    "_stop",
];

/// A field that the server drops without a word, unless the row has no other.
const RESERVED_FIELD: &str = "time";

/// Why a row can't be written as a line.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum LineError {
    /// A tag or field without a name, or a tag without a value.
    #[error("a tag or field has an empty name or value")]
    Empty,
    /// A control character: a line end would end the line, and the server skips leading white space.
    #[error("{0:?} has a control character, which line protocol can't carry")]
    Control(String),
    /// A backslash in a place where the server's parsers take it for an escape, or don't agree.
    #[error(
        "{0:?} has a backslash where line protocol can't carry one: at the end, before a space, or in the \
         name of a field before a comma or an equals sign"
    )]
    Backslash(String),
    /// A tag's name that the server needs for itself.
    #[error("a tag can't be named {0:?} in InfluxDB")]
    ReservedTag(String),
    /// A field's name that the server needs for itself.
    #[error("a field can't be named {0:?} in InfluxDB")]
    ReservedField(String),
    /// The row has no fields.
    #[error("there is no field in it")]
    NoField,
    /// A value is NaN or infinite.
    #[error("{0:?} is {1}, which is no number that can be stored")]
    NotFinite(String, f64),
    /// A string is too long.
    #[error("{0:?} is a string of {1} bytes, InfluxDB stores at most {MAX_STRING}")]
    LongString(String, usize),
}

/// Encodes rows. Returns the index of the first row that can't be encoded.
pub(crate) fn encode(
    measurement: &Measurement,
    rows: &[Row<'_>],
) -> Result<Vec<u8>, (usize, LineError)> {
    let mut lines = Vec::with_capacity(rows.len() * USUAL_LINE);
    for (index, row) in rows.iter().enumerate() {
        encode_row(measurement, row, &mut lines).map_err(|error| (index, error))?;
    }
    Ok(lines)
}

/// Appends the line of a row. After an error, `out` ends with a part of it.
fn encode_row(
    measurement: &Measurement,
    row: &Row<'_>,
    out: &mut Vec<u8>,
) -> Result<(), LineError> {
    let tags = row.tags.iter().map(|(name, value)| (&**name, &**value));
    let fields = row.fields.iter().map(|(name, value)| (&**name, value));
    out.extend_from_slice(measurement.escaped());
    encode_line(tags, fields, row.timestamp.nanos(), out)
}

/// Appends what follows the measurement. The names may be any strings: the escapes don't rely on the rules
/// of [`model::Name`].
fn encode_line<'a>(
    tags: impl Iterator<Item = (&'a str, &'a str)>,
    fields: impl Iterator<Item = (&'a str, &'a Value)>,
    nanos: i64,
    out: &mut Vec<u8>,
) -> Result<(), LineError> {
    for (name, value) in tags {
        if RESERVED_TAGS.contains(&name) {
            return Err(LineError::ReservedTag(name.to_owned()));
        }
        out.push(b',');
        push_name(name, Part::Tag, out)?;
        out.push(b'=');
        push_name(value, Part::Tag, out)?;
    }
    let mut before = b' ';
    for (name, value) in fields {
        if name == RESERVED_FIELD {
            return Err(LineError::ReservedField(name.to_owned()));
        }
        out.push(before);
        push_name(name, Part::Field, out)?;
        out.push(b'=');
        push_value(name, value, out)?;
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

/// What a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A tag's name or value.
    Tag,
    /// A field's name.
    Field,
}

fn push_name(name: &str, part: Part, out: &mut Vec<u8>) -> Result<(), LineError> {
    if name.is_empty() {
        return Err(LineError::Empty);
    }
    let mut escapes = false;
    for byte in name.bytes() {
        match byte {
            b',' | b'=' | b' ' | b'\\' => escapes = true,
            0x00..=0x1f | 0x7f => return Err(LineError::Control(name.to_owned())),
            _ => {}
        }
    }
    if escapes {
        return push_escaped(name, part, out);
    }
    out.extend_from_slice(name.as_bytes());
    Ok(())
}

/// Appends a name with backslashes before what separates the parts of a line.
///
/// A backslash of the name itself isn't escaped: the server takes it as it is. But where it splits a body
/// into lines and a line into fields, it skips every backslash together with the byte after it. So an odd
/// number of them before a separator would hide the backslash that escapes the separator. That is
/// harmless before the commas and equals signs of tags, which the server looks at in another way.
fn push_escaped(name: &str, part: Part, out: &mut Vec<u8>) -> Result<(), LineError> {
    let mut backslashes = 0;
    for byte in name.bytes() {
        let is_escaped = match byte {
            b' ' | b',' | b'=' => {
                let is_hidden = backslashes % 2 == 1;
                if is_hidden && (part == Part::Field || byte == b' ') {
                    return Err(LineError::Backslash(name.to_owned()));
                }
                true
            }
            // In the names of fields, the server reads a backslash before a quotation mark as an escape.
            b'"' => backslashes > 0 && part == Part::Field,
            _ => false,
        };
        if is_escaped {
            out.push(b'\\');
        }
        out.push(byte);
        backslashes = if byte == b'\\' { backslashes + 1 } else { 0 };
    }
    // It would escape the separator that follows.
    if backslashes > 0 {
        return Err(LineError::Backslash(name.to_owned()));
    }
    Ok(())
}

fn push_value(name: &str, value: &Value, out: &mut Vec<u8>) -> Result<(), LineError> {
    match value {
        Value::Float(value) if !value.is_finite() => {
            return Err(LineError::NotFinite(name.to_owned(), *value));
        }
        Value::Float(value) => {
            let mut digits = zmij::Buffer::new();
            out.extend_from_slice(digits.format_finite(*value).as_bytes());
        }
        Value::Integer(value) => {
            let mut digits = itoa::Buffer::new();
            out.extend_from_slice(digits.format(*value).as_bytes());
            out.push(b'i');
        }
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::String(text) if text.len() > MAX_STRING => {
            return Err(LineError::LongString(name.to_owned(), text.len()));
        }
        // The server stores an empty string as it is, and InfluxQL reads it. Flux shows the strings of its series
        // at wrong times: https://github.com/influxdata/influxdb/issues/26916
        Value::String(text) => push_string(text, out),
    }
    Ok(())
}

fn push_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}
