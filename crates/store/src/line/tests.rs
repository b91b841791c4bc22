use std::collections::BTreeMap;

use model::{Name, Row, SensorName, Timestamp};
use proptest::prelude::*;
use testkit::InfluxDb;

use super::{LineError, encode, encode_line};

/// Encodes a line of tags and fields with any names.
fn line<'a>(
    tags: &[(&'a str, &'a str)],
    fields: &[(&'a str, f64)],
    nanos: i64,
) -> Result<String, LineError> {
    let mut out = Vec::new();
    let (tags, fields) = (tags.iter().copied(), fields.iter().copied());
    encode_line(tags, fields, nanos, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn row(rig: &str, fields: &[(&'static str, f64)]) -> Row<'static> {
    let mut row = Row::of_rig(Name::new(rig.to_owned()).unwrap(), Timestamp::from_nanos(7));
    let fields = fields.iter();
    row.fields
        .extend(fields.map(|(name, value)| (SensorName::new(*name).unwrap(), *value)));
    row
}

#[test]
fn rows_are_encoded_as_lines_and_the_first_bad_row_is_named() {
    let (good, bad) = (row("R", &[("a", 1.0), ("b", 2.5)]), row("R", &[]));
    let lines = encode(&[good.clone(), good.clone()]).unwrap();
    let expected = "rig_measurements,rig_id=R a=1.0,b=2.5 7\n";
    assert_eq!(String::from_utf8(lines).unwrap(), expected.repeat(2));
    assert_eq!(
        encode(&[good.clone(), bad, good]),
        Err((1, LineError::NoField))
    );
}

#[test]
fn names_are_escaped_and_numbers_keep_every_digit() {
    let tick = 1_762_093_293_000_000_000;
    for (encoded, expected) in [
        (
            line(
                &[("rig_id", "RIG-42")],
                &[("temp_inlet", 78.2), ("flow_rate", 14.0)],
                tick,
            ),
            "rig_measurements,rig_id=RIG-42 temp_inlet=78.2,flow_rate=14.0 1762093293000000000\n",
        ),
        (
            line(&[], &[("a", -0.5), ("b", 1e300), ("c", 5e-324)], -1),
            "rig_measurements a=-0.5,b=1e+300,c=5e-324 -1\n",
        ),
        (
            line(&[("k e=y,", "v a=l,")], &[("f i=e,ld", 0.1 + 0.2)], 0),
            r"rig_measurements,k\ e\=y\,=v\ a\=l\, f\ i\=e\,ld=0.30000000000000004 0
",
        ),
        (
            line(&[("rig_id", "\u{e9}\"#'")], &[("\"q\"", 1.0)], 0),
            "rig_measurements,rig_id=\u{e9}\"#' \"q\"=1.0 0\n",
        ),
    ] {
        assert_eq!(encoded.unwrap(), expected);
    }
}

#[test]
fn values_and_times_come_back_bit_by_bit() {
    let server = InfluxDb::shared();
    let bucket = server.create_bucket(None);
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
    let lines: String = rows
        .iter()
        .map(|(rig, nanos, value)| line(&[("rig_id", rig)], &[("f", *value)], *nanos).unwrap())
        .collect();
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
fn values_without_a_form_in_line_protocol_are_refused() {
    let cannot = |name: &str| LineError::Unwritable(name.to_owned());
    for (encoded, error) in [
        (line(&[("rig_id", "R")], &[], 0), LineError::NoField),
        (line(&[("", "R")], &[("f", 1.0)], 0), LineError::Empty),
        (line(&[("rig_id", "")], &[("f", 1.0)], 0), LineError::Empty),
        (line(&[("rig_id", "R")], &[("", 1.0)], 0), LineError::Empty),
        (
            line(&[("rig_id", "a t=1 1\nevil,rig=b")], &[("f", 1.0)], 0),
            cannot("a t=1 1\nevil,rig=b"),
        ),
        (line(&[("rig_id", "R\\")], &[("f", 1.0)], 0), cannot("R\\")),
        (line(&[("rig_id", "R\r")], &[("f", 1.0)], 0), cannot("R\r")),
        (line(&[("r\u{0}", "R")], &[("f", 1.0)], 0), cannot("r\u{0}")),
        (line(&[("rig_id", "R")], &[("\tf", 1.0)], 0), cannot("\tf")),
        (
            line(&[], &[("f", 1.0), ("g", f64::INFINITY)], 0),
            LineError::NotFinite("g".into(), f64::INFINITY),
        ),
        (
            line(&[], &[("g", f64::NEG_INFINITY)], 0),
            LineError::NotFinite("g".into(), f64::NEG_INFINITY),
        ),
    ] {
        assert_eq!(encoded, Err(error));
    }
    let nan = line(&[], &[("f", f64::NAN)], 0).unwrap_err();
    assert!(nan.to_string().contains("\"f\" is NaN"), "{nan:?}");
}

/// Names with all special characters of the protocol.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9_.-]{1,12}",
        "[ ,=\"#'a1]{1,6}",
        r#"[ ,=\\"\n\r\t#'a1é\x00]{0,6}"#,
        any::<String>(),
    ]
}

/// Distinct names: a repeated tag makes a line invalid, and the last of repeated fields counts.
fn named<T: Clone + std::fmt::Debug>(
    values: impl Strategy<Value = T>,
    count: std::ops::Range<usize>,
) -> impl Strategy<Value = Vec<(String, T)>> {
    proptest::collection::vec((hostile(), values), count).prop_map(|pairs| {
        let unique: BTreeMap<String, T> = pairs.into_iter().collect();
        unique.into_iter().collect()
    })
}

/// Names that InfluxDB or its query results reserve.
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
    fn rows_with_any_names_are_read_back_from_a_server_or_refused(
        rows in proptest::collection::vec(
            (named(hostile(), 0..3), named(proptest::num::f64::ANY, 0..4)),
            300,
        ),
    ) {
        let server = InfluxDb::shared();
        let bucket = server.create_bucket(None);
        let (mut lines, mut written) = (String::new(), BTreeMap::new());
        for (nanos, (tags, fields)) in (0..).zip(&rows) {
            if tags.iter().any(|(n, _)| is_reserved(n)) || fields.iter().any(|(n, _)| is_reserved(n)) {
                continue;
            }
            let tag_strs: Vec<_> = tags.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let field_strs: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), *v)).collect();
            let Ok(line) = line(&tag_strs, &field_strs, nanos) else {
                prop_assert!(is_refusable(tags, fields), "refused for no reason: {tags:?} {fields:?}");
                continue;
            };
            prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
            lines.push_str(&line);
            for (name, value) in fields {
                let tags: BTreeMap<_, _> = tags.iter().cloned().collect();
                written.insert((tags, nanos, name.clone()), value.to_bits());
            }
        }
        server.write(&bucket, &lines);
        let found = server.points(&bucket).into_iter();
        let found: BTreeMap<_, _> = found
            .map(|point| ((point.tags, point.nanos, point.field), point.value.to_bits()))
            .collect();
        prop_assert_eq!(found, written);
    }
}
