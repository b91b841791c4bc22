use std::borrow::Cow;
use std::collections::BTreeMap;

use common::row::Row;
use common::time::Timestamp;
use proptest::prelude::*;
use testkit::influx::{Value, parse_line};

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
fn a_whole_number_is_stored_as_a_float() {
    for value in [78.0, 0.0, -3.0, 1e15, 1e16, 1e23, f64::MAX, f64::MIN] {
        let lines = encode(&[row(&[], &[("f", value)], 0)]).unwrap();
        let line = String::from_utf8(lines).unwrap();
        let point = parse_line(line.trim_end(), 1).unwrap();
        assert_eq!(point.fields, [("f".into(), Value::Float(value))], "{line}");
    }
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

fn reserved(tags: &[(String, String)]) -> bool {
    tags.iter()
        .any(|(name, _)| matches!(name.as_str(), "time" | "_field" | "_measurement"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn a_line_means_its_row_whatever_the_names_or_is_refused(
        tags in named(hostile(), 0..3),
        fields in named(proptest::num::f64::ANY, 0..4),
        nanos in -(i64::MAX - 1)..i64::MAX,
    ) {
        prop_assume!(!reserved(&tags));
        let owned = Row {
            tags: tags.iter().map(|(n, v)| (n.as_str().into(), v.as_str().into())).collect(),
            timestamp: Timestamp::from_nanos(nanos),
            fields: fields.iter().map(|(n, v)| (n.as_str().into(), *v)).collect(),
        };
        let Ok(lines) = encode(std::slice::from_ref(&owned)) else {
            let names = tags.iter().flat_map(|(n, v)| [n, v]).chain(fields.iter().map(|(n, _)| n));
            let unwritable = |n: &String| n.is_empty() || n.contains('\\') || n.contains(|c: char| c.is_ascii_control());
            prop_assert!(
                names.into_iter().any(unwritable)
                    || fields.is_empty()
                    || fields.iter().any(|(_, v)| !v.is_finite()),
                "refused for no reason"
            );
            return Ok(());
        };
        let lines = String::from_utf8(lines).unwrap();
        let line = lines.strip_suffix('\n').unwrap();
        prop_assert!(!line.contains('\n') && !line.contains('\r'), "{line:?} is several lines");
        let point = parse_line(line, 1).map_err(|why| TestCaseError::fail(format!("{line:?}: {why}")))?;
        prop_assert_eq!(point.key.measurement, "rig_measurements");
        prop_assert_eq!(point.key.tags.into_iter().collect::<Vec<_>>(), tags);
        prop_assert_eq!(point.key.nanos, nanos);
        let values: Vec<_> = fields.into_iter().map(|(n, v)| (n, Value::Float(v))).collect();
        prop_assert_eq!(point.fields, values);
    }
}
