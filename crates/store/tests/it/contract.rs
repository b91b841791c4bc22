//! What every store with a history promises. What all stores promise of writes is in `writes`.

use std::time::Duration;

use model::{Name, Row, Timestamp, Value};
use store::history::{Latest, MAX_PAGE_TEXT, Selection, SeriesSpan};
use store::{History, ReadError, Store, WriteError};

use crate::fixture::{
    Fixture, OnSqlite, OnTagged, all, exact, row, rows_of, seconds, string, tagged, tags,
};

macro_rules! contract {
    ($($test:ident)+) => {
        contract! { on_sqlite: OnSqlite; $($test)+ }
        contract! { on_sqlite_with_any_tags: OnTagged; $($test)+ }
    };
    ($kind:ident: $fixture:ident; $($test:ident)+) => {
        mod $kind {
            use crate::fixture::Fixture;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let fixture = super::$fixture::start();
                super::$test(&fixture).await;
                fixture.check();
            })+
        }
    };
}

contract! {
    what_is_written_comes_back
    rows_of_one_key_are_merged
    within_a_batch_the_later_value_wins
    new_fields_come_at_any_time
    names_that_differ_in_case_only_are_two
    any_name_that_may_be_one_is_kept
    a_bad_row_is_named
    values_come_back_bit_by_bit
    times_may_be_far_away
    a_range_has_its_first_tick_and_not_its_last
    pages_follow_each_other
    newest_rows_come_first
    newest_rows_of_a_field_that_has_ended
    the_newest_value_of_each_field_is_the_latest
    buckets_start_at_multiples_of_their_length
    buckets_of_large_values_keep_small_differences
    what_is_not_known_is_empty
    what_cannot_be_answered_is_refused
    writers_at_the_same_time_all_get_their_rows_in
    values_of_all_types_are_read
    buckets_are_of_numbers_only
    pages_of_long_strings_are_short
}

