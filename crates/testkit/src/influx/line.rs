//! Line protocol as a server reads it, written from the protocol's description and from the
//! messages of a server 2.9.1. Numbers only: no strings, no booleans; every line needs a time.

use std::collections::BTreeMap;

/// The latest time that can be stored; negated, the earliest.
const LIMIT: i64 = i64::MAX - 1;

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// Written without a suffix.
    Float(f64),
    /// Written with the suffix `i`.
    Integer(i64),
}

/// What names a point: points of equal key are merged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The measurement.
    pub measurement: String,
    /// Tag names with their values.
    pub tags: BTreeMap<String, String>,
    /// Nanoseconds since 1970.
    pub nanos: i64,
}

/// The point that a line means.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// What names it.
    pub key: Key,
    /// Field names with their values, in the line's order.
    pub fields: Vec<(String, Value)>,
}

/// Reads one line without its end; `unit` is how many nanoseconds a timestamp counts.
pub fn parse_line(line: &str, unit: i64) -> Result<Point, String> {
    let mut rest = line;
    let measurement = take(&mut rest, ", ");
    if measurement.is_empty() {
        return Err("missing measurement".into());
    }
    let mut tags = BTreeMap::new();
    while let Some(after) = rest.strip_prefix(',') {
        rest = after;
        let (name, value) = tag(&mut rest)?;
        if matches!(name.as_str(), "time" | "_field" | "_measurement") {
            return Err(format!("input tag {name:?} is reserved"));
        }
        if tags.insert(name, value).is_some() {
            return Err("duplicate tags".into());
        }
    }
    rest = rest.strip_prefix(' ').ok_or("missing fields")?;
    // The server skips these before a field's name, so they can't be the start of one.
    rest = rest.trim_start_matches([' ', '\t', '\0']);
    let mut fields = vec![field(&mut rest)?];
    while let Some(after) = rest.strip_prefix(',') {
        rest = after;
        fields.push(field(&mut rest)?);
    }
    let nanos = nanos(rest, unit)?;
    let key = Key {
        measurement,
        tags,
        nanos,
    };
    Ok(Point { key, fields })
}

/// Takes a name up to one of `stops` that isn't escaped, and takes the escapes out of it.
fn take(rest: &mut &str, stops: &str) -> String {
    let mut name = String::new();
    let mut chars = rest.char_indices().peekable();
    let mut end = rest.len();
    while let Some((at, c)) = chars.next() {
        let escaped = chars.peek().map(|(_, next)| *next);
        match escaped {
            Some(next) if c == '\\' && ",= ".contains(next) => {
                name.push(next);
                chars.next();
            }
            _ if stops.contains(c) => {
                end = at;
                break;
            }
            _ => name.push(c),
        }
    }
    *rest = &rest[end..];
    name
}

fn tag(rest: &mut &str) -> Result<(String, String), String> {
    let name = take(rest, ",= ");
    if name.is_empty() {
        return Err("missing tag key".into());
    }
    *rest = rest.strip_prefix('=').ok_or("missing tag value")?;
    let value = take(rest, ",= ");
    if value.is_empty() {
        return Err("missing tag value".into());
    }
    if rest.starts_with('=') {
        return Err("invalid tag format".into());
    }
    Ok((name, value))
}

fn field(rest: &mut &str) -> Result<(String, Value), String> {
    let name = take(rest, ",= ");
    *rest = rest.strip_prefix('=').ok_or("invalid field format")?;
    if name.is_empty() {
        return Err("missing field key".into());
    }
    let end = rest.find([',', ' ']).unwrap_or(rest.len());
    let (text, after) = rest.split_at(end);
    *rest = after;
    Ok((name, number(text)?))
}

fn number(text: &str) -> Result<Value, String> {
    let Some(first) = text.chars().next() else {
        return Err("missing field value".into());
    };
    if !first.is_ascii_digit() && !".-Nn".contains(first) {
        return Err("invalid boolean".into());
    }
    if let Some(digits) = text.strip_suffix('i') {
        return match digits.parse() {
            Ok(integer) => Ok(Value::Integer(integer)),
            Err(error) => Err(format!("unable to parse integer {digits}: {error}")),
        };
    }
    let plain = |c: char| c.is_ascii_digit() || ".eE+-".contains(c);
    match text.parse::<f64>() {
        Ok(float) if text.chars().all(plain) && float.is_finite() => Ok(Value::Float(float)),
        Ok(_) if text.chars().all(plain) => Err("invalid float".into()),
        _ => Err("invalid number".into()),
    }
}

fn nanos(text: &str, unit: i64) -> Result<i64, String> {
    let text = text.trim_start_matches(' ').trim_end_matches(' ');
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("bad timestamp".into());
    }
    text.parse::<i64>()
        .ok()
        .and_then(|count| count.checked_mul(unit))
        .filter(|nanos| (-LIMIT..=LIMIT).contains(nanos))
        .ok_or_else(|| format!("time outside range -{LIMIT} - {LIMIT}"))
}
