//! What is written is read.

use std::time::Duration;

use model::{Name, Row, Timestamp, Value};
use store::history::SeriesSpan;
use store::{History, Store, WriteError};

use super::owned;
use crate::fixture::{Fixture, all, exact, row, rows_of, seconds, string, tagged, tags};

const NAN: f64 = f64::NAN;

pub(super) async fn what_is_written_comes_back<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    store.preflight().await.unwrap();
    store.write(&[]).await.unwrap();
    assert_eq!(history.series().await.unwrap(), []);
    let rows = [
        row("RIG-2", 7, &[("temp", 1.5), ("flow", 2.5)]),
        row("RIG-1", 9, &[("temp", 3.5)]),
        row("RIG-2", 8, &[("flow", 4.5)]),
    ];
    for _ in 0..2 {
        store.write(&rows).await.unwrap();
        assert_eq!(
            rows_of(history, "RIG-2").await,
            [
                row("RIG-2", 7, &[("flow", 2.5), ("temp", 1.5)]),
                row("RIG-2", 8, &[("flow", 4.5)]),
            ]
        );
    }
    let span = |rig: &str, first, last| SeriesSpan {
        key: rig.into(),
        tags: tags(&[("rig_id", rig)]),
        first: seconds(first),
        last: seconds(last),
    };
    assert_eq!(
        history.series().await.unwrap(),
        [span("RIG-1", 9, 9), span("RIG-2", 7, 8)]
    );
    assert_eq!(history.fields(None).await.unwrap(), ["flow", "temp"]);
    assert_eq!(history.fields(Some("RIG-1")).await.unwrap(), ["temp"]);
    store.preflight().await.unwrap();
}

pub(super) async fn rows_of_one_key_are_merged<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    for fields in [
        &[("a", 1.0), ("b", 2.0)][..],
        &[("b", 3.0), ("c", 4.0)],
        &[("c", 5.0)],
    ] {
        store.write(&[row("R", 1, fields)]).await.unwrap();
    }
    assert_eq!(
        rows_of(history, "R").await,
        [row("R", 1, &[("a", 1.0), ("b", 3.0), ("c", 5.0)])]
    );
}

pub(super) async fn within_a_batch_the_later_value_wins<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let rows = [
        row("R", 1, &[("a", 1.0), ("b", 1.0)]),
        row("R", 2, &[("a", 9.0)]),
        row("R", 1, &[("b", 2.0)]),
        row("R", 1, &[("b", 3.0), ("a", 4.0)]),
        row("R", 1, &[("a", 5.0)]),
    ];
    store.write(&rows).await.unwrap();
    assert_eq!(
        rows_of(history, "R").await,
        [
            row("R", 1, &[("a", 5.0), ("b", 3.0)]),
            row("R", 2, &[("a", 9.0)]),
        ]
    );
}

pub(super) async fn new_fields_come_at_any_time<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    store.write(&[row("R", 1, &[("m", 1.0)])]).await.unwrap();
    assert_eq!(history.fields(None).await.unwrap(), ["m"]);
    let rows = [
        row("R", 1, &[("z", 2.0)]),
        row("R", 2, &[("a", 3.0), ("m", 4.0)]),
        row("S", 1, &[("q", 5.0)]),
    ];
    store.write(&rows).await.unwrap();
    assert_eq!(
        rows_of(history, "R").await,
        [
            row("R", 1, &[("m", 1.0), ("z", 2.0)]),
            row("R", 2, &[("a", 3.0), ("m", 4.0)]),
        ]
    );
    assert_eq!(history.fields(None).await.unwrap(), ["a", "m", "q", "z"]);
    assert_eq!(history.fields(Some("R")).await.unwrap(), ["a", "m", "z"]);
}

pub(super) async fn names_that_differ_in_case_only_are_two<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let rows = [
        row("rig", 1, &[("temp", 1.0), ("Temp", 2.0), ("TEMP", 3.0)]),
        row("Rig", 1, &[("Temp", 4.0)]),
    ];
    store.write(&rows).await.unwrap();
    assert_eq!(
        rows_of(history, "rig").await,
        [row(
            "rig",
            1,
            &[("TEMP", 3.0), ("Temp", 2.0), ("temp", 1.0)]
        )]
    );
    assert_eq!(
        rows_of(history, "Rig").await,
        [row("Rig", 1, &[("Temp", 4.0)])]
    );
    assert_eq!(rows_of(history, "RIG").await, []);
}

pub(super) async fn any_name_that_may_be_one_is_kept<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let long = "x".repeat(F::MAX_FIELD.min(64));
    let mut fields = owned(&[
        ".", "..", "-", "_", "7", "0.1", "--", "select", "rig", "tick", "row", "rows", "v1", "V2",
        "rowid", "null", "id", "name", "Time", "RIG_ID", "hour", "rig.id", "NaN",
    ]);
    fields.push(long.clone());
    let mut written = Vec::new();
    for rig in ["select", "rig_id", "time", ".", "-1", &long] {
        let mut row = Row::of_rig(Name::new(rig.to_owned()).unwrap(), seconds(1));
        for (name, value) in fields.iter().zip(1_u32..) {
            let name = Name::new(name.clone()).unwrap();
            row.fields.push((name, f64::from(value).into()));
        }
        written.push(row);
    }
    store.write(&written).await.unwrap();
    for row in &mut written {
        row.fields.sort_by(|one, other| one.0.cmp(&other.0));
        let rig = row.tags[0].1.clone();
        assert_eq!(rows_of(history, &rig).await, std::slice::from_ref(row));
    }
    fields.sort();
    assert_eq!(history.fields(None).await.unwrap(), fields);
}

