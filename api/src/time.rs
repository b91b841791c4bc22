//! Times in requests.

use std::time::Duration;

use model::time::TimeError;
use model::{Timestamp, units};
use utoipa::openapi::schema::{AnyOfBuilder, Object, ObjectBuilder, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema, SchemaFormat};

/// Numbers from here on are milliseconds: as seconds they would be in the year 5138.
const FIRST_MILLISECONDS: u64 = 100_000_000_000;
const FORMS: &str = "RFC 3339 with an offset (2026-01-31T08:00:00Z), seconds or milliseconds since 1970, now, or \
                     relative to now (-1h, -90s, +10m)";

/// The schema of a time in a query.
pub(crate) fn schema() -> RefOr<Schema> {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let date = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    let other = text().pattern(Some("^(now|[+-][0-9]{1,6}(ms|s|m|h)|[0-9]{1,12})$"));
    let any = AnyOfBuilder::new()
        .item(Object::from(date))
        .item(Object::from(other));
    RefOr::T(Schema::AnyOf(any.build()))
}

/// Reads a time. The error says what is accepted.
pub(crate) fn parse(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let refused = || format!("{text:?} isn't a time: {FORMS}");
    if text == "now" {
        return Ok(now);
    }
    // A plus sign in a query is a space unless it is escaped.
    let (sign, rest) = match text.strip_prefix(['+', ' ']) {
        Some(rest) => (Some(1), rest),
        None => match text.strip_prefix('-') {
            Some(rest) => (Some(-1), rest),
            None => (None, text),
        },
    };
    if let Some(sign) = sign {
        // A number without a unit is a time before 1970.
        if rest.ends_with(|c: char| c.is_ascii_digit()) {
            return epoch(rest, sign).ok_or_else(refused);
        }
        let by: Duration = units::duration(rest).map_err(|_| refused())?;
        return Ok(if sign < 0 {
            now.minus(by)
        } else {
            now.plus(by)
        });
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return epoch(text, 1).ok_or_else(refused);
    }
    // In a query, the plus sign of an offset arrives as a space.
    let spaced = text.replacen(' ', "+", 1);
    let time = Timestamp::parse(text).or_else(|error| match error {
        TimeError::Syntax => Timestamp::parse(&spaced),
        // All rows are after it, or before it.
        TimeError::BeforeRange => Ok(Timestamp::from_nanos(i64::MIN)),
        TimeError::AfterRange => Ok(Timestamp::from_nanos(i64::MAX)),
    });
    time.map_err(|_| refused())
}

/// Seconds or milliseconds since 1970, by their size.
fn epoch(digits: &str, sign: i64) -> Option<Timestamp> {
    let number: u64 = digits.parse().ok()?;
    let scale = if number < FIRST_MILLISECONDS {
        1_000_000_000
    } else {
        1_000_000
    };
    let nanos = i64::try_from(number).ok()?.checked_mul(scale)?;
    Some(Timestamp::from_nanos(nanos.checked_mul(sign)?))
}

#[cfg(test)]
mod tests {
    use super::parse;
    use model::Timestamp;

    #[test]
    fn times_have_several_forms() {
        let now = Timestamp::parse("2026-01-31T08:00:00Z").unwrap();
        for (text, expected) in [
            ("now", "2026-01-31T08:00:00Z"),
            ("-1h", "2026-01-31T07:00:00Z"),
            ("-90s", "2026-01-31T07:58:30Z"),
            ("+10m", "2026-01-31T08:10:00Z"),
            (" 10m", "2026-01-31T08:10:00Z"),
            ("2026-01-31T08:00:00.25Z", "2026-01-31T08:00:00.250Z"),
            ("2026-01-31T08:00:00+01:00", "2026-01-31T07:00:00Z"),
            ("2026-01-31T08:00:00 01:00", "2026-01-31T07:00:00Z"),
            ("1762093293", "2025-11-02T14:21:33Z"),
            ("1762093293512", "2025-11-02T14:21:33.512Z"),
            ("0", "1970-01-01T00:00:00Z"),
            ("-1", "1969-12-31T23:59:59Z"),
            ("0001-01-01T00:00:00Z", "1677-09-21T00:12:43.145224192Z"),
        ] {
            let expected = Timestamp::parse(expected).unwrap();
            assert_eq!(parse(text, now), Ok(expected), "{text}");
        }
        for text in [
            "",
            "-",
            "yesterday",
            "-1y",
            "2026-01-31T08:00:00",
            "1e9",
            "99999999999999999999",
        ] {
            let error = parse(text, now).unwrap_err();
            assert!(error.contains("RFC 3339"), "{text}: {error}");
        }
    }
}
