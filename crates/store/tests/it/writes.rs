//! What every store promises of writes: rows with any tags and values of four types.

use model::{Name, Row, Timestamp, Value};
use store::{RowsAtFault, Store, WriteError};

#[cfg(feature = "mongodb")]
use crate::fixture::OnMongo;
#[cfg(feature = "postgres")]
use crate::fixture::OnPostgres;
use crate::fixture::{OnInflux, OnSqlite, Written, exact, sort, string, tagged};

macro_rules! contract {
    ($($test:ident)+) => {
        contract! { on_sqlite: OnSqlite; $($test)+ }
        contract! { on_influxdb: OnInflux; $($test)+ }
        #[cfg(feature = "mongodb")]
        contract! { on_mongodb: OnMongo; $($test)+ }
        #[cfg(feature = "postgres")]
        contract! { on_postgres: OnPostgres; $($test)+ }
    };
    ($kind:ident: $backend:ident; $($test:ident)+) => {
        mod $kind {
            use crate::fixture::Written;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let backend = super::$backend::start();
                super::$test(&backend).await;
                backend.check();
            })+
        }
    };
}

contract! {
    rows_of_one_key_are_merged
    the_later_value_of_a_batch_wins
    series_differ_in_any_tag
    names_and_tags_may_be_any
    values_come_back_exactly
    times_may_be_far_away
    a_bad_row_is_named
    value_of_another_type_is_the_fault_of_its_row
    the_first_type_of_a_batch_counts
    stores_side_by_side_have_types_of_their_own
}

/// Names that have to be escaped in one format or another.
pub(crate) const STRANGE: [&str; 26] = [
    " ",
    "a b",
    " a ",
    ",",
    "a,b",
    "=",
    "a=b",
    "a\"b",
    "\"",
    "'",
    "a\\b",
    r"\a\\b",
    r"a\\,b",
    r#"a\"b"#,
    "\u{1f600}",
    "\u{e9}",
    "a.b",
    "..",
    "a[0]",
    "#",
    "$",
    "{}",
    "_a",
    "Time",
    "select",
    "t\u{0435}mp",
];

fn float(value: f64) -> Value {
    Value::Float(value)
}

