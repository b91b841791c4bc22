use proptest::prelude::*;

use super::{decode_reading, decode_row, encode_reading, encode_row};
use crate::name::{Name, SensorName};
use crate::reading::Reading;
use crate::row::Row;
use crate::time::Timestamp;

fn rig(name: &str) -> Name<'_> {
    Name::new(name).unwrap()
}

fn sensor(name: &str) -> SensorName<'_> {
    SensorName::new(name).unwrap()
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    encode(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn elements_have_the_documented_form() {
    let reading = Reading {
        rig_id: rig("RIG-42"),
        sensor: sensor("temp_inlet"),
        timestamp: Timestamp::from_millis(1_762_093_293_512),
        value: 78.2,
        ingest_time: Timestamp::from_millis(1_762_093_293_520),
    };
    let element = encoded(|out| encode_reading(&reading, out));
    assert_eq!(
        element,
        r#"{"rig_id":"RIG-42","sensor":"temp_inlet","timestamp":"2025-11-02T14:21:33.512Z","value":78.2,"ingest_time":"2025-11-02T14:21:33.520Z"}"#
    );
    assert_eq!(decode_reading(element.as_bytes()), Ok(reading));

    let mut row = Row::of_rig(rig("RIG-42"), Timestamp::from_millis(1_762_093_293_000));
    row.fields = vec![(sensor("temp_inlet"), 78.2), (sensor("flow_rate"), 14.0)];
    let element = encoded(|out| encode_row(&row, out));
    assert_eq!(
        element,
        r#"{"rig_id":"RIG-42","timestamp":"2025-11-02T14:21:33Z","temp_inlet":78.2,"flow_rate":14.0}"#
    );
    assert_eq!(decode_row(element.as_bytes()), Ok(row));
}

#[test]
fn foreign_elements_may_differ_in_white_space_escapes_and_extra_members() {
    let reading = decode_reading(
        br#" {"ingest_time":"2025-11-02T15:00:00+01:00","value":7,"extra":[{}],"timestamp":"2025-11-02T14:00:00Z","sensor":"a","rig_id":"\u0052"} "#,
    )
    .unwrap();
    assert_eq!((&*reading.rig_id, reading.value), ("R", 7.0));
    assert_eq!(reading.timestamp, reading.ingest_time);
    assert_eq!(&*reading.sensor, "a");
}

#[test]
fn invalid_readings_are_errors() {
    for bad in [
        "",
        "null",
        "7",
        r#"["R","a","2025-11-02T14:00:00Z",1.5,"2025-11-02T14:00:00Z"]"#,
        "{}",
        r#"{"rig_id":"R","sensor":"a","timestamp":"2025-11-02T14:00:00Z","value":1.5}"#,
        r#"{"rig_id":"","sensor":"a","timestamp":"2025-11-02T14:00:00Z","value":1.5,"ingest_time":"2025-11-02T14:00:00Z"}"#,
        r#"{"rig_id":"R","sensor":"time","timestamp":"2025-11-02T14:00:00Z","value":1.5,"ingest_time":"2025-11-02T14:00:00Z"}"#,
        r#"{"rig_id":"R","sensor":"a","timestamp":"now","value":1.5,"ingest_time":"2025-11-02T14:00:00Z"}"#,
        r#"{"rig_id":"R","sensor":"a","timestamp":"2025-11-02T14:00:00Z","value":"1.5","ingest_time":"2025-11-02T14:00:00Z"}"#,
        r#"{"rig_id":"R","sensor":"a","timestamp":"2025-11-02T14:00:00Z","value":1e999,"ingest_time":"2025-11-02T14:00:00Z"}"#,
        r#"{"rig_id":"R","rig_id":"R","sensor":"a","timestamp":"2025-11-02T14:00:00Z","value":1,"ingest_time":"2025-11-02T14:00:00Z"}"#,
    ] {
        assert!(decode_reading(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(decode_reading(&[0xff, 0xfe]).is_err());
}

#[test]
fn invalid_rows_are_errors() {
    for bad in [
        "",
        "[]",
        "{}",
        r#"{"rig_id":"R","timestamp":"2025-11-02T14:00:00Z"}"#,
        r#"{"rig_id":"R","a":1}"#,
        r#"{"timestamp":"2025-11-02T14:00:00Z","a":1}"#,
        r#"{"rig_id":"a\nevil,rig=b t=666","timestamp":"2025-11-02T14:00:00Z","a":1}"#,
        r#"{"rig_id":"R","timestamp":"2025-11-02T14:00:00Z","a":1,"a":2}"#,
        r#"{"rig_id":"R","timestamp":"2025-11-02T14:00:00Z","a":true}"#,
        r#"{"rig_id":"R","timestamp":"2025-11-02T14:00:00Z","a":null}"#,
        r#"{"rig_id":"R","timestamp":"2025-11-02T14:00:00Z","a":"1"}"#,
        r#"{"rig_id":"R","timestamp":"2025-11-02T14:00:00Z","a":1e999}"#,
        r#"{"rig_id":"R","timestamp":"2025-11-02T14:00:00Z","time":1}"#,
        r#"{"rig_id":"R","timestamp":"2025-11-02T14:00:00Z","a b":1}"#,
    ] {
        assert!(decode_row(bad.as_bytes()).is_err(), "{bad}");
    }
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9._-]{1,64}".prop_filter("reserved", |name| {
        !matches!(name.as_str(), "rig_id" | "timestamp" | "time")
    })
}

fn number() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("finite", |value| value.is_finite())
}

proptest! {
    #[test]
    fn readings_are_read_back(
        rig_id in name(), name in name(), value in number(), at in any::<i64>(), arrived in any::<i64>(),
    ) {
        let reading = Reading {
            rig_id: rig(&rig_id),
            sensor: sensor(&name),
            timestamp: Timestamp::from_nanos(at),
            value,
            ingest_time: Timestamp::from_nanos(arrived),
        };
        let element = encoded(|out| encode_reading(&reading, out));
        prop_assert_eq!(decode_reading(element.as_bytes()), Ok(reading));
    }

    #[test]
    fn rows_are_read_back(
        rig_id in name(),
        at in any::<i64>(),
        fields in proptest::collection::btree_map(name(), number(), 1..9),
    ) {
        let mut row = Row::of_rig(rig(&rig_id), Timestamp::from_nanos(at));
        row.fields = fields.iter().map(|(name, value)| (sensor(name), *value)).collect();
        let element = encoded(|out| encode_row(&row, out));
        prop_assert_eq!(decode_row(element.as_bytes()), Ok(row));
    }

    #[test]
    fn any_bytes_are_an_element_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_reading(&bytes);
        let _ = decode_row(&bytes);
    }
}
