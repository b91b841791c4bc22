use proptest::prelude::*;

use super::{Layout, decode_reading, encode_reading, encode_sample};
use crate::name::Name;
use crate::reading::Reading;
use crate::row::Row;
use crate::sample::{Sample, Tags, Value};
use crate::time::Timestamp;

fn rig(name: &str) -> Name<'_> {
    Name::new(name).unwrap()
}

fn sensor(name: &str) -> Name<'_> {
    Name::new(name).unwrap()
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
    row.fields = vec![
        (sensor("temp_inlet"), 78.2.into()),
        (sensor("flow_rate"), 14.0.into()),
    ];
    let element = encoded(|out| Layout::Rigs.encode_row(&row, out));
    assert_eq!(
        element,
        r#"{"rig_id":"RIG-42","timestamp":"2025-11-02T14:21:33Z","temp_inlet":78.2,"flow_rate":14.0}"#
    );
    assert_eq!(Layout::Rigs.decode_row(element.as_bytes()), Ok(row));
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
        assert!(Layout::Rigs.decode_row(bad.as_bytes()).is_err(), "{bad}");
    }
}

fn sample() -> Sample<'static> {
    let tags = [("device", "a \"b\""), ("room", "caf\u{e9}")];
    let values = [
        ("x", Value::Float(7.0)),
        ("n", Value::Integer(-7)),
        ("on", Value::Bool(true)),
        ("text", Value::String("a\\b\n\u{1}".into())),
    ];
    let own = |name: &'static str| Name::new(name).unwrap();
    Sample {
        tags: tags
            .map(|(name, value)| (own(name), own(value)))
            .into_iter()
            .collect(),
        timestamp: Timestamp::from_millis(1_762_093_293_512),
        values: values
            .map(|(name, value)| (own(name), value))
            .into_iter()
            .collect(),
    }
}