const NAN: f64 = f64::NAN;

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn what_is_written_comes_back<F: Fixture>(fixture: &F) {
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

async fn rows_of_one_key_are_merged<F: Fixture>(fixture: &F) {
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

async fn within_a_batch_the_later_value_wins<F: Fixture>(fixture: &F) {
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

async fn new_fields_come_at_any_time<F: Fixture>(fixture: &F) {
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

async fn names_that_differ_in_case_only_are_two<F: Fixture>(fixture: &F) {
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

async fn any_name_that_may_be_one_is_kept<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let long = "x".repeat(64);
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

async fn a_bad_row_is_named<F: Fixture>(fixture: &F) {
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

async fn values_come_back_bit_by_bit<F: Fixture>(fixture: &F) {
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
    assert_eq!(bits, values.map(|value| exact(&value.into())));
}

async fn times_may_be_far_away<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let ticks = [
        "1678-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999999999Z",
        "1970-01-01T00:00:00Z",
        "2025-11-02T14:21:33.123456789Z",
        "2261-12-31T23:59:59.999999999Z",
    ]
    .map(|text| Timestamp::parse(text).unwrap());
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

async fn a_range_has_its_first_tick_and_not_its_last<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let rows: Vec<_> = (0..10)
        .map(|second| {
            row(
                "R",
                second,
                &[if second % 2 == 0 {
                    ("even", 0.5)
                } else {
                    ("odd", 1.5)
                }],
            )
        })
        .collect();
    store.write(&rows).await.unwrap();
    let ask = async |fields: &[&str], from, to| {
        let fields = owned(fields);
        let of = Selection {
            series: "R",
            fields: &fields,
            from: seconds(from),
            to: seconds(to),
        };
        let upwards = history.range(of, 100).await.unwrap().rows;
        let mut downwards = history.newest(of, 100).await.unwrap().rows;
        downwards.reverse();
        assert_eq!(upwards, downwards, "{of:?}");
        upwards
    };
    assert_eq!(ask(&[], 3, 6).await, rows[3..6]);
    assert_eq!(ask(&[], 3, 4).await, rows[3..4]);
    assert_eq!(ask(&[], 3, 3).await, []);
    assert_eq!(ask(&[], 6, 3).await, []);
    assert_eq!(ask(&[], 8, 99).await, rows[8..]);
    assert_eq!(
        ask(&["odd"], 3, 6).await,
        [rows[3].clone(), rows[5].clone()]
    );
    assert_eq!(ask(&["even", "odd", "even", "none"], 0, 10).await, rows);
    assert_eq!(ask(&["none"], 0, 10).await, []);
}

async fn pages_follow_each_other<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let rows: Vec<_> = (0..25)
        .map(|second| row("R", second, &[("a", 1.0)]))
        .collect();
    store.write(&rows).await.unwrap();
    for limit in [1, 4, 5, 24, 25, 26, usize::MAX] {
        let mut of = all("R");
        let mut read = Vec::new();
        loop {
            let page = history.range(of, limit).await.unwrap();
            assert!((1..=limit).contains(&page.rows.len()), "{limit}");
            read.extend(page.rows);
            let Some(next) = page.next else { break };
            of.from = next;
        }
        assert_eq!(read, rows, "{limit}");
    }
}

async fn newest_rows_come_first<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let mut rows: Vec<_> = (0..25)
        .map(|second| row("R", second, &[("a", 1.0)]))
        .collect();
    store.write(&rows).await.unwrap();
    rows.reverse();
    for limit in [1, 4, 5, 24, 25, 26, usize::MAX] {
        let mut of = all("R");
        let mut read = Vec::new();
        loop {
            let page = history.newest(of, limit).await.unwrap();
            assert!((1..=limit).contains(&page.rows.len()), "{limit}");
            read.extend(page.rows);
            let Some(next) = page.next else { break };
            of.to = next;
        }
        assert_eq!(read, rows, "{limit}");
    }
}

async fn newest_rows_of_a_field_that_has_ended<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let hour = 3_600;
    let rows = [
        row("R", hour - 1, &[("ended", 1.0)]),
        row("R", hour, &[("ended", 2.0), ("a", 2.0)]),
        row("R", 5 * hour, &[("a", 3.0)]),
    ];
    store.write(&rows).await.unwrap();
    let fields = owned(&["ended"]);
    let of = Selection {
        fields: &fields,
        ..all("R")
    };
    let page = history.newest(of, 10).await.unwrap();
    let only = row("R", hour, &[("ended", 2.0)]);
    assert_eq!(page.rows, [only, rows[0].clone()]);
}

async fn the_newest_value_of_each_field_is_the_latest<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let rows = [
        row("R", 100, &[("b", 1.0), ("a", 2.0)]),
        row("R", 90_000, &[("b", 3.0)]),
        row("R", 89_999, &[("b", 4.0), ("c", 5.0)]),
        row("S", 99_999, &[("a", 6.0)]),
    ];
    store.write(&rows).await.unwrap();
    let latest = |field: &str, second, value: f64| Latest {
        field: field.into(),
        tick: seconds(second),
        value: value.into(),
    };
    assert_eq!(
        history.latest("R").await.unwrap(),
        [
            latest("a", 100, 2.0),
            latest("b", 90_000, 3.0),
            latest("c", 89_999, 5.0),
        ]
    );
    // Late, but newer than what there was; and later than that, but older.
    let late = [row("R", 200, &[("a", 7.0)]), row("R", 150, &[("a", 8.0)])];
    for late in late {
        store.write(&[late]).await.unwrap();
        let answered = history.latest("R").await.unwrap();
        assert_eq!(answered[0], latest("a", 200, 7.0));
    }
}

async fn buckets_start_at_multiples_of_their_length<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let rows: Vec<_> = [-11, -10, -1, 0, 3, 9, 25]
        .iter()
        .zip(1..)
        .map(|(second, value)| row("R", *second, &[("a", f64::from(value))]))
        .collect();
    store.write(&rows).await.unwrap();
    store.write(&[row("R", 4, &[("b", 1.0)])]).await.unwrap();
    let ask = async |from, to| {
        let of = Selection {
            from: seconds(from),
            to: seconds(to),
            ..all("R")
        };
        let found = history.buckets(of, Duration::from_secs(10)).await.unwrap();
        let seen = found.into_iter().map(|field| {
            let buckets = field.buckets.into_iter();
            let seen = buckets.map(|it| (it.start.seconds(), it.count, it.mean, it.min, it.max));
            (field.field, seen.collect::<Vec<_>>())
        });
        seen.collect::<Vec<_>>()
    };
    let b = ("b".to_owned(), vec![(0, 1, 1.0, 1.0, 1.0)]);
    let buckets = vec![
        (-20, 1, 1.0, 1.0, 1.0),
        (-10, 2, 2.5, 2.0, 3.0),
        (0, 3, 5.0, 4.0, 6.0),
        (20, 1, 7.0, 7.0, 7.0),
    ];
    assert_eq!(ask(-100, 100).await, [("a".to_owned(), buckets), b.clone()]);
    let cut = vec![(-10, 1, 3.0, 3.0, 3.0), (0, 2, 4.5, 4.0, 5.0)];
    assert_eq!(ask(-5, 9).await, [("a".to_owned(), cut), b]);
    assert_eq!(ask(10, 20).await, []);
    assert_eq!(ask(20, 10).await, []);
}

