#![expect(clippy::panic, clippy::float_cmp, reason = "tests")]

use std::time::Duration;

use common::settings::TimeLimitSettings;
use model::dead_letter::Reason;
use model::time::Timestamp;
use proptest::prelude::*;

use super::{Decoded, decode};
use crate::settings::ReadingLimits;

const TOPIC: &str = "rigs/RIG-1/measurements/pressure";
const LIMITS: ReadingLimits = ReadingLimits {
    times: TimeLimitSettings {
        max_future: Duration::from_mins(1),
        max_age: Duration::from_hours(29 * 24),
    },
    max_payload: 65_536,
};

fn now() -> Timestamp {
    Timestamp::parse("2025-11-02T14:21:40Z").unwrap()
}

fn fault(topic: &str, payload: impl AsRef<[u8]>) -> Reason {
    match decode(topic, payload.as_ref(), now(), &LIMITS) {
        Err(fault) => fault.reason,
        Ok(decoded) => panic!("{decoded:?}"),
    }
}

fn good(payload: &str) -> (String, f64) {
    match decode(TOPIC, payload.as_bytes(), now(), &LIMITS) {
        Ok(Decoded { reading, .. }) => (reading.timestamp.to_string(), reading.value),
        Err(fault) => panic!("{payload}: {fault:?}"),
    }
}

#[test]
fn reading_is_decoded_from_topic_and_payload() {
    let payload = br#"{"timestamp": "2025-11-02T14:21:33.512Z", "value": 78.2}"#;
    let reading = decode(TOPIC, payload, now(), &LIMITS).unwrap().reading;
    assert_eq!((&*reading.rig_id, &*reading.sensor), ("RIG-1", "pressure"));
    assert_eq!(reading.timestamp.to_string(), "2025-11-02T14:21:33.512Z");
    assert_eq!((reading.value, reading.ingest_time), (78.2, now()));
}

