use std::time::Duration;

use proptest::prelude::*;

use super::{TimeError, Timestamp};

#[test]
fn reads_rfc3339_and_writes_it_in_utc() {
    for (given, written) in [
        ("2025-11-02T14:21:33.512Z", "2025-11-02T14:21:33.512Z"),
        ("2025-11-02T14:21:33Z", "2025-11-02T14:21:33Z"),
        ("2025-11-02T14:21:33.500000Z", "2025-11-02T14:21:33.500Z"),
        ("2025-11-02T14:21:33.000001Z", "2025-11-02T14:21:33.000001Z"),
        (
            "2025-11-02T14:21:33.123456789Z",
            "2025-11-02T14:21:33.123456789Z",
        ),
        ("2025-11-02T16:21:33.512+02:00", "2025-11-02T14:21:33.512Z"),
        ("2025-11-02T00:21:33-05:30", "2025-11-02T05:51:33Z"),
        ("2025-11-02T15:21:33+0100", "2025-11-02T14:21:33Z"),
        ("2025-11-02T08:51:33.5-0530", "2025-11-02T14:21:33.500Z"),
        ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
    ] {
        assert_eq!(
            Timestamp::parse(given).unwrap().to_string(),
            written,
            "{given}"
        );
    }
}

#[test]
fn strings_and_numbers_that_are_no_time_are_errors() {
    for (given, error) in [
        ("", TimeError::Syntax),
        ("yesterday", TimeError::Syntax),
        ("2025-11-02T14:21:33", TimeError::Syntax),
        ("2025-11-02", TimeError::Syntax),
        ("2025-11-02T14:21:33+01", TimeError::Syntax),
        ("2025-11-02T14:21:33+010", TimeError::Syntax),
        ("2025-11-02T14:21:33+01x0", TimeError::Syntax),
        ("é+0100", TimeError::Syntax),
        ("+0100", TimeError::Syntax),
        ("2025-13-02T14:21:33Z", TimeError::Syntax),
        ("2025-02-30T14:21:33Z", TimeError::Syntax),
        ("1762093293", TimeError::Syntax),
        ("0001-01-01T00:00:00Z", TimeError::BeforeRange),
        ("9999-12-31T23:59:59Z", TimeError::AfterRange),
    ] {
        assert_eq!(Timestamp::parse(given), Err(error), "{given}");
    }
}

#[test]
fn numbers_are_seconds_milliseconds_microseconds_or_nanoseconds() {
    for (given, written) in [
        ("1762093293", "2025-11-02T14:21:33Z"),
        ("1762093293.512", "2025-11-02T14:21:33.512Z"),
        ("1762093293.512345", "2025-11-02T14:21:33.512345Z"),
        ("1.762093293e9", "2025-11-02T14:21:33Z"),
        ("1762093293512", "2025-11-02T14:21:33.512Z"),
        ("1762093293512.25", "2025-11-02T14:21:33.512250Z"),
        ("1762093293512345", "2025-11-02T14:21:33.512345Z"),
        ("1762093293512345678", "2025-11-02T14:21:33.512345678Z"),
        ("1.762093293512e15", "2025-11-02T14:21:33.512Z"),
        ("0", "1970-01-01T00:00:00Z"),
        ("-1.5", "1969-12-31T23:59:58.500Z"),
        ("1e11", "1973-03-03T09:46:40Z"),
        ("100000000000", "1973-03-03T09:46:40Z"),
        ("100000000000000", "1973-03-03T09:46:40Z"),
        ("100000000000000000", "1973-03-03T09:46:40Z"),
    ] {
        let read = Timestamp::parse_number(given);
        assert_eq!(read.unwrap().to_string(), written, "{given}");
    }
    for (given, error) in [
        ("99999999999", TimeError::AfterRange),
        ("-1e300", TimeError::BeforeRange),
        ("-99999999999", TimeError::BeforeRange),
        ("1e300", TimeError::AfterRange),
        ("99999999999999999999", TimeError::AfterRange),
        ("1e999", TimeError::Syntax),
        ("NaN", TimeError::Syntax),
        ("", TimeError::Syntax),
    ] {
        assert_eq!(Timestamp::parse_number(given), Err(error), "{given}");
    }
}

#[test]
fn ticks_round_down_on_both_sides_of_1970() {
    let second = Duration::from_secs(1);
    for (ms, tick) in [(1_999, 1_000), (2_000, 2_000), (-1, -1_000), (0, 0)] {
        assert_eq!(
            Timestamp::from_millis(ms).tick(second),
            Timestamp::from_millis(tick)
        );
    }
    let exact = Timestamp::from_nanos(123_456_789);
    assert_eq!(exact.tick(Duration::ZERO), exact);
}

proptest! {
    #[test]
    fn written_times_are_read_back(ns in any::<i64>()) {
        let time = Timestamp::from_nanos(ns);
        prop_assert_eq!(Timestamp::parse(&time.to_string()), Ok(time));
    }

    #[test]
    fn any_string_is_a_time_or_an_error(text in ".{0,40}") {
        let _ = Timestamp::parse(&text);
    }
}

proptest! {
    #[test]
    fn times_in_utc_are_read_as_the_general_parser_reads_them(
        text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,10})?Z?",
    ) {
        if let Some(time) = Timestamp::parse_utc(text.as_bytes()) {
            let parsed = chrono::DateTime::parse_from_rfc3339(&text).unwrap();
            prop_assert_eq!(Some(time.nanos()), parsed.timestamp_nanos_opt());
        }
    }
}
