use proptest::prelude::*;

use super::rigs;
use super::tagged::decode;
use crate::element::encode_reading;
use crate::element::rigs::{decode_reading_json, decode_row_json, encode_row as encode_rigs_row};
use crate::element::tagged::{decode_json, encode_row, encode_sample, series_key};
use crate::name::Name;
use crate::reading::Reading;
use crate::sample::{Sample, Tags, Value};
use crate::time::Timestamp;

#[test]
fn elements_in_the_written_form_are_read() {
    for element in [
        r#"{"tags":{"a":"b"},"timestamp":"2025-11-02T14:21:33.512Z","values":{"x":78.25}}"#,
        r#"{"tags":{},"timestamp":"2025-11-02T14:21:33Z","values":{"x":-0.0,"y":0,"z":-7,"t":true,"f":false}}"#,
        r#"{"tags":{"a":"é","b":"c, d"},"timestamp":"2025-11-02T14:21:33.000001Z","values":{"x":"on","y":""}}"#,
        r#"{"tags":{"a":"b"},"timestamp":"2025-11-02T14:21:33Z","values":{"x":1},"ingest_time":"2025-11-02T14:21:34Z"}"#,
    ] {
        let members = decode(element.as_bytes());
        assert!(members.is_some(), "{element}");
        assert_eq!(members, decode_json(element.as_bytes()).ok(), "{element}");
    }
}

#[test]
fn other_numbers_are_left_to_the_general_reader() {
    for number in [
        "",
        "-",
        "-0",
        "01",
        "-01",
        "00.5",
        "+1",
        ".5",
        "-.5",
        "1.",
        "1.e3",
        "1.5e3",
        "1e3",
        "1.5.5",
        "NaN",
        "inf",
        "null",
        "0x1",
        "1_0",
        " 1",
        "1 ",
        "9223372036854775808",
    ] {
        let element = format!(
            r#"{{"tags":{{}},"timestamp":"2025-11-02T14:21:33Z","values":{{"x":{number}}}}}"#
        );
        assert_eq!(decode(element.as_bytes()), None, "{number:?}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<f64>()
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(Value::Float),
        (-1_000_000_i32..1_000_000).prop_map(|value| Value::Float(f64::from(value) / 1_000.0)),
        any::<i64>().prop_map(Value::Integer),
        any::<bool>().prop_map(Value::Bool),
        ".{0,8}".prop_map(Value::String),
    ]
}

fn sample() -> impl Strategy<Value = Sample<'static>> {
    let name = || "[a-c \"\\\\é]{1,3}".prop_map(|name| Name::new(name).unwrap());
    let tags = prop::collection::btree_map(name(), name(), 0..3);
    let values = prop::collection::btree_map(name(), value(), 1..4);
    (tags, any::<i64>(), values).prop_map(|(tags, nanos, values)| Sample {
        tags: tags.into_iter().collect::<Tags>(),
        timestamp: Timestamp::from_nanos(nanos),
        values: values.into_iter().collect(),
    })
}

/// Bytes that have a meaning in JSON.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        prop::sample::select(b"{}[],:\"\\ 0159.-+eEZT\0\n\xff".to_vec()),
        any::<u8>()
    ]
}

/// Replaces, inserts or removes some bytes.
fn damage(element: &mut Vec<u8>, changes: Vec<(prop::sample::Index, u8, u8)>) {
    for (place, byte, change) in changes {
        let place = place.index(element.len());
        match change {
            0 => element[place] = byte,
            1 => element.insert(place, byte),
            _ => {
                element.remove(place);
            }
        }
    }
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), byte(), 0..3_u8), 0..3)
}

proptest! {
    #[test]
    fn both_readers_agree_on_tagged_elements_and_damaged_ones(
        sample in sample(),
        is_row in any::<bool>(),
        changes in changes(),
    ) {
        let mut element = Vec::new();
        if is_row {
            let values = sample.values.iter().map(|(name, value)| (&**name, value));
            encode_row(&series_key(&sample.tags), sample.timestamp, values, &mut element);
        } else {
            encode_sample(&sample, Timestamp::from_nanos(1), &mut element);
        }
        damage(&mut element, changes);
        if let Some(members) = decode(&element) {
            prop_assert_eq!(Ok(members), decode_json(&element), "{}", String::from_utf8_lossy(&element));
        }
    }

    #[test]
    fn both_readers_agree_on_rigs_elements_and_damaged_ones(
        (rig, sensor) in ("[a-b.-]{1,3}", "[a-b_]{1,3}"),
        (nanos, value) in (any::<i64>(), -1e6..1e6),
        is_row in any::<bool>(),
        changes in changes(),
    ) {
        let mut element = Vec::new();
        let timestamp = Timestamp::from_nanos(nanos);
        if is_row {
            let (value, other) = (Value::Float(value), Value::Float(-value));
            let fields = [(&*sensor, &value), ("c", &other)];
            encode_rigs_row(&rig, timestamp, fields.into_iter(), &mut element);
        } else {
            let reading = Reading {
                rig_id: Name::strict(&*rig).unwrap(),
                sensor: Name::sensor(&*sensor).unwrap(),
                timestamp,
                value,
                ingest_time: Timestamp::from_nanos(1),
            };
            encode_reading(&reading, &mut element);
        }
        let is_damaged = !changes.is_empty();
        damage(&mut element, changes);
        let (reading, row) = (rigs::decode_reading(&element), rigs::decode_row(&element));
        let text = String::from_utf8_lossy(&element);
        if !is_damaged && value.abs() > 1e-3 {
            prop_assert_eq!((reading.is_some(), row.is_some()), (!is_row, is_row), "{}", text);
        }
        if let Some(reading) = reading {
            prop_assert_eq!(Ok(reading), decode_reading_json(&element), "{}", text);
        }
        if let Some(row) = row {
            prop_assert_eq!(Ok(row), decode_row_json(&element), "{}", text);
        }
    }
}
