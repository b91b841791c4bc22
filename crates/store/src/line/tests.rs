use std::collections::BTreeMap;

use model::{Name, Row, SensorName, Timestamp};
use proptest::prelude::*;
use testkit::influx::{Value, parse_line};

use super::{LineError, encode, encode_line};

/// The line of these tags and fields, whose names may be any strings.
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
fn rows_are_lines_and_the_first_bad_row_is_named() {
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
fn a_whole_number_is_stored_as_a_float() {
    for value in [78.0, 0.0, -3.0, 1e15, 1e16, 1e23, f64::MAX, f64::MIN] {
        let line = line(&[], &[("f", value)], 0).unwrap();
        let point = parse_line(line.trim_end(), 1).unwrap();
        assert_eq!(point.fields, [("f".into(), Value::Float(value))], "{line}");
    }
}

#[test]
fn what_line_protocol_cannot_carry_is_refused() {
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
        let tag_strs: Vec<_> = tags.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let field_strs: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        let Ok(lines) = line(&tag_strs, &field_strs, nanos) else {
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