#[test]
fn tagged_elements_have_the_documented_form() {
    let sample = sample();
    let ingest_time = Timestamp::from_millis(1_762_093_293_520);
    let element = encoded(|out| encode_sample(&sample, ingest_time, out));
    let tags = r#"{"device":"a \"b\"","room":"café"}"#;
    let values = r#"{"x":7.0,"n":-7,"on":true,"text":"a\\b\n\u0001"}"#;
    assert_eq!(
        element,
        format!(
            r#"{{"tags":{tags},"timestamp":"2025-11-02T14:21:33.512Z","values":{values},"ingest_time":"2025-11-02T14:21:33.520Z"}}"#
        )
    );
    let row = Row {
        tags: sample.tags.clone(),
        timestamp: sample.timestamp,
        fields: sample.values.clone(),
    };
    let raw = Layout::Tagged.decode_sample(element.as_bytes()).unwrap();
    assert_eq!((&*raw.series, raw.timestamp), (tags, sample.timestamp));
    assert_eq!(
        (raw.ingest_time, raw.values.to_vec()),
        (ingest_time, sample.values)
    );

    let element = encoded(|out| Layout::Tagged.encode_row(&row, out));
    assert_eq!(
        element,
        format!(r#"{{"tags":{tags},"timestamp":"2025-11-02T14:21:33.512Z","values":{values}}}"#)
    );
    assert_eq!(Layout::Tagged.series_key(&row.tags), tags);
    assert_eq!(Layout::Tagged.tags(tags), Ok(row.tags.clone()));
    assert_eq!(Layout::Tagged.decode_row(element.as_bytes()), Ok(row));
}

#[test]
fn rows_may_be_for_some_stores() {
    let element = br#"{"tags":{"a":"b"},"timestamp":"2025-11-02T14:00:00Z","values":{"x":"]}"}}"#;
    let row = Layout::Tagged.decode_row(element).unwrap();
    assert_eq!(Layout::Tagged.stores(element), Ok(Vec::new()));
    for stores in [&[][..], &["influx".to_owned(), "my\"mongodb-2".to_owned()]] {
        let element = encoded(|out| Layout::Tagged.encode_row_for(&row, stores, out));
        assert_eq!(
            Layout::Tagged.decode_row(element.as_bytes()).as_ref(),
            Ok(&row)
        );
        assert_eq!(
            Layout::Tagged.stores(element.as_bytes()).as_deref(),
            Ok(stores)
        );
    }
    let bad = br#"{"tags":{},"timestamp":"2025-11-02T14:00:00Z","values":{"x":1},"stores":[1]}"#;
    assert!(Layout::Tagged.stores(bad).is_err());
}

#[test]
fn tags_of_foreign_elements_are_sorted() {
    let element = br#" {"values":{"a":1e2},"timestamp":"2025-11-02T14:00:00Z","x":0,"tags":{"b":"2","a":"1"}}"#;
    let row = Layout::Tagged.decode_row(element).unwrap();
    assert_eq!(Layout::Tagged.series_key(&row.tags), r#"{"a":"1","b":"2"}"#);
    assert_eq!(row.fields[0].1, Value::Float(100.0));
}

#[test]
fn invalid_tagged_elements_are_errors() {
    let time = r#""timestamp":"2025-11-02T14:00:00Z""#;
    for bad in [
        r#"{"tags":{},"values":{"a":1}}"#.to_owned(),
        format!(r#"{{"tags":{{}},{time},"values":{{}}}}"#),
        format!(r#"{{"tags":{{}},{time}}}"#),
        format!(r#"{{{time},"values":{{"a":1}}}}"#),
        format!(r#"{{"tags":{{"a":""}},{time},"values":{{"a":1}}}}"#),
        format!(r#"{{"tags":{{"a":"b\n"}},{time},"values":{{"a":1}}}}"#),
        format!(r#"{{"tags":{{"a":"b","a":"c"}},{time},"values":{{"a":1}}}}"#),
        format!(r#"{{"tags":{{"a":1}},{time},"values":{{"a":1}}}}"#),
        format!(r#"{{"tags":{{}},{time},"values":{{"a":1,"a":2}}}}"#),
        format!(r#"{{"tags":{{}},{time},"values":{{"a":null}}}}"#),
        format!(r#"{{"tags":{{}},{time},"values":{{"a":[1]}}}}"#),
        format!(r#"{{"tags":{{}},{time},"values":{{"a":9223372036854775808}}}}"#),
        format!(r#"{{"tags":{{}},{time},"values":{{"a":1e999}}}}"#),
        r#"[{},"2025-11-02T14:00:00Z",{"a":1}]"#.to_owned(),
    ] {
        assert!(Layout::Tagged.decode_row(bad.as_bytes()).is_err(), "{bad}");
    }
    let without_arrival = format!(r#"{{"tags":{{}},{time},"values":{{"a":1}}}}"#);
    assert!(
        Layout::Tagged
            .decode_sample(without_arrival.as_bytes())
            .is_err()
    );
    assert!(
        Layout::Tagged
            .decode_row(without_arrival.as_bytes())
            .is_ok()
    );
}

fn any_name() -> impl Strategy<Value = String> {
    "\\PC{1,12}"
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        number().prop_map(Value::Float),
        any::<i64>().prop_map(Value::Integer),
        any::<bool>().prop_map(Value::Bool),
        any::<String>().prop_map(Value::String),
    ]
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
        row.fields = fields.iter().map(|(name, value)| (sensor(name), (*value).into())).collect();
        let element = encoded(|out| Layout::Rigs.encode_row(&row, out));
        prop_assert_eq!(Layout::Rigs.decode_row(element.as_bytes()), Ok(row));
    }

    #[test]
    fn tagged_elements_are_read_back(
        tags in proptest::collection::btree_map(any_name(), any_name(), 0..4),
        at in any::<i64>(),
        values in proptest::collection::btree_map(any_name(), any_value(), 1..6),
        arrived in any::<i64>(),
    ) {
        let own = |name: &String| Name::new(name.clone()).unwrap();
        let sample = Sample {
            tags: tags.iter().map(|(name, value)| (own(name), own(value))).collect::<Tags<'_>>(),
            timestamp: Timestamp::from_nanos(at),
            values: values.iter().map(|(name, value)| (own(name), value.clone())).collect(),
        };
        let ingest_time = Timestamp::from_nanos(arrived);
        let element = encoded(|out| encode_sample(&sample, ingest_time, out));
        let raw = Layout::Tagged.decode_sample(element.as_bytes()).unwrap();
        prop_assert_eq!(Layout::Tagged.tags(&raw.series), Ok(sample.tags));
        prop_assert_eq!((raw.timestamp, raw.ingest_time), (sample.timestamp, ingest_time));
        prop_assert_eq!(raw.values.to_vec(), sample.values);
    }

    #[test]
    fn any_bytes_are_an_element_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_reading(&bytes);
        for layout in [Layout::Rigs, Layout::Tagged] {
            let _ = layout.decode_sample(&bytes);
            let _ = layout.decode_row(&bytes);
        }
    }
}
