//! Reads the values of fields.

use std::borrow::Cow;

use model::Value;
use model::dead_letter::{Reason, Rejection};
use model::pipeline::{FieldTable, Scalar, ValueKind};
use serde_json::Value as Json;

/// What a member holds.
#[derive(Debug, PartialEq)]
pub(super) enum Read {
    /// A value of its field.
    Value(Value),
    /// It means "no reading".
    Absent,
    /// It is of a type that isn't taken where fields aren't named.
    Skipped,
}

/// Reads a field's value. A field that `is_named`, by the pipeline or by the message, has to hold a value
/// of its type; other members may be anything.
pub(super) fn read(
    json: &Json,
    field: Option<&FieldTable>,
    missing: &[Scalar],
    is_named: bool,
) -> Result<Read, Rejection> {
    let kind = field.and_then(|field| field.kind.as_deref().copied());
    if json.is_null()
        || missing
            .iter()
            .any(|missing| is_missing(missing, json, kind))
    {
        return Ok(Read::Absent);
    }
    let value = match kind.unwrap_or_default() {
        ValueKind::String => string(json).map(Value::String),
        ValueKind::Bool => boolean(json, field).map(Value::Bool),
        ValueKind::Integer => integer(json, field)?.map(Value::Integer),
        ValueKind::Number if json.is_boolean() => None,
        ValueKind::Float | ValueKind::Number => {
            let number = number(json, field, is_named)?;
            number.map(Value::Float)
        }
    };
    match value {
        Some(value) => Ok(Read::Value(value)),
        None if is_named || kind.is_some() => {
            let kind = kind.unwrap_or_default();
            Err(bad(json, &format!("the value is no {}", name_of(kind))))
        }
        None => Ok(Read::Skipped),
    }
}

/// Whether a value of a message is this one.
pub(super) fn equals(scalar: &Scalar, json: &Json) -> bool {
    match scalar {
        Scalar::Bool(expected) => json.as_bool() == Some(*expected),
        // Exact, as both were read from the same digits.
        Scalar::Number(expected) => json
            .as_f64()
            .is_some_and(|n| n.to_bits() == expected.to_bits()),
        Scalar::String(expected) => json.as_str() == Some(expected),
    }
}

/// Whether a value means "no reading", where `missing` does. A number may be written as a string, unless the field
/// holds strings.
fn is_missing(missing: &Scalar, json: &Json, kind: Option<ValueKind>) -> bool {
    match (missing, json) {
        (Scalar::Number(expected), Json::String(text)) if kind != Some(ValueKind::String) => {
            text.trim().parse() == Ok(*expected)
        }
        _ => equals(missing, json),
    }
}

const fn name_of(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Float | ValueKind::Number => "number",
        ValueKind::Integer => "integer",
        ValueKind::Bool => "boolean",
        ValueKind::String => "string",
    }
}

fn string(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

fn boolean(json: &Json, field: Option<&FieldTable>) -> Option<bool> {
    match json {
        Json::Bool(value) => Some(*value),
        Json::String(text) => match mapped(text, field) {
            Some(number) => Some(number != 0.0),
            None => match text.trim() {
                "0" => Some(false),
                "1" => Some(true),
                text => text.to_ascii_lowercase().parse().ok(),
            },
        },
        Json::Number(number) => match number.as_f64() {
            Some(0.0) => Some(false),
            Some(1.0) => Some(true),
            _ => None,
        },
        _ => None,
    }
}

fn integer(json: &Json, field: Option<&FieldTable>) -> Result<Option<i64>, Rejection> {
    let is_scaled = field.is_some_and(|field| field.scale.is_some());
    // Not as a double, which has 53 bits.
    let exact = match json {
        Json::String(text) if mapped(text, field).is_none() => {
            digits(text, field).and_then(|digits| digits.parse().ok())
        }
        json => json.as_i64(),
    };
    if let Some(integer) = exact.filter(|_| !is_scaled) {
        #[expect(clippy::cast_precision_loss, reason = "a range has few digits")]
        check_range(integer as f64, json, field)?;
        return Ok(Some(integer));
    }
    let Some(number) = number(json, field, true)? else {
        return Ok(None);
    };
    // Both bounds are doubles; i64::MAX isn't.
    let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the number is whole and fits"
    )]
    Ok((fits && number.fract() == 0.0).then_some(number as i64))
}

/// A finite number after scale and range; `None` if it is of another type.
fn number(
    json: &Json,
    field: Option<&FieldTable>,
    is_named: bool,
) -> Result<Option<f64>, Rejection> {
    let number = match json {
        Json::Number(number) => number.as_f64(),
        Json::Bool(value) => Some(f64::from(u8::from(*value))),
        Json::String(text) => match mapped(text, field) {
            Some(number) => Some(number),
            None if is_named || field.is_some_and(takes_strings) => parsed(text, field),
            None => None,
        },
        _ => None,
    };
    let Some(number) = number.filter(|number| number.is_finite()) else {
        return Ok(None);
    };
    let scale = field.and_then(|field| field.scale.as_deref().copied());
    let number = scale.map_or(number, |scale| number * scale.0);
    if !number.is_finite() {
        return Err(bad(json, "the value isn't finite after its scale"));
    }
    check_range(number, json, field)?;
    // Negative zero becomes zero.
    Ok(Some(number + 0.0))
}