async fn buckets_of_large_values_keep_small_differences<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let rows: Vec<_> = (0..1_000)
        .map(|second| {
            let small = f64::from(u8::try_from(second % 2).unwrap()) / 1_024.0;
            row("R", second, &[("a", 1e9 + small)])
        })
        .collect();
    store.write(&rows).await.unwrap();
    let hour = Duration::from_hours(1);
    let found = history.buckets(all_of_1970(), hour).await.unwrap();
    let bucket = found[0].buckets[0];
    assert_eq!(bucket.count, 1_000);
    assert!((bucket.mean - (1e9 + 0.5 / 1_024.0)).abs() < 1e-6);
    let exact = 0.5 / 1_024.0 * (1_000.0_f64 / 999.0).sqrt();
    assert!((bucket.stddev.unwrap() - exact).abs() < 1e-9 * exact.max(1.0));
    let single = history.buckets(all_of_1970(), Duration::from_secs(1));
    assert_eq!(single.await.unwrap()[0].buckets[7].stddev, None);
}

fn all_of_1970() -> Selection<'static> {
    Selection {
        from: seconds(0),
        to: seconds(86_400),
        ..all("R")
    }
}

async fn what_is_not_known_is_empty<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    for _ in 0..2 {
        assert_eq!(history.fields(Some("none")).await.unwrap(), [""; 0]);
        assert_eq!(history.latest("none").await.unwrap(), []);
        for page in [
            history.range(all("none"), 10).await.unwrap(),
            history.newest(all("none"), 10).await.unwrap(),
        ] {
            assert_eq!((page.rows, page.next), (vec![], None));
        }
        let of = Selection {
            series: "no such name, ever\0",
            ..all_of_1970()
        };
        let second = Duration::from_secs(1);
        assert_eq!(history.buckets(of, second).await.unwrap(), []);
        let strange = owned(&["\"; DROP TABLE row; --"]);
        let of = Selection {
            fields: &strange,
            ..all_of_1970()
        };
        assert_eq!(history.buckets(of, second).await.unwrap(), []);
        store.write(&[row("R", 1, &[("a", 1.0)])]).await.unwrap();
    }
}

async fn what_cannot_be_answered_is_refused<F: Fixture>(fixture: &F) {
    let history = fixture.history();
    let bad = |error: ReadError| matches!(error, ReadError::BadRequest { .. });
    assert!(bad(history.range(all("R"), 0).await.unwrap_err()));
    assert!(bad(history.newest(all("R"), 0).await.unwrap_err()));
    let of = all_of_1970();
    assert!(bad(history.buckets(of, Duration::ZERO).await.unwrap_err()));
    let short = Duration::from_millis(100);
    assert!(bad(history.buckets(of, short).await.unwrap_err()));
    let second = Duration::from_secs(1);
    assert!(bad(history.buckets(all("R"), second).await.unwrap_err()));
    history.buckets(of, second).await.unwrap();
}

async fn writers_at_the_same_time_all_get_their_rows_in<F: Fixture>(fixture: &F) {
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

async fn values_of_all_types_are_read<F: Fixture>(fixture: &F) {
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
        ("float", 1, Value::Float(-0.0)),
        ("integer", 3, Value::Integer(7)),
        ("string", 2, string("")),
    ];
    assert_eq!(
        latest,
        expected.map(|(field, second, value)| (field.to_owned(), second, exact(&value)))
    );
}

async fn buckets_are_of_numbers_only<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let of = &[("rig_id", "R")][..];
    let fields = |float, integer| {
        [
            ("bool", Value::Bool(true)),
            ("float", Value::Float(float)),
            ("integer", Value::Integer(integer)),
            ("string", string("7")),
        ]
    };
    let rows = [
        tagged(of, 1, &fields(0.5, -3)),
        tagged(of, 2, &fields(1.5, 1 << 53)),
    ];
    store.write(&rows).await.unwrap();
    let hour = Duration::from_hours(1);
    let found = history.buckets(all_of_1970(), hour).await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|it| (it.field.as_str(), it.buckets[0].count, it.buckets[0].max))
        .collect();
    let most = 9_007_199_254_740_992.0;
    assert_eq!(found, [("float", 2, 1.5), ("integer", 2, most)]);
    let fields = owned(&["bool", "string"]);
    let of = Selection {
        fields: &fields,
        ..all_of_1970()
    };
    assert_eq!(history.buckets(of, hour).await.unwrap(), []);
    assert_eq!(history.range(of, 10).await.unwrap().rows.len(), 2);
}

async fn pages_of_long_strings_are_short<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let long = string(&"x".repeat(MAX_PAGE_TEXT / 4));
    for second in 0..6 {
        let row = tagged(&[("rig_id", "R")], second, &[("text", long.clone())]);
        store.write(&[row]).await.unwrap();
    }
    let page = history.range(all("R"), 100).await.unwrap();
    assert_eq!((page.rows.len(), page.next), (4, Some(seconds(4))));
    assert_eq!(rows_of(history, "R").await.len(), 6);
}
