use std::collections::BTreeMap;

use model::{Name, Row, Timestamp, Value};
use proptest::prelude::*;
use testkit::InfluxDb;

use super::{LineError, MAX_STRING, RESERVED_TAGS, encode, encode_line};
use crate::Measurement;

/// Encodes a line of tags and fields with any names.
fn line<'a, V: Into<Value> + Clone>(
    tags: &[(&'a str, &'a str)],
    fields: &[(&'a str, V)],
    nanos: i64,
) -> Result<String, LineError> {
    let mut out = b"rig_measurements".to_vec();
    let fields: Vec<(&str, Value)> = fields
        .iter()
        .map(|(name, value)| (*name, value.clone().into()))
        .collect();
    let fields = fields.iter().map(|(name, value)| (*name, value));
    encode_line(tags.iter().copied(), fields, nanos, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn row(rig: &str, fields: &[(&'static str, f64)]) -> Row<'static> {
    let mut row = Row::of_rig(Name::new(rig.to_owned()).unwrap(), Timestamp::from_nanos(7));
    let fields = fields.iter();
    row.fields
        .extend(fields.map(|(name, value)| (Name::new(*name).unwrap(), (*value).into())));
    row
}

#[test]
fn rows_are_encoded_as_lines_and_the_first_bad_row_is_named() {
    let (good, bad) = (row("R", &[("a", 1.0), ("b", 2.5)]), row("R", &[]));
    let measurement = Measurement::default();
    let lines = encode(&measurement, &[good.clone(), good.clone()]).unwrap();
    let expected = "rig_measurements,rig_id=R a=1.0,b=2.5 7\n";
    assert_eq!(String::from_utf8(lines).unwrap(), expected.repeat(2));
    assert_eq!(
        encode(&measurement, &[good.clone(), bad, good]),
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
        (
            line(&[(r"\k\\=\,", r"C:\x\\ y")], &[(r"\f\\ g", 1.0)], 0),
            r"rig_measurements,\k\\\=\\,=C:\x\\\ y \f\\\ g=1.0 0
",
        ),
        (
            line(&[(r#"\""#, r#"\""#)], &[(r#"\"\\""#, 1.0)], 0),
            r#"rig_measurements,\"=\" \\"\\\"=1.0 0
"#,
        ),
    ] {
        assert_eq!(encoded.unwrap(), expected);
    }
}

#[test]
fn each_type_has_a_form_of_its_own() {
    let fields = [
        ("float", Value::Float(3.0)),
        ("least", Value::Integer(i64::MIN)),
        ("most", Value::Integer(i64::MAX)),
        ("yes", Value::Bool(true)),
        ("no", Value::Bool(false)),
        ("empty", string("")),
        ("text", string("a \"b\" \\c,d=e\n#f")),
    ];
    let encoded = line(&[], &fields, 0).unwrap();
    let expected = concat!(
        "rig_measurements float=3.0,least=-9223372036854775808i,most=9223372036854775807i,",
        r#"yes=true,no=false,empty="",text="a \"b\" \\c,d=e"#,
        "\n#f\" 0\n",
    );
    assert_eq!(encoded, expected);
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
    let control = |name: &str| LineError::Control(name.to_owned());
    let backslash = |name: &str| LineError::Backslash(name.to_owned());
    let tag = |name: &str, value: &str| line(&[(name, value)], &[("f", 1.0)], 0);
    let field = |name: &str| line(&[("rig_id", "R")], &[(name, 1.0)], 0);
    for (encoded, error) in [
        (line::<f64>(&[("rig_id", "R")], &[], 0), LineError::NoField),
        (tag("", "R"), LineError::Empty),
        (tag("rig_id", ""), LineError::Empty),
        (field(""), LineError::Empty),
        (
            tag("rig_id", "a t=1 1\nevil,rig=b"),
            control("a t=1 1\nevil,rig=b"),
        ),
        (tag("rig_id", "R\r"), control("R\r")),
        (tag("r\u{0}", "R"), control("r\u{0}")),
        (field("\tf"), control("\tf")),
        (tag("rig_id", "R\\"), backslash("R\\")),
        (tag("r\\\\", "R"), backslash("r\\\\")),
        (tag("rig_id", "a\\ b"), backslash("a\\ b")),
        (field("f\\"), backslash("f\\")),
        (field("f\\,g"), backslash("f\\,g")),
        (field("f\\=g"), backslash("f\\=g")),
        (field("f\\\\\\ g"), backslash("f\\\\\\ g")),
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

#[test]
fn long_strings_and_reserved_names_are_refused() {
    let longest = string(&"x".repeat(MAX_STRING));
    line(&[], &[("f", longest)], 0).unwrap();
    let longer = string(&"\"".repeat(MAX_STRING + 1));
    assert_eq!(
        line(&[], &[("f", longer)], 0),
        Err(LineError::LongString("f".into(), MAX_STRING + 1))
    );
    for name in RESERVED_TAGS {
        let error = LineError::ReservedTag(name.into());
        assert_eq!(line(&[(name, "x")], &[("f", 1.0)], 0), Err(error));
    }
    let error = LineError::ReservedField("time".into());
    assert_eq!(line(&[], &[("f", 1.0), ("time", 1.0)], 0), Err(error));
    // Names that only look like those.
    let tags = ["_", "_a", "Time", "result", "table", "time_"].map(|name| (name, "time"));
    let fields = [
        "_field",
        "_measurement",
        "_time",
        "_value",
        "TIME",
        "_",
        "time ",
    ];
    line(&tags, &fields.map(|name| (name, 1.0)), 0).unwrap();
}

/// Names with all special characters of the protocol.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9_.-]{1,12}",
        "[ ,=\"#'a1]{1,6}",
        r#"[ ,=\\"é]{1,7}"#,
        r#"[ ,=\\"\n\r\t#'a1é\x00]{0,6}"#,
        any::<String>(),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        proptest::num::f64::ANY.prop_map(Value::Float),
        any::<i64>().prop_map(Value::Integer),
        any::<bool>().prop_map(Value::Bool),
        r#"[ ,=\\"\n#'a1é\x00]{0,8}"#.prop_map(Value::String),
        any::<String>().prop_map(Value::String),
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

type Names<T> = Vec<(String, T)>;

/// Whether a run of backslashes of odd length comes before one of these characters or the end.
fn hides(name: &str, separators: &str) -> bool {
    let mut backslashes = 0;
    for c in name.chars() {
        if separators.contains(c) && backslashes % 2 == 1 {
            return true;
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
    }
    backslashes > 0
}

/// Whether there is a reason to refuse a row.
fn is_refusable(tags: &Names<String>, fields: &Names<Value>) -> bool {
    let unwritable =
        |name: &String| name.is_empty() || name.contains(|c: char| c.is_ascii_control());
    let bad_tag = |(name, value): &(String, String)| {
        RESERVED_TAGS.contains(&name.as_str())
            || [name, value]
                .into_iter()
                .any(|it| unwritable(it) || hides(it, " "))
    };
    let bad_field = |(name, value): &(String, Value)| {
        let is_finite = match value {
            Value::Float(value) => value.is_finite(),
            _ => true,
        };
        name == "time" || unwritable(name) || hides(name, " ,=") || !is_finite
    };
    fields.is_empty() || tags.iter().any(bad_tag) || fields.iter().any(bad_field)
}

/// A value as the server shows it in CSV, which drops carriage returns. Floats bit by bit.
fn shown(value: &Value) -> String {
    match value {
        Value::Float(value) => format!("{:x}", value.to_bits()),
        Value::String(text) => text.replace('\r', ""),
        other => other.to_string(),
    }
}

type Cells = BTreeMap<(BTreeMap<String, String>, String, String), (&'static str, String)>;

/// All values of a bucket, as Flux reads them, by tags, measurement and field: their types, and how they
/// are shown.
fn read(server: &InfluxDb, bucket: &str) -> Cells {
    let mut cells = Cells::new();
    for kind in ["float", "int", "bool", "string"] {
        let flux = format!(
            "import \"types\"
             from(bucket: {bucket:?}) |> range(start: 0)
                |> filter(fn: (r) => types.isType(v: r._value, type: {kind:?}))
                |> drop(columns: [\"_start\", \"_stop\", \"_time\"])"
        );
        for mut row in server.query(&flux) {
            let mut take = |name: &str| row.remove(name).unwrap();
            let value = match (kind, take("_value")) {
                ("float", value) => format!("{:x}", value.parse::<f64>().unwrap().to_bits()),
                (_, value) => value.replace('\r', ""),
            };
            let (measurement, field) = (take("_measurement"), take("_field"));
            for own in ["result", "table"] {
                take(own);
            }
            cells.insert((row, measurement, field), (kind, value));
        }
    }
    cells
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Float(_) => "float",
        Value::Integer(_) => "int",
        Value::Bool(_) => "bool",
        Value::String(_) => "string",
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(8) })]

    #[test]
    fn rows_with_any_names_and_values_are_read_back_from_a_server_or_refused(
        rows in proptest::collection::vec((named(hostile(), 0..3), named(values(), 0..4)), 300),
    ) {
        let server = InfluxDb::shared();
        let bucket = server.create_bucket(None);
        let (mut lines, mut written) = (String::new(), Cells::new());
        for (number, (tags, fields)) in (0..).zip(&rows) {
            // A tag with such a name is a second column of it in the response.
            if tags.iter().any(|(name, _)| name == "result" || name == "table") {
                continue;
            }
            let tag_strs: Vec<_> = tags.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let field_strs: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), v.clone())).collect();
            let Ok(line) = line(&tag_strs, &field_strs, number) else {
                prop_assert!(is_refusable(tags, fields), "refused for no reason: {tags:?} {fields:?}");
                continue;
            };
            prop_assert!(!is_refusable(tags, fields), "not refused: {tags:?} {fields:?}");
            // A measurement a row: a field may have another type in each.
            let measurement = format!("m{number}");
            lines.push_str(&line.replacen("rig_measurements", &measurement, 1));
            for (name, value) in fields {
                let tags: BTreeMap<_, _> = tags.iter().cloned().collect();
                let key = (tags, measurement.clone(), name.clone());
                written.insert(key, (kind(value), shown(value)));
            }
        }
        server.write(&bucket, &lines);
        prop_assert_eq!(read(server, &bucket), written);
    }
}
