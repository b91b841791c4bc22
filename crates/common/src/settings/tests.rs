use std::time::Duration;

use super::{bytes, count, duration, positive_duration, written};

#[test]
fn durations_are_written_as_they_are_given() {
    for text in ["29d", "20000d", "36h", "90m", "61s", "250ms", "0ms"] {
        assert_eq!(written(duration(text).unwrap()), text);
    }
}

#[test]
fn durations_have_units_or_are_seconds() {
    for (given, want) in [
        ("5s", Duration::from_secs(5)),
        ("5", Duration::from_secs(5)),
        ("0", Duration::ZERO),
        ("0.5", Duration::from_millis(500)),
        ("250ms", Duration::from_millis(250)),
        ("10m", Duration::from_mins(10)),
        ("1h", Duration::from_hours(1)),
        ("29d", Duration::from_hours(29 * 24)),
    ] {
        assert_eq!(duration(given), Ok(want), "{given}");
    }
    for bad in [
        "",
        "s",
        "5 weeks",
        "-1",
        "1e3",
        "five",
        "5S",
        "inf",
        "nan",
        "9999999999999d",
    ] {
        assert!(duration(bad).is_err(), "{bad}");
    }
    assert!(positive_duration("0ms").is_err());
}

#[test]
fn sizes_have_binary_units_or_are_bytes() {
    for (given, want) in [
        ("64KiB", 65_536),
        ("256MiB", 268_435_456),
        ("1GiB", 1 << 30),
        ("7", 7),
    ] {
        assert_eq!(bytes(given), Ok(want), "{given}");
    }
    for bad in [
        "",
        "0",
        "64kb",
        "-1",
        "1.5MiB",
        "99999999999999999999",
        "99999999999999GiB",
    ] {
        assert!(bytes(bad).is_err(), "{bad}");
    }
}

#[test]
fn counts_are_above_zero() {
    assert_eq!(count("5000"), Ok(5_000));
    for bad in ["0", "-1", "1.5", "", "many"] {
        assert!(count(bad).is_err(), "{bad}");
    }
}
