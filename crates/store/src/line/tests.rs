use std::borrow::Cow;
use std::collections::BTreeMap;

use common::row::Row;
use common::time::Timestamp;
use proptest::prelude::*;
use testkit::InfluxDb;

use super::{LineError, encode};

fn row<'a>(tags: &[(&'a str, &'a str)], fields: &[(&'a str, f64)], nanos: i64) -> Row<'a> {
    Row {
        tags: tags
            .iter()
            .map(|(name, value)| (Cow::Borrowed(*name), Cow::Borrowed(*value)))
            .collect(),
        timestamp: Timestamp::from_nanos(nanos),
        fields: fields
            .iter()
            .map(|(name, value)| (Cow::Borrowed(*name), *value))
            .collect(),
    }
}

#[test]
fn a_row_is_a_line() {
    let tick = 1_762_093_293_000_000_000;
    for (row, line) in [
        (
            row(
                &[("rig_id", "RIG-42")],
                &[("temp_inlet", 78.2), ("flow_rate", 14.0)],
                tick,
            ),
            "rig_measurements,rig_id=RIG-42 temp_inlet=78.2,flow_rate=14.0 1762093293000000000\n",
        ),
        (
            row(&[], &[("a", -0.5), ("b", 1e300), ("c", 5e-324)], -1),
            "rig_measurements a=-0.5,b=1e+300,c=5e-324 -1\n",
        ),
        (
            row(&[("k e=y,", "v a=l,")], &[("f i=e,ld", 0.1 + 0.2)], 0),
            r"rig_measurements,k\ e\=y\,=v\ a\=l\, f\ i\=e\,ld=0.30000000000000004 0
",
        ),
        (
            row(&[("rig_id", "\u{e9}\"#'")], &[("\"q\"", 1.0)], 0),
            "rig_measurements,rig_id=\u{e9}\"#' \"q\"=1.0 0\n",
        ),
    ] {
        let lines = String::from_utf8(encode(std::slice::from_ref(&row)).unwrap()).unwrap();
        assert_eq!(lines, line);
    }
}

#[test]
fn values_and_times_come_back_bit_by_bit() {
    let server = InfluxDb::shared();
    let bucket = server.make_bucket(None);
    let values = [
        78.0,
        0.0,
        -0.0,
        -3.0,
        1e15,
        1e16,
        1e23,
        5e-324,
        f64::MAX,
        f64::MIN,
    ];
    // The first and the last time that a query can ask for.
    let times = [2 - i64::MAX, -1, 0, 1_762_093_293_000_000_001, i64::MAX - 2];
    let rows: Vec<_> = times
        .iter()
        .flat_map(|nanos| values.map(|value| (*nanos, value)))
        .enumerate()
        .map(|(place, (nanos, value))| (format!("R{place}"), nanos, value))
        .collect();
    let encoded: Vec<_> = rows
        .iter()
        .map(|(rig, nanos, value)| row(&[("rig_id", rig)], &[("f", *value)], *nanos))
        .collect();
    let lines = String::from_utf8(encode(&encoded).unwrap()).unwrap();
    server.write(&bucket, &lines);
    let found = server.points(&bucket).into_iter();
    let found: BTreeMap<_, _> = found
        .map(|point| {
            let rig = point.tags["rig_id"].clone();
            (rig, (point.nanos, point.value.to_bits()))
        })
        .collect();
    let written = rows.into_iter();
    let written = written.map(|(rig, nanos, value)| (rig, (nanos, value.to_bits())));
    assert_eq!(found, written.collect());
}