/// Writes rows as the sink does: halves what is rejected. Returns the messages of the rejected rows.
async fn write_all(store: &impl Store, rows: &[Row<'_>]) -> Vec<(usize, String)> {
    let (mut rejected, mut ranges) = (Vec::new(), Vec::new());
    ranges.push(0..rows.len());
    while let Some(range) = ranges.pop() {
        match store.write(&rows[range.clone()]).await {
            Ok(()) => {}
            Err(WriteError::Rejected { detail, at_fault }) if range.len() == 1 => {
                assert_eq!(at_fault, RowsAtFault::Some, "{detail}");
                rejected.push((range.start, detail));
            }
            Err(WriteError::Rejected { .. }) => {
                let middle = range.start + range.len() / 2;
                ranges.push(middle..range.end);
                ranges.push(range.start..middle);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    rejected
}

async fn rows_of_one_key_are_merged<B: Written>(backend: &B) {
    let of = &[("site", "S"), ("device", "D")][..];
    for fields in [
        &[("a", float(1.0)), ("b", Value::Integer(2))][..],
        &[("b", Value::Integer(3)), ("c", string("x"))],
        &[("c", string("")), ("d", Value::Bool(true))],
    ] {
        for _ in 0..2 {
            let rows = [tagged(of, 1, fields)];
            backend.store().write(&rows).await.unwrap();
        }
    }
    let fields = [
        ("a", float(1.0)),
        ("b", Value::Integer(3)),
        ("c", string("")),
        ("d", Value::Bool(true)),
    ];
    assert_eq!(backend.rows().await, [tagged(of, 1, &fields)]);
}

async fn the_later_value_of_a_batch_wins<B: Written>(backend: &B) {
    let row = |second, fields: &[(&str, f64)]| {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, it)| (*name, float(*it)))
            .collect();
        tagged(&[("device", "D")], second, &fields)
    };
    let rows = [
        row(1, &[("a", 1.0), ("b", 1.0)]),
        row(2, &[("a", 9.0)]),
        row(1, &[("b", 2.0)]),
        row(1, &[("b", 3.0), ("a", 4.0)]),
        row(1, &[("a", 5.0)]),
    ];
    backend.store().write(&rows).await.unwrap();
    assert_eq!(
        backend.rows().await,
        [row(1, &[("a", 5.0), ("b", 3.0)]), row(2, &[("a", 9.0)])]
    );
}

async fn series_differ_in_any_tag<B: Written>(backend: &B) {
    let series: [&[(&str, &str)]; 12] = [
        &[],
        &[("a", "x")],
        &[("a", "X")],
        &[("A", "x")],
        &[("b", "x")],
        &[("a", "x"), ("b", "y")],
        &[("a", "y"), ("b", "x")],
        &[("a", "x"), ("b", "y"), ("c", "z")],
        // Each would be the first of these if its separators weren't escaped.
        &[("a", "x,b=y")],
        &[("a", "x\",\"b\":\"y")],
        &[("a,b", "x")],
        &[("a=x,b", "y")],
    ];
    let mut rows: Vec<_> = series
        .iter()
        .zip(0_u32..)
        .map(|(of, number)| tagged(of, 1, &[("f", float(number.into()))]))
        .collect();
    backend.store().write(&rows).await.unwrap();
    backend.store().write(&rows).await.unwrap();
    sort(&mut rows);
    assert_eq!(backend.rows().await, rows);
}

async fn names_and_tags_may_be_any<B: Written>(backend: &B) {
    let names = B::names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut rows = Vec::new();
    for (number, name) in (0_i64..).zip(&names) {
        // As the name of a tag, as its value, and as both beside others.
        let next = names[(usize::try_from(number).unwrap() + 1) % names.len()];
        for of in [
            &[(*name, "x")][..],
            &[("tag", name)],
            &[(name, next), (next, name)],
        ] {
            rows.push(tagged(of, number, &[(name, float(1.5)), ("f", float(2.5))]));
        }
    }
    // All of them in one row.
    let all: Vec<_> = names.iter().map(|name| (*name, *name)).collect();
    let fields: Vec<_> = names.iter().map(|name| (*name, float(3.5))).collect();
    rows.push(tagged(&all, 1, &fields));
    backend.store().write(&rows).await.unwrap();
    sort(&mut rows);
    assert_eq!(backend.rows().await, rows);
}

async fn values_come_back_exactly<B: Written>(backend: &B) {
    let floats = [
        0.0,
        -0.0,
        1.0,
        78.0,
        0.1 + 0.2,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        9_007_199_254_740_993.0,
        9_223_372_036_854_775_807.0,
        1e300,
    ];
    let integers = [0, 1, -1, i64::MAX, i64::MIN, (1 << 53) + 1];
    let strings = [
        "",
        " ",
        "x",
        "7",
        "true",
        "a \"quoted\" 'word'",
        r"\",
        r"\\",
        r#"\""#,
        r"C:\new\table",
        "two\nlines",
        "\n",
        "\r\n\t",
        "nul\u{0}nul",
        "a,b=c d#e",
        "x\" 1\nm,a=b f=\"y",
        "\u{1f600} \u{e9} \u{85}\u{2028}",
    ];
    let long = "\u{e9}\"\n".repeat(10_000);
    let mut values: Vec<(&str, Value)> = Vec::new();
    values.extend(floats.map(|value| ("float", value.into())));
    values.extend(integers.map(|value| ("integer", Value::Integer(value))));
    values.extend([true, false].map(|value| ("bool", Value::Bool(value))));
    values.extend(strings.map(|text| ("string", string(text))));
    values.push(("string", string(&long)));
    values.retain(|(_, value)| B::holds(value));
    let mut rows: Vec<_> = (0..)
        .zip(values)
        .map(|(second, field)| tagged(&[("device", "D")], second, &[field]))
        .collect();
    backend.store().write(&rows).await.unwrap();
    let shown = |rows: &[Row<'_>]| -> Vec<(String, String)> {
        let fields = rows.iter().flat_map(|row| &row.fields);
        fields
            .map(|(name, value)| (name.to_string(), exact(value)))
            .collect()
    };
    let read = backend.rows().await;
    for (_, value) in rows.iter_mut().flat_map(|row| &mut row.fields) {
        *value = B::kept(value.clone());
    }
    assert_eq!(shown(&read), shown(&rows));
}

async fn times_may_be_far_away<B: Written>(backend: &B) {
    let rows: Vec<_> = [
        "1678-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999999999Z",
        "1970-01-01T00:00:00Z",
        "2025-11-02T14:21:33.123456789Z",
        "2261-12-31T23:59:59.999999999Z",
    ]
    .iter()
    .map(|text| Row {
        timestamp: Timestamp::parse(text).unwrap().tick(B::PRECISION),
        ..tagged(&[], 0, &[("a", float(1.0))])
    })
    .collect();
    backend.store().write(&rows).await.unwrap();
    assert_eq!(backend.rows().await, rows);
}

async fn a_bad_row_is_named<B: Written>(backend: &B) {
    let good = |second| tagged(&[("device", "D")], second, &[("a", float(1.0))]);
    for bad in [
        tagged(&[], 1, &[]),
        tagged(&[], 1, &[("a", float(1.0)), ("b", float(f64::NAN))]),
        tagged(&[], 1, &[("a", float(f64::INFINITY))]),
    ] {
        let batch = [good(1), bad, good(2)];
        match backend.store().write(&batch).await {
            Err(WriteError::Rejected { detail, at_fault }) => {
                assert!(detail.starts_with("row 2 of 3: "), "{detail}");
                assert_eq!(at_fault, RowsAtFault::Some);
            }
            other => panic!("{:?}: {other:?}", batch[1]),
        }
        backend.store().preflight().await.unwrap();
    }
    assert_eq!(backend.rows().await, []);
}

/// A value of each type, with the type's name as all stores' messages have it.
fn one_of_each() -> [(&'static str, Value); 4] {
    [
        ("float", float(1.0)),
        ("integer", Value::Integer(1)),
        ("bool", Value::Bool(true)),
        ("string", string("1")),
    ]
}

async fn value_of_another_type_is_the_fault_of_its_row<B: Written>(backend: &B) {
    let of = |number: usize| format!("D{number}");
    let mut expected = Vec::new();
    for (name, value) in one_of_each() {
        let row = tagged(&[("device", "first")], 1, &[(name, value)]);
        backend
            .store()
            .write(std::slice::from_ref(&row))
            .await
            .unwrap();
        expected.push(row);
    }
    for (field, right) in one_of_each() {
        // Good rows between the bad ones, and other fields in the bad ones.
        let others: Vec<_> = one_of_each()
            .into_iter()
            .filter(|(kind, _)| *kind != field)
            .collect();
        let mut batch = Vec::new();
        for (number, (_, wrong)) in others.iter().enumerate() {
            let of = of(number);
            let of = [("device", of.as_str())];
            batch.push(tagged(&of, 2, &[(field, right.clone())]));
            let beside = ("beside", string("x"));
            batch.push(tagged(&of, 3, &[beside, (field, wrong.clone())]));
        }
        let rejected = write_all(backend.store(), &batch).await;
        let indexes: Vec<_> = rejected.iter().map(|(index, _)| *index).collect();
        assert_eq!(indexes, [1, 3, 5]);
        for ((_, detail), (kind, _)) in std::iter::zip(&rejected, &others) {
            for word in [
                *kind,
                field,
                "already exists as type",
                &format!("{field:?}"),
            ] {
                assert!(detail.contains(word), "{word} in {detail}");
            }
        }
        expected.extend(batch.into_iter().step_by(2));
    }
    // Rows of one key and time are one row.
    let mut expected = merged(expected);
    sort(&mut expected);
    let mut read = backend.rows().await;
    // InfluxDB stores the other fields of such a row, or doesn't.
    for row in &mut read {
        row.fields.retain(|(name, _)| **name != *"beside");
    }
    read.retain(|row| !row.fields.is_empty());
    assert_eq!(read, expected);
}

fn merged(rows: Vec<Row<'static>>) -> Vec<Row<'static>> {
    let mut merged: Vec<Row<'static>> = Vec::new();
    for row in rows {
        let same =
            |other: &&mut Row<'_>| (&other.tags, other.timestamp) == (&row.tags, row.timestamp);
        match merged.iter_mut().find(same) {
            Some(other) => other.fields.extend(row.fields),
            None => merged.push(row),
        }
    }
    merged
}

async fn the_first_type_of_a_batch_counts<B: Written>(backend: &B) {
    let row = |second, value: Value| tagged(&[("device", "D")], second, &[("new", value)]);
    let batch = [
        row(1, Value::Integer(1)),
        row(2, float(2.0)),
        row(3, Value::Integer(3)),
        row(4, Value::Bool(false)),
        row(5, Value::Integer(5)),
    ];
    let rejected = write_all(backend.store(), &batch).await;
    let indexes: Vec<_> = rejected.iter().map(|(index, _)| *index).collect();
    assert_eq!(indexes, [1, 3]);
    let good = [batch[0].clone(), batch[2].clone(), batch[4].clone()];
    assert_eq!(backend.rows().await, good);
}

async fn stores_side_by_side_have_types_of_their_own<B: Written>(backend: &B) {
    let others = [backend.beside(), backend.beside(), backend.beside()];
    let stores: Vec<&B> = std::iter::once(backend).chain(&others).collect();
    for (store, (_, value)) in std::iter::zip(&stores, one_of_each()) {
        // The same key and time in each.
        let row = tagged(&[("device", "D")], 1, &[("f", value)]);
        store.store().write(&[row]).await.unwrap();
    }
    for (store, (_, value)) in std::iter::zip(&stores, one_of_each()) {
        let rows = store.rows().await;
        assert_eq!(rows, [tagged(&[("device", "D")], 1, &[("f", value)])]);
        store.check();
    }
}

/// Only InfluxDB refuses these. A name that it can't carry is the fault of its row.
#[tokio::test]
async fn names_that_influxdb_cannot_carry_are_named() {
    let backend = <OnInflux as Written>::start();
    let good = |second| tagged(&[("device", "D")], second, &[("f", float(1.0))]);
    let of_tag = |name: &str, value: &str| tagged(&[(name, value)], 1, &[("f", float(1.0))]);
    let of_field = |name: &str| tagged(&[], 1, &[(name, float(1.0))]);
    for bad in [
        of_tag("a\\", "x"),
        of_tag("a", "x\\"),
        of_tag("a", "x\\ y"),
        of_tag("time", "x"),
        of_tag("_value", "x"),
        of_field("a\\"),
        of_field("a\\,b"),
        of_field("time"),
    ] {
        let rejected = write_all(backend.store(), &[good(1), bad.clone(), good(2)]).await;
        assert_eq!(rejected.len(), 1, "{bad:?}");
        assert_eq!(rejected[0].0, 1, "{bad:?}");
    }
    assert_eq!(backend.rows().await, [good(1), good(2)]);
    // Such names are fine in a file.
    let backend = <OnSqlite as Written>::start();
    let rows = [of_tag("a", "x\\"), of_field("time"), of_tag("time", "\\ ")];
    backend.store().write(&rows).await.unwrap();
    assert_eq!(backend.rows().await.len(), 3);
    Written::check(&backend);
    let name = Name::new("a").unwrap();
    assert!(
        backend
            .rows()
            .await
            .iter()
            .any(|row| row.tags.iter().any(|tag| tag.0 == name))
    );
}