fn takes_strings(field: &FieldTable) -> bool {
    field.decimal_comma || field.strip_unit
}

fn mapped(text: &str, field: Option<&FieldTable>) -> Option<f64> {
    field?.map.get(text).map(|number| number.0)
}

/// The number that a string holds.
fn parsed(text: &str, field: Option<&FieldTable>) -> Option<f64> {
    digits(text, field)?.parse().ok()
}

/// The number in a string, as Rust writes it; `None` if it can't be one.
fn digits<'t>(text: &'t str, field: Option<&FieldTable>) -> Option<Cow<'t, str>> {
    let mut text = text.trim();
    if field.is_some_and(|field| field.strip_unit) {
        let unit;
        (text, unit) = text.split_at(end_of_number(text));
        // A time of day, or a ratio.
        if unit.trim_start().starts_with(':') {
            return None;
        }
    }
    if field.is_some_and(|field| field.decimal_comma) {
        return with_decimal_point(text).map(Cow::Owned);
    }
    Some(Cow::Borrowed(text))
}

/// The length of the number, with its exponent, that a string begins with.
fn end_of_number(text: &str) -> usize {
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | ',');
    let end = text.find(|c| !is_number(c)).unwrap_or(text.len());
    let Some(exponent) = text[end..].strip_prefix(['e', 'E']) else {
        return end;
    };
    let power = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let length = power
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(power.len());
    // Otherwise the unit begins with an E.
    if length == 0 {
        return end;
    }
    text.len() - power.len() + length
}

/// A number with a decimal comma and dots between thousands; `None` if the dots are elsewhere, as in 20.5.
fn with_decimal_point(text: &str) -> Option<String> {
    let (whole, rest) = text.split_once(',').unwrap_or((text, ""));
    let mut groups = whole.split('.');
    let first = groups.next()?.trim_start_matches(['+', '-']);
    let is_grouped = whole.contains('.');
    let is_group = |group: &str| group.len() == 3 && group.bytes().all(|b| b.is_ascii_digit());
    if is_grouped && (first.is_empty() || first.len() > 3 || !groups.all(is_group)) {
        return None;
    }
    let whole = whole.replace('.', "");
    Some(if rest.is_empty() {
        whole
    } else {
        format!("{whole}.{rest}")
    })
}

fn check_range(number: f64, json: &Json, field: Option<&FieldTable>) -> Result<(), Rejection> {
    let range = field.and_then(|field| field.range.as_deref());
    match range {
        Some([low, high]) if !(low.0..=high.0).contains(&number) => Err(Rejection::new(
            Reason::OutOfRange,
            format!(
                "{number} ({}) isn't within {} and {}",
                clipped(json),
                low.0,
                high.0
            ),
        )),
        _ => Ok(()),
    }
}

fn bad(json: &Json, what: &str) -> Rejection {
    Rejection::new(Reason::BadValue, format!("{what}: {}", clipped(json)))
}

/// The beginning of a value's JSON, for messages.
pub(super) fn clipped(json: &Json) -> String {
    let mut text = json.to_string();
    text.truncate(text.floor_char_boundary(80));
    text
}

#[cfg(test)]
mod tests {
    use model::Value;
    use model::dead_letter::Reason;
    use model::pipeline::PipelineFile;
    use serde_json::{Value as Json, json};

    use super::{Read, read};

    /// Reads a value of a field with these settings.
    fn of(settings: &str, json: &Json, is_named: bool) -> Result<Read, Reason> {
        let text = format!(
            "name = \"a\"\n[source]\ntopic = \"a\"\n[message]\nmissing = [\"off\", -99]\n[fields.x]\n{settings}"
        );
        let file = PipelineFile::parse("a.toml", &text, &|_| None);
        let file = file.map_err(|error| error.to_string()).unwrap();
        let field = file.fields.of("x");
        read(json, field, &file.message.missing, is_named).map_err(|rejection| rejection.reason)
    }