#[test]
fn timestamps_have_several_forms() {
    for (timestamp, want) in [
        (r#""2025-11-02T14:21:33.512Z""#, "2025-11-02T14:21:33.512Z"),
        (
            r#""2025-11-02T15:21:33.5+01:00""#,
            "2025-11-02T14:21:33.500Z",
        ),
        ("1762093293", "2025-11-02T14:21:33Z"),
        ("1762093293.512", "2025-11-02T14:21:33.512Z"),
        ("1762093293512", "2025-11-02T14:21:33.512Z"),
        ("1762093293512345", "2025-11-02T14:21:33.512345Z"),
        ("1762093293512345678", "2025-11-02T14:21:33.512345678Z"),
        (r#""2025-11-02T15:21:33+0100""#, "2025-11-02T14:21:33Z"),
        ("1.762093293e9", "2025-11-02T14:21:33Z"),
        ("null", "2025-11-02T14:21:40Z"),
    ] {
        let payload = format!(r#"{{"timestamp":{timestamp},"value":1}}"#);
        assert_eq!(good(&payload).0, want, "{timestamp}");
    }
    assert_eq!(good(r#"{"value":1}"#).0, "2025-11-02T14:21:40Z");
}

#[test]
fn other_members_hold_the_time_unless_it_is_no_date() {
    let date = "2025-11-02T14:21:33Z";
    let arrival = "2025-11-02T14:21:40Z";
    for (members, want, ignored) in [
        (r#""ts":1762093293"#, date, false),
        (r#""time":"2025-11-02T14:21:33Z""#, date, false),
        (r#""Time":"2025-11-02T15:21:33+0100""#, date, false),
        (r#""DateTime":1762093293000"#, date, false),
        (r#""time":null,"ts":1762093293000"#, date, false),
        (r#""timestamp":1762093293,"ts":1762093200"#, date, false),
        (r#""timestamp":null,"ts":1762093293"#, date, false),
        // The seconds since the device was switched on, and times without a date.
        (r#""ts":86400"#, arrival, true),
        (r#""time":"14:21""#, arrival, true),
        (r#""ts":true,"time":{}"#, arrival, true),
        (
            r#""time":86400,"datetime":"2025-11-02T14:21:33Z""#,
            date,
            true,
        ),
        (r#""Timestamp":1762093293"#, date, false),
        (r#""Timestamp":12"#, arrival, true),
        (r#""uptime":1762093293"#, arrival, false),
    ] {
        let payload = format!(r#"{{{members},"value":1}}"#);
        let decoded = decode(TOPIC, payload.as_bytes(), now(), &LIMITS).unwrap();
        let found = decoded.reading.timestamp.to_string();
        assert_eq!(
            (&*found, decoded.has_ignored_time),
            (want, ignored),
            "{members}"
        );
    }
    for (members, reason) in [
        (r#""ts":"2025-01-01T00:00:00Z""#, Reason::Past),
        (r#""ts":1893456000"#, Reason::Future),
        (r#""time":"9999-01-01T00:00:00Z""#, Reason::Future),
        (r#""ts":1762093293,"TS":1762093293"#, Reason::NotJson),
    ] {
        let payload = format!(r#"{{{members},"value":1}}"#);
        assert_eq!(fault(TOPIC, payload), reason, "{members}");
    }
}

#[test]
fn not_a_number_is_named() {
    for (value, word) in [("nan", "nan"), (" NaN ", "NaN"), ("-Infinity", "-Infinity")] {
        let payload = format!(r#"{{"x":"a:b","value":{value}}}"#);
        let rejection = decode(TOPIC, payload.as_bytes(), now(), &LIMITS).unwrap_err();
        assert_eq!(rejection.reason, Reason::NotJson);
        let detail = format!("{word} is no JSON: a reading without a value is null, or isn't sent");
        assert_eq!(rejection.detail, detail);
    }
    let other = decode(TOPIC, br#"{"value":x,"y":"nan"}"#, now(), &LIMITS).unwrap_err();
    assert!(other.detail.contains("column"), "{}", other.detail);
}

#[test]
fn values_are_finite_numbers_or_strings_of_them() {
    for (value, want) in [
        ("78", 78.0),
        ("-0", 0.0),
        ("1e-400", 0.0),
        ("5e-324", 5e-324),
        ("1.7976931348623157e308", f64::MAX),
        ("9007199254740993", 9_007_199_254_740_992.0),
        (r#""78.2""#, 78.2),
        (r#"" -7.5e1 ""#, -75.0),
        (r#""\u0037""#, 7.0),
    ] {
        assert_eq!(
            good(&format!(r#"{{"value":{value}}}"#)).1.to_bits(),
            want.to_bits(),
            "{value}"
        );
    }
    for bad in [
        "true",
        "[]",
        "{}",
        r#""""#,
        r#""warm""#,
        r#""NaN""#,
        r#""-inf""#,
        "1e309",
        r#""1e999""#,
    ] {
        assert_eq!(
            fault(TOPIC, format!(r#"{{"value":{bad}}}"#)),
            Reason::BadValue,
            "{bad}"
        );
    }
    let digits = "9".repeat(5_000);
    assert_eq!(
        fault(TOPIC, format!(r#"{{"value":{digits}}}"#)),
        Reason::BadValue
    );
    for missing in [r#"{"value":null}"#, "{}", r#"{"timestamp":1762093293}"#] {
        assert_eq!(fault(TOPIC, missing), Reason::MissingValue, "{missing}");
    }
}

#[test]
fn invalid_json_and_json_without_an_object_have_their_own_reasons() {
    for bad in [
        "null",
        "true",
        "42",
        r#""x""#,
        "[]",
        "[{}]",
        r#"["2025-11-02T14:21:33Z",1.5]"#,
    ] {
        assert_eq!(fault(TOPIC, bad), Reason::NotObject, "{bad}");
    }
    for bad in [
        "",
        " \n",
        "{",
        r#"{"value":1"#,
        r#"{"value":1}}"#,
        r#"{"value":1,}"#,
        r#"{"value":1} {"value":1}"#,
        r#"{"value":1,"value":2}"#,
        "{value:1}",
        r#"{"value":NaN}"#,
        r#"{"value":01}"#,
        r#"{"value":+1}"#,
        r#"{"value":.5}"#,
        "\u{feff}{\"value\":1}",
        "rig_measurements,rig_id=R pressure=1",
        "<html></html>",
    ] {
        assert_eq!(fault(TOPIC, bad), Reason::NotJson, "{bad}");
    }
    assert_eq!(fault(TOPIC, [0xff, 0xfe, 0x00]), Reason::NotJson);
    assert_eq!(
        fault(TOPIC, b"{\"x\":\"\xc0\xaf\",\"value\":1}"),
        Reason::NotJson
    );
    let deep = format!(
        r#"{{"value":1,"x":{}1{}}}"#,
        "[".repeat(30_000),
        "]".repeat(30_000)
    );
    let _ = decode(TOPIC, deep.as_bytes(), now(), &LIMITS);
}

#[test]
fn unknown_members_and_white_space_are_ignored() {
    assert_eq!(
        good(" {\"value\" : 7, \"unit\":\"bar\", \"x\":[{\"y\":null}]}\n").1,
        7.0
    );
}

#[test]
fn topics_and_names_are_checked() {
    let payload = r#"{"value":1}"#;
    for bad in [
        "rigs/R",
        "rigs/R/measurements",
        "rigs/R/measurements/a/b",
        "/",
        "other",
    ] {
        assert_eq!(fault(bad, payload), Reason::BadTopic, "{bad}");
    }
    for bad in [
        "rigs//measurements/a",
        "rigs/R/measurements/",
        "rigs/R/measurements/time",
        "rigs/a b/measurements/x",
    ] {
        assert_eq!(fault(bad, payload), Reason::BadName, "{bad}");
    }
    assert_eq!(
        fault(&format!("rigs/{}/measurements/a", "x".repeat(65)), payload),
        Reason::BadName
    );
}

#[test]
fn timestamps_outside_the_limits_are_rejected() {
    let at = |timestamp: &str| format!(r#"{{"timestamp":"{timestamp}","value":1}}"#);
    good(&at("2025-11-02T14:22:40Z"));
    assert_eq!(fault(TOPIC, at("2025-11-02T14:22:40.001Z")), Reason::Future);
    assert_eq!(fault(TOPIC, at("9999-01-01T00:00:00Z")), Reason::Future);
    good(&at("2025-10-04T14:21:40Z"));
    assert_eq!(fault(TOPIC, at("2025-10-04T14:21:39.999Z")), Reason::Past);
    assert_eq!(fault(TOPIC, at("0001-01-01T00:00:00Z")), Reason::Past);
    for bad in ["2025-11-02T14:21:33", "1762093293", "", "now"] {
        assert_eq!(fault(TOPIC, at(bad)), Reason::BadTimestamp, "{bad}");
    }
    for (number, reason) in [
        ("0", Reason::Past),
        ("-5", Reason::Past),
        ("1e14", Reason::Past),
        ("1e300", Reason::Future),
        ("1e999", Reason::BadTimestamp),
        ("true", Reason::BadTimestamp),
        ("{}", Reason::BadTimestamp),
    ] {
        let payload = format!(r#"{{"timestamp":{number},"value":1}}"#);
        assert_eq!(fault(TOPIC, payload), reason, "{number}");
    }
}

#[test]
fn too_large_payload_is_rejected_before_other_checks() {
    assert_eq!(fault("nowhere", vec![b'{'; 65_537]), Reason::TooLarge);
    let mut fits = br#"{"value":1}"#.to_vec();
    fits.resize(65_536, b' ');
    assert!(decode(TOPIC, &fits, now(), &LIMITS).is_ok());
}

#[test]
fn truncated_and_damaged_payloads_are_a_reading_or_a_rejection() {
    let whole = br#"{"timestamp": "2025-11-02T14:21:33.512Z", "value": 78.2}"#;
    for end in 0..whole.len() {
        assert_eq!(fault(TOPIC, &whole[..end]), Reason::NotJson, "{end}");
    }
    for bit in 0..whole.len() * 8 {
        let mut flipped = *whole;
        flipped[bit / 8] ^= 1 << (bit % 8);
        let _ = decode(TOPIC, &flipped, now(), &LIMITS);
    }
}

proptest! {
    #[test]
    fn arbitrary_messages_are_a_reading_or_a_rejection(topic in ".{0,80}", payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&topic, &payload, now(), &LIMITS);
        let _ = decode(TOPIC, &payload, now(), &LIMITS);
    }

    #[test]
    fn any_finite_value_is_kept_to_the_bit(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
        let payload = format!("{{\"value\":{value:e}}}");
        prop_assert_eq!(good(&payload).1.to_bits(), (value + 0.0).to_bits());
    }
}