pub(super) async fn a_bad_row_is_named<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    for bad in [
        row("R", 1, &[]),
        row("R", 1, &[("a", 1.0), ("b", NAN)]),
        row("R", 1, &[("a", f64::INFINITY)]),
    ] {
        let batch = [row("R", 1, &[("a", 1.0)]), bad, row("R", 2, &[("a", 1.0)])];
        match store.write(&batch).await {
            Err(WriteError::Rejected { detail, .. }) => {
                assert!(detail.starts_with("row 2 of 3: "), "{detail}");
            }
            other => panic!("{:?}: {other:?}", batch[1]),
        }
        store.write(&batch[..1]).await.unwrap();
        store.preflight().await.unwrap();
    }
    assert_eq!(history.fields(None).await.unwrap(), ["a"]);
}

pub(super) async fn values_come_back_bit_by_bit<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let values = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        78.0,
        0.1 + 0.2,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        -5e-324,
        f64::EPSILON,
        9_007_199_254_740_993.0,
        9_223_372_036_854_775_807.0,
        -9_223_372_036_854_775_808.0,
        1e300,
        1.0 / 3.0,
    ];
    let rows: Vec<_> = values
        .iter()
        .zip(0..)
        .map(|(value, second)| row("R", second, &[("a", *value)]))
        .collect();
    store.write(&rows).await.unwrap();
    let read = rows_of(history, "R").await;
    let bits: Vec<_> = read.iter().map(|row| exact(&row.fields[0].1)).collect();
    assert_eq!(bits, values.map(|value| exact(&F::kept(value.into()))));
}

pub(super) async fn times_may_be_far_away<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let ticks = [
        "1678-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999999999Z",
        "1970-01-01T00:00:00Z",
        "2025-11-02T14:21:33.123456789Z",
        "2261-12-31T23:59:59.999999999Z",
    ]
    .map(|text| Timestamp::parse(text).unwrap().tick(F::PRECISION));
    let rows = ticks.map(|tick| {
        let mut row = row("R", 0, &[("a", 1.0)]);
        row.timestamp = tick;
        row
    });
    store.write(&rows).await.unwrap();
    assert_eq!(rows_of(history, "R").await, rows);
    let spans = history.series().await.unwrap();
    assert_eq!((spans[0].first, spans[0].last), (ticks[0], ticks[4]));
    let latest = history.latest("R").await.unwrap();
    assert_eq!(latest[0].tick, ticks[4]);
    let century = Duration::from_hours(24 * 36_525);
    let found = history.buckets(all("R"), century).await.unwrap();
    let counts: Vec<_> = found[0].buckets.iter().map(|it| it.count).collect();
    assert_eq!(counts, [1, 1, 2, 1]);
}

pub(super) async fn writers_at_the_same_time_all_get_their_rows_in<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let rigs = ["A", "B", "C", "D"];
    let write = async |rig: &str, field: &'static str| {
        for second in 0..50 {
            let rows = [row(rig, second, &[(field, 1.0)])];
            store.write(&rows).await.unwrap();
            let bad = store.write(&[row(rig, second, &[])]).await;
            assert!(matches!(bad, Err(WriteError::Rejected { .. })), "{bad:?}");
        }
    };
    tokio::join!(
        write("A", "a"),
        write("B", "b"),
        write("C", "c"),
        write("D", "d")
    );
    for rig in rigs {
        assert_eq!(rows_of(history, rig).await.len(), 50);
        assert_eq!(
            history.fields(Some(rig)).await.unwrap(),
            [rig.to_lowercase()]
        );
    }
}

pub(super) async fn values_of_all_types_are_read<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let of = &[("rig_id", "R")][..];
    let fields = [
        ("bool", Value::Bool(true)),
        ("float", Value::Float(-0.0)),
        ("integer", Value::Integer(i64::MIN)),
        ("string", string("a 'b' \"c\"\n\u{1f600}")),
    ];
    let rows = [
        tagged(of, 1, &fields),
        tagged(
            of,
            2,
            &[("bool", Value::Bool(false)), ("string", string(""))],
        ),
        tagged(of, 3, &[("integer", Value::Integer(7))]),
    ];
    store.write(&rows).await.unwrap();
    assert_eq!(rows_of(history, "R").await, rows);
    let newest = history.newest(all("R"), 2).await.unwrap();
    assert_eq!(newest.rows, [rows[2].clone(), rows[1].clone()]);
    let latest = history.latest("R").await.unwrap();
    let latest: Vec<_> = latest
        .into_iter()
        .map(|it| (it.field, it.tick.seconds(), exact(&it.value)))
        .collect();
    let expected = [
        ("bool", 2, Value::Bool(false)),
        ("float", 1, F::kept(Value::Float(-0.0))),
        ("integer", 3, Value::Integer(7)),
        ("string", 2, string("")),
    ];
    assert_eq!(
        latest,
        expected.map(|(field, second, value)| (field.to_owned(), second, exact(&value)))
    );
}