    #[test]
    fn values_are_read_as_their_field_says() {
        let float = |number| Ok(Read::Value(Value::Float(number)));
        let bad = || Err(Reason::BadValue);
        let cases = [
            ("", json!(2.5), float(2.5)),
            ("", json!(true), float(1.0)),
            ("", json!("2.5"), float(2.5)),
            ("", json!("x"), bad()),
            ("", json!("inf"), bad()),
            ("", json!([1]), bad()),
            ("", json!(null), Ok(Read::Absent)),
            ("", json!("off"), Ok(Read::Absent)),
            ("", json!(-99), Ok(Read::Absent)),
            ("map = { ON = 1, OFF = 0 }", json!("ON"), float(1.0)),
            ("map = { ON = 1, OFF = 0 }", json!("on"), bad()),
            ("scale = 0.5", json!(3), float(1.5)),
            ("scale = 1e300", json!(1e300), bad()),
            ("range = [-40, 85]", json!(86), Err(Reason::OutOfRange)),
            ("range = [-40, 85]\nscale = 0.1", json!(850), float(85.0)),
            (
                "type = \"integer\"",
                json!(9_007_199_254_740_993_i64),
                Ok(Read::Value(Value::Integer(9_007_199_254_740_993))),
            ),
            (
                "type = \"integer\"",
                json!("7"),
                Ok(Read::Value(Value::Integer(7))),
            ),
            ("type = \"integer\"", json!(7.5), bad()),
            (
                "type = \"integer\"\nrange = [0, 5]",
                json!(7),
                Err(Reason::OutOfRange),
            ),
            (
                "type = \"bool\"",
                json!(true),
                Ok(Read::Value(Value::Bool(true))),
            ),
            (
                "type = \"bool\"",
                json!("False"),
                Ok(Read::Value(Value::Bool(false))),
            ),
            ("type = \"bool\"", json!(2), bad()),
            ("type = \"number\"", json!(true), bad()),
            ("type = \"number\"", json!("2.5"), float(2.5)),
            (
                "type = \"string\"",
                json!("x"),
                Ok(Read::Value(Value::String("x".into()))),
            ),
            (
                "type = \"string\"",
                json!(1.5),
                Ok(Read::Value(Value::String("1.5".into()))),
            ),
            ("type = \"string\"", json!({}), bad()),
        ];
        for (settings, json, expected) in cases {
            assert_eq!(of(settings, &json, true), expected, "{settings} {json}");
        }
    }

    #[test]
    fn numbers_in_strings_are_read_with_units_and_commas() {
        let float = |number| Ok(Read::Value(Value::Float(number)));
        let bad = || Err(Reason::BadValue);
        let cases = [
            ("decimal_comma = true", json!("1.020,5"), float(1020.5)),
            ("strip_unit = true", json!("20.6 °C"), float(20.6)),
            (
                "strip_unit = true\ndecimal_comma = true",
                json!("20,6%"),
                float(20.6),
            ),
            ("strip_unit = true", json!("°C"), bad()),
            ("strip_unit = true", json!("1.5e3 W"), float(1500.0)),
            ("strip_unit = true", json!("1e-05V"), float(1e-5)),
            ("strip_unit = true", json!("3 eV"), float(3.0)),
            ("strip_unit = true", json!("3e"), float(3.0)),
            ("strip_unit = true", json!("12:30"), bad()),
            ("decimal_comma = true", json!("1.234"), float(1234.0)),
            (
                "decimal_comma = true",
                json!("-12.345.678,9"),
                float(-12_345_678.9),
            ),
            ("decimal_comma = true", json!("1,5e3"), float(1500.0)),
            ("decimal_comma = true", json!("20.5"), bad()),
            ("decimal_comma = true", json!("1234.567"), bad()),
            ("decimal_comma = true", json!("1,2,3"), bad()),
        ];
        for (settings, json, expected) in cases {
            assert_eq!(of(settings, &json, true), expected, "{settings} {json}");
        }
    }

    #[test]
    fn strings_are_read_as_what_they_hold() {
        let cases = [
            ("", json!("-99"), Ok(Read::Absent)),
            ("", json!(" -99.0"), Ok(Read::Absent)),
            (
                "type = \"string\"",
                json!("-99"),
                Ok(Read::Value(Value::String("-99".into()))),
            ),
            (
                "type = \"integer\"",
                json!("9007199254740993"),
                Ok(Read::Value(Value::Integer(9_007_199_254_740_993))),
            ),
            (
                "type = \"integer\"\nstrip_unit = true",
                json!("-9223372036854775808 ns"),
                Ok(Read::Value(Value::Integer(i64::MIN))),
            ),
            (
                "type = \"integer\"\nmap = { \"1\" = 0 }",
                json!("1"),
                Ok(Read::Value(Value::Integer(0))),
            ),
            (
                "type = \"integer\"\nscale = 2",
                json!("7"),
                Ok(Read::Value(Value::Integer(14))),
            ),
            (
                "type = \"bool\"",
                json!("1"),
                Ok(Read::Value(Value::Bool(true))),
            ),
        ];
        for (settings, json, expected) in cases {
            assert_eq!(of(settings, &json, true), expected, "{settings} {json}");
        }
    }

    #[test]
    fn members_that_nothing_names_are_skipped_unless_they_are_numbers() {
        for (settings, json, expected) in [
            ("", json!("2.5"), Ok(Read::Skipped)),
            ("", json!({"a": 1}), Ok(Read::Skipped)),
            ("", json!(false), Ok(Read::Value(Value::Float(0.0)))),
            (
                "strip_unit = true",
                json!("2 V"),
                Ok(Read::Value(Value::Float(2.0))),
            ),
            (
                "map = { ON = 1 }",
                json!("ON"),
                Ok(Read::Value(Value::Float(1.0))),
            ),
            (
                "type = \"string\"",
                json!("x"),
                Ok(Read::Value(Value::String("x".into()))),
            ),
            ("type = \"float\"", json!("x"), Err(Reason::BadValue)),
        ] {
            assert_eq!(of(settings, &json, false), expected, "{settings} {json}");
        }
    }
}
