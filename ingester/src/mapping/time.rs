//! Reads the times of messages.

use chrono::format::{ParseResult, Parsed, StrftimeItems, parse};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use model::Timestamp;
use model::dead_letter::{Reason, Rejection};
use model::pipeline::{TimeFormat, Zone};
use model::time::TimeError;
use serde_json::{Number, Value as Json};

use super::value::clipped;

/// How a time is written where no zone is given.
const LOCAL_FORMS: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];

/// Reads a time. `zone` is for times that are written without one.
pub(super) fn read(json: &Json, format: &TimeFormat, zone: Zone) -> Result<Timestamp, Rejection> {
    let unit = match format {
        TimeFormat::Auto => {
            return auto(json, zone).map_err(|error| match error {
                TimeError::Syntax => unreadable(json),
                error => rejected(json, error),
            });
        }
        TimeFormat::Rfc3339 => {
            let time = json
                .as_str()
                .ok_or(TimeError::Syntax)
                .and_then(Timestamp::parse);
            return time.map_err(|error| rejected(json, error));
        }
        TimeFormat::Pattern(pattern) => return with_pattern(json, pattern, zone),
        TimeFormat::UnixS => 1_000_000_000,
        TimeFormat::UnixMs => 1_000_000,
        TimeFormat::UnixUs => 1_000,
        TimeFormat::UnixNs => 1,
    };
    let number = match json {
        Json::Number(number) => Ok(number.clone()),
        Json::String(text) => text.trim().parse::<Number>().map_err(|_| TimeError::Syntax),
        _ => Err(TimeError::Syntax),
    };
    number
        .and_then(|number| in_units(&number, unit))
        .map_err(|error| rejected(json, error))
}

/// Reads RFC 3339, a local time, or a number whose size tells its unit.
pub(super) fn auto(json: &Json, zone: Zone) -> Result<Timestamp, TimeError> {
    match json {
        Json::Number(number) => Timestamp::parse_number(&number.to_string()),
        Json::String(text) => {
            let text = text.trim();
            match Timestamp::parse(text) {
                Err(TimeError::Syntax) => {}
                parsed => return parsed,
            }
            if let Ok(number) = text.parse::<Number>() {
                return Timestamp::parse_number(&number.to_string());
            }
            let local = LOCAL_FORMS
                .iter()
                .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
            local
                .and_then(|local| zone.instant(local))
                .ok_or(TimeError::Syntax)
        }
        _ => Err(TimeError::Syntax),
    }
}

/// `number` units of `unit` nanoseconds since 1970.
fn in_units(number: &Number, unit: i64) -> Result<Timestamp, TimeError> {
    let out_of_range = |is_negative| {
        if is_negative {
            TimeError::BeforeRange
        } else {
            TimeError::AfterRange
        }
    };
    if let Some(integer) = number.as_i64() {
        let nanos = integer.checked_mul(unit);
        return nanos
            .map(Timestamp::from_nanos)
            .ok_or_else(|| out_of_range(integer < 0));
    }
    let number = number.as_f64().ok_or(TimeError::Syntax)?;
    // A double has the precision of microseconds today.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "the cast saturates, and then fails"
    )]
    let micros = (number * (unit as f64) / 1e3).round() as i64;
    let nanos = micros.checked_mul(1_000);
    nanos
        .map(Timestamp::from_nanos)
        .ok_or_else(|| out_of_range(number < 0.0))
}

fn with_pattern(json: &Json, pattern: &str, zone: Zone) -> Result<Timestamp, Rejection> {
    let bad = |what: &str| {
        let detail = format!("the time {} {what} {pattern:?}", clipped(json));
        Rejection::new(Reason::BadTimestamp, detail)
    };
    let text = json
        .as_str()
        .ok_or_else(|| bad("is no string of the form"))?;
    let mut parsed = Parsed::new();
    parse(&mut parsed, text.trim(), StrftimeItems::new(pattern))
        .and_then(|()| complete(&mut parsed))
        .map_err(|_| bad("isn't of the form"))?;
    if let Ok(time) = parsed.to_datetime() {
        let nanos = DateTime::timestamp_nanos_opt(&time);
        let nanos = nanos.ok_or_else(|| bad("is out of range, of the form"))?;
        return Ok(Timestamp::from_nanos(nanos));
    }
    let date: NaiveDate = parsed
        .to_naive_date()
        .map_err(|_| bad("has no whole date, of the form"))?;
    let time = parsed
        .to_naive_time()
        .map_err(|_| bad("has no whole time of day, of the form"))?;
    zone.instant(date.and_time(time))
        .ok_or_else(|| bad("doesn't exist in its time zone, of the form"))
}