#[test]
fn what_line_protocol_cannot_carry_is_refused() {
    let good = row(&[("rig_id", "R")], &[("f", 1.0)], 0);
    let cannot = |text: &str| LineError::Unwritable(text.to_owned());
    for (bad, error) in [
        (row(&[("rig_id", "R")], &[], 0), LineError::NoField),
        (row(&[("", "R")], &[("f", 1.0)], 0), LineError::Empty),
        (row(&[("rig_id", "")], &[("f", 1.0)], 0), LineError::Empty),
        (row(&[("rig_id", "R")], &[("", 1.0)], 0), LineError::Empty),
        (
            row(&[("rig_id", "a t=1 1\nevil,rig=b")], &[("f", 1.0)], 0),
            cannot("a t=1 1\nevil,rig=b"),
        ),
        (row(&[("rig_id", "R\\")], &[("f", 1.0)], 0), cannot("R\\")),
        (row(&[("rig_id", "R\r")], &[("f", 1.0)], 0), cannot("R\r")),
        (row(&[("r\u{0}", "R")], &[("f", 1.0)], 0), cannot("r\u{0}")),
        (row(&[("rig_id", "R")], &[("\tf", 1.0)], 0), cannot("\tf")),
        (
            row(&[], &[("f", 1.0), ("g", f64::INFINITY)], 0),
            LineError::NotFinite("g".into(), f64::INFINITY),
        ),
        (
            row(&[], &[("g", f64::NEG_INFINITY)], 0),
            LineError::NotFinite("g".into(), f64::NEG_INFINITY),
        ),
    ] {
        assert_eq!(encode(&[good.clone(), bad, good.clone()]), Err((1, error)));
    }
    let nan = encode(&[row(&[], &[("f", f64::NAN)], 0)]).unwrap_err();
    assert!(nan.1.to_string().contains("\"f\" is NaN"), "{nan:?}");
}

/// Names with everything in them that means something to the protocol.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9_.-]{1,12}",
        "[ ,=\"#'a1]{1,6}",
        r#"[ ,=\\"\n\r\t#'a1é\x00]{0,6}"#,
        any::<String>(),
    ]
}

/// Names without repeats: a tag that is there twice makes a line unreadable, and of a field that
/// is there twice the last one counts.
fn named<T: Clone + std::fmt::Debug>(
    values: impl Strategy<Value = T>,
    count: std::ops::Range<usize>,
) -> impl Strategy<Value = Vec<(String, T)>> {
    proptest::collection::vec((hostile(), values), count).prop_map(|pairs| {
        let unique: BTreeMap<String, T> = pairs.into_iter().collect();
        unique.into_iter().collect()
    })
}

/// Names that InfluxDB or the answers of its queries use for something else.
fn is_reserved(name: &str) -> bool {
    name == "time" || name == "result" || name == "table" || name.starts_with('_')
}

type Names<T> = Vec<(String, T)>;

/// Whether there is a reason to refuse a row.
fn is_refusable(tags: &Names<String>, fields: &Names<f64>) -> bool {
    let names = tags
        .iter()
        .flat_map(|(name, value)| [name, value])
        .chain(fields.iter().map(|(name, _)| name));
    let unwritable = |name: &String| {
        name.is_empty() || name.contains('\\') || name.contains(|c: char| c.is_ascii_control())
    };
    names.into_iter().any(unwritable)
        || fields.is_empty()
        || fields.iter().any(|(_, value)| !value.is_finite())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(8) })]

    #[test]
    fn rows_come_back_from_a_server_whatever_their_names_or_are_refused(
        rows in proptest::collection::vec(
            (named(hostile(), 0..3), named(proptest::num::f64::ANY, 0..4)),
            300,
        ),
    ) {
        let server = InfluxDb::shared();
        let bucket = server.make_bucket(None);
        let (mut lines, mut written) = (Vec::new(), BTreeMap::new());
        for (nanos, (tags, fields)) in (0..).zip(&rows) {
            if tags.iter().any(|(n, _)| is_reserved(n)) || fields.iter().any(|(n, _)| is_reserved(n)) {
                continue;
            }
            let owned = Row {
                tags: tags.iter().map(|(n, v)| (n.as_str().into(), v.as_str().into())).collect(),
                timestamp: Timestamp::from_nanos(nanos),
                fields: fields.iter().map(|(n, v)| (n.as_str().into(), *v)).collect(),
            };
            let Ok(line) = encode(std::slice::from_ref(&owned)) else {
                prop_assert!(is_refusable(tags, fields), "refused for no reason: {owned:?}");
                continue;
            };
            prop_assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
            lines.extend(line);
            for (name, value) in fields {
                let tags: BTreeMap<_, _> = tags.iter().cloned().collect();
                written.insert((tags, nanos, name.clone()), value.to_bits());
            }
        }
        server.write(&bucket, std::str::from_utf8(&lines).unwrap());
        let found = server.points(&bucket).into_iter();
        let found: BTreeMap<_, _> = found
            .map(|point| ((point.tags, point.nanos, point.field), point.value.to_bits()))
            .collect();
        prop_assert_eq!(found, written);
    }
}