/// A time without hours is midnight, and one without minutes is the full hour.
fn complete(parsed: &mut Parsed) -> ParseResult<()> {
    let hour = (parsed.hour_div_12(), parsed.hour_mod_12());
    match (hour, parsed.minute(), parsed.timestamp()) {
        ((None, None), None, None) => parsed.set_hour(0)?,
        ((Some(_), Some(_)), None, None) => {}
        _ => return Ok(()),
    }
    parsed.set_minute(0)
}

/// The rejection of what is in none of the forms that [`auto`] reads.
fn unreadable(json: &Json) -> Rejection {
    let detail = format!(
        "the time {} is neither one like 2026-01-05T08:00:00Z, with a zone or in the pipeline's, nor a number since 1970",
        clipped(json)
    );
    Rejection::new(Reason::BadTimestamp, detail)
}

fn rejected(json: &Json, error: TimeError) -> Rejection {
    let reason = match error {
        TimeError::Syntax => Reason::BadTimestamp,
        TimeError::BeforeRange => Reason::Past,
        TimeError::AfterRange => Reason::Future,
    };
    Rejection::new(reason, format!("the time {} is {error}", clipped(json)))
}

#[cfg(test)]
mod tests {
    use model::dead_letter::Reason;
    use serde_json::{Value as Json, json};

    use super::read;

    fn of(json: &Json, format: &str, zone: &str) -> Result<String, Reason> {
        let time = read(json, &format.parse().unwrap(), zone.parse().unwrap());
        time.map(|time| time.to_string())
            .map_err(|rejection| rejection.reason)
    }

    #[test]
    fn times_are_read_as_the_pipeline_says() {
        let bad = Err(Reason::BadTimestamp);
        let noon = Ok("2026-07-01T10:00:00Z");
        let cases = [
            (json!("2026-07-01T12:00:00+02:00"), "auto", noon),
            (json!("2026-07-01T12:00:00"), "auto", noon),
            (json!("2026-07-01 12:00:00"), "auto", noon),
            (json!(1_782_900_000), "auto", noon),
            (json!("1782900000000"), "auto", noon),
            (json!("soon"), "auto", bad),
            (json!(true), "auto", bad),
            (json!("2026-07-01T12:00:00"), "rfc3339", bad),
            (json!(1_782_900_000), "rfc3339", bad),
            (json!(1_782_900_000), "unix_s", noon),
            (
                json!(1_782_900_000.25),
                "unix_s",
                Ok("2026-07-01T10:00:00.250Z"),
            ),
            (json!(1_782_900_000_000_i64), "unix_ms", noon),
            (json!("1782900000000000"), "unix_us", noon),
            (json!(1_782_900_000_000_000_000_i64), "unix_ns", noon),
            (json!(7), "unix_s", Ok("1970-01-01T00:00:07Z")),
            (json!(1e30), "unix_s", Err(Reason::Future)),
            (json!("01.07.2026 12:00"), "%d.%m.%Y %H:%M", noon),
            (json!("01.07.2026 12:00 +0200"), "%d.%m.%Y %H:%M %z", noon),
            (json!("01.07.2026"), "%d.%m.%Y", Ok("2026-06-30T22:00:00Z")),
            (
                json!("01.07.2026 +0300"),
                "%d.%m.%Y %z",
                Ok("2026-06-30T21:00:00Z"),
            ),
            (json!("2026-07-01 12"), "%Y-%m-%d %H", noon),
            (json!("2026-07-01 13 +03"), "%Y-%m-%d %H %#z", noon),
            (json!("07/01/2026 12:00 PM"), "%m/%d/%Y %I:%M %p", noon),
            (json!("07/01/2026 12 PM"), "%m/%d/%Y %I %p", noon),
            (json!("07/01/2026 00:30"), "%m/%d/%Y 00:%M", bad),
            (json!("1782900000"), "%s", noon),
            (json!("2026-07-01"), "%d.%m.%Y", bad),
            (json!("12:00"), "%H:%M", bad),
            (json!("29.03.2026 02:30"), "%d.%m.%Y %H:%M", bad),
        ];
        for (json, format, expected) in cases {
            let expected = expected.map(str::to_owned);
            assert_eq!(
                of(&json, format, "Europe/Berlin"),
                expected,
                "{json} {format}"
            );
        }
    }
}
