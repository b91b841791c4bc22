//! Random rows, beside a slow and plain model.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Name, Row, Timestamp, Value};
use proptest::prelude::*;
use store::history::{Bucket, FieldBuckets, Latest, Selection, SeriesLatest, SeriesSpan};
use store::{History, Store};

use crate::fixture::{Fixture, OnInflux, OnInfluxOfRigs, OnSqlite, OnTagged, exact, seconds, tags};
#[cfg(feature = "mongodb")]
use crate::fixture::{OnMongo, OnMongoOfRigs};

const RIGS: [&str; 3] = ["R", "r", "other"];
const FLOATS: [&str; 5] = ["temp", "Temp", "flow", "tick", "p.1"];
const INTEGERS: [&str; 2] = ["count", "a \"b\", c=d"];
const OTHERS: [&str; 3] = ["open", "state", "'\\.\u{1f600}"];
const CASES: u32 = 48;

type Model = BTreeMap<&'static str, BTreeMap<i64, BTreeMap<String, Value>>>;

/// A field's name with a value of its type.
fn field() -> impl Strategy<Value = (&'static str, Value)> {
    let float = prop_oneof![
        4 => -100.0..100.0,
        2 => (0_i32..1_000).prop_map(|small| 1e9 + f64::from(small) / 1_024.0),
        1 => Just(-0.0),
    ];
    let float = (
        prop::sample::select(&FLOATS[..]),
        float.prop_map(Value::Float),
    );
    let integer = prop_oneof![-100_i64..100, -(1_i64 << 40)..(1 << 40)];
    let integer = (
        prop::sample::select(&INTEGERS[..]),
        integer.prop_map(Value::Integer),
    );
    let text = prop::sample::select(&["", "on", "o'ff\n\""][..]);
    let text = text.prop_map(|text| Value::String(text.to_owned()));
    prop_oneof![
        6 => float,
        2 => integer,
        1 => (Just(OTHERS[0]), any::<bool>().prop_map(Value::Bool)),
        1 => (prop::sample::select(&OTHERS[1..]), text),
    ]
}

fn rows() -> impl Strategy<Value = Vec<Row<'static>>> {
    let tick = prop_oneof![
        // Few, so that many meet.
        6 => (-5_i64..40).prop_map(|second| second * 1_000_000_000),
        1 => (-9_000_i64..9_000).prop_map(|second| second * 1_000_000_000 + 1),
    ];
    let fields = prop::collection::vec(field(), 1..5);
    let fields = fields.prop_map(|fields| fields.into_iter().collect::<BTreeMap<_, _>>());
    let row = (prop::sample::select(&RIGS[..]), tick, fields).prop_map(|(rig, tick, fields)| {
        let mut row = Row::of_rig(Name::new(rig).unwrap(), Timestamp::from_nanos(tick));
        row.fields = fields
            .into_iter()
            .map(|(name, value)| (Name::new(name).unwrap(), value))
            .collect();
        row
    });
    prop::collection::vec(row, 1..40)
}

fn merge(model: &mut Model, rows: &[Row<'_>]) {
    for row in rows {
        let rig = RIGS.iter().find(|rig| *row.tags[0].1 == ***rig).unwrap();
        let ticks = model.entry(rig).or_default();
        let cells = ticks.entry(row.timestamp.nanos()).or_default();
        for (name, value) in &row.fields {
            cells.insert(name.to_string(), value.clone());
        }
    }
}

/// What a selection has: ticks with what is asked for of each.
fn chosen(model: &Model, of: Selection<'_>) -> Vec<(i64, Vec<(String, Value)>)> {
    let Some(ticks) = model.get(of.series) else {
        return Vec::new();
    };
    let asked = |name: &str| of.fields.is_empty() || of.fields.iter().any(|it| it == name);
    let inside = ticks
        .iter()
        .filter(|(tick, _)| (of.from.nanos()..of.to.nanos()).contains(tick));
    inside
        .map(|(tick, cells)| {
            let cells = cells.iter().filter(|(name, _)| asked(name));
            let cells = cells.map(|(name, value)| (name.clone(), value.clone()));
            (*tick, cells.collect())
        })
        .filter(|(_, cells): &(_, Vec<_>)| !cells.is_empty())
        .collect()
}

async fn assert_series<H: History>(history: &H, model: &Model) {
    let span = |(rig, ticks): (&&str, &BTreeMap<i64, _>)| SeriesSpan {
        key: (*rig).to_owned(),
        tags: tags(&[("rig_id", rig)]),
        first: Timestamp::from_nanos(*ticks.first_key_value().unwrap().0),
        last: Timestamp::from_nanos(*ticks.last_key_value().unwrap().0),
    };
    let spans: Vec<_> = model.iter().map(span).collect();
    assert_eq!(history.series().await.unwrap(), spans);
    let mut everywhere = BTreeMap::new();
    let mut of_all = Vec::new();
    for (rig, ticks) in model {
        let mut newest = BTreeMap::new();
        for (tick, cells) in ticks {
            let cells = cells.iter();
            newest.extend(cells.map(|(name, value)| (name.clone(), (*tick, value.clone()))));
        }
        let latest: Vec<_> = newest
            .iter()
            .map(|(field, (tick, value))| Latest {
                field: field.clone(),
                tick: Timestamp::from_nanos(*tick),
                value: value.clone(),
            })
            .collect();
        assert_eq!(history.latest(rig).await.unwrap(), latest);
        of_all.push(SeriesLatest {
            key: (*rig).to_owned(),
            values: latest,
        });
        let names: Vec<_> = newest.keys().cloned().collect();
        assert_eq!(history.fields(Some(rig)).await.unwrap(), names);
        everywhere.extend(newest);
    }
    assert_eq!(history.latest_of_all().await.unwrap(), of_all);
    let names: Vec<String> = everywhere.into_keys().collect();
    assert_eq!(history.fields(None).await.unwrap(), names);
}

async fn assert_range<H: History>(history: &H, model: &Model, of: Selection<'_>, limit: usize) {
    let mut read = Vec::new();
    let mut at = of;
    loop {
        let page = history.range(at, limit).await.unwrap();
        assert!(page.rows.len() <= limit);
        read.extend(page.rows);
        match page.next {
            Some(next) => at.from = next,
            None => break,
        }
    }
    let bits = |name: &str, value: &Value| (name.to_owned(), exact(value));
    let read: Vec<_> = read
        .iter()
        .map(|row| {
            let fields = row.fields.iter().map(|(name, value)| bits(name, value));
            (row.timestamp.nanos(), fields.collect::<Vec<_>>())
        })
        .collect();
    let expected: Vec<_> = chosen(model, of)
        .into_iter()
        .map(|(tick, cells)| {
            let cells = cells.iter().map(|(name, value)| bits(name, value));
            (tick, cells.collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(read, expected);
}

fn close(found: f64, exact: f64) -> bool {
    (found - exact).abs() <= 1e-12 * exact.abs().max(1e6)
}

async fn assert_buckets<H: History>(history: &H, model: &Model, of: Selection<'_>, step: u32) {
    let fields = history.buckets(of, Duration::from_secs(step.into()));
    let fields: Vec<FieldBuckets> = fields.await.unwrap();
    let length = i64::from(step) * 1_000_000_000;
    let mut expected: BTreeMap<String, BTreeMap<i64, Vec<f64>>> = BTreeMap::new();
    for (tick, cells) in chosen(model, of) {
        for (name, value) in cells {
            let Some(value) = value.as_number() else {
                continue;
            };
            let start = tick.div_euclid(length) * length;
            let buckets = expected.entry(name).or_default();
            buckets.entry(start).or_default().push(value);
        }
    }
    let found: Vec<_> = fields.iter().map(|it| &it.field).collect();
    assert_eq!(found, expected.keys().collect::<Vec<_>>());
    for (field, buckets) in fields.iter().zip(expected.values()) {
        let starts: Vec<_> = field.buckets.iter().map(|it| it.start.nanos()).collect();
        assert_eq!(starts, buckets.keys().copied().collect::<Vec<_>>());
        for (found, values) in field.buckets.iter().zip(buckets.values()) {
            assert_statistics(found, values);
        }
    }
}

async fn assert_whole<H: History>(history: &H, model: &Model, of: Selection<'_>) {
    let mut expected: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (_, cells) in chosen(model, of) {
        for (name, value) in cells {
            if let Some(value) = value.as_number() {
                expected.entry(name).or_default().push(value);
            }
        }
    }
    let found = history.statistics(of).await.unwrap();
    let names: Vec<_> = found.iter().map(|it| &it.field).collect();
    assert_eq!(names, expected.keys().collect::<Vec<_>>());
    for (found, values) in found.iter().zip(expected.values()) {
        assert_eq!(found.statistics.start, of.from);
        assert_statistics(&found.statistics, values);
    }
}

fn assert_statistics(found: &Bucket, values: &[f64]) {
    let count = f64::from(u32::try_from(values.len()).unwrap());
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let (min, max) = (
        values.iter().copied().fold(f64::INFINITY, f64::min),
        values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    );
    assert_eq!(found.count, values.len() as u64);
    assert_eq!((found.min, found.max), (min, max));
    assert!(close(found.mean, mean), "{found:?}: {mean}");
    match found.stddev {
        Some(stddev) => {
            let exact = (squares / (count - 1.0)).sqrt();
            assert!(close(stddev, exact), "{found:?}: {exact}");
        }
        None => assert_eq!(found.count, 1),
    }
}

#[derive(Debug, Clone)]
struct Case {
    batches: Vec<Vec<Row<'static>>>,
    /// Each batch is written twice.
    again: bool,
    from: i64,
    length: i64,
    limit: usize,
    step: u32,
    fields: Vec<String>,
}

fn cases() -> impl Strategy<Value = Case> {
    let batches = prop::collection::vec(rows(), 1..4);
    let all: Vec<_> = [&FLOATS[..], &INTEGERS[..], &OTHERS[..]].concat();
    let fields = prop::sample::subsequence(all, 0..4);
    let numbers = (-6_i64..40, 0_i64..60, 1_usize..9, 1_u32..50);
    (batches, any::<bool>(), numbers, fields).prop_map(
        |(batches, again, (from, length, limit, step), fields)| Case {
            batches,
            again,
            from,
            length,
            limit,
            step,
            fields: fields.into_iter().map(str::to_owned).collect(),
        },
    )
}

async fn agrees<F: Fixture>(case: &Case) {
    let fixture = F::start();
    let mut model = Model::new();
    let mut batches = case.batches.clone();
    for row in batches.iter_mut().flatten() {
        row.timestamp = row.timestamp.tick(F::PRECISION);
        for (_, value) in &mut row.fields {
            *value = F::kept(value.clone());
        }
    }
    for batch in &batches {
        fixture.store().write(batch).await.unwrap();
        if case.again {
            fixture.store().write(batch).await.unwrap();
        }
        merge(&mut model, batch);
    }
    let history = fixture.history();
    assert_series(history, &model).await;
    for rig in RIGS {
        let near = Selection {
            series: rig,
            fields: &case.fields,
            from: seconds(case.from),
            to: seconds(case.from + case.length),
        };
        let far = Selection {
            from: seconds(-20_000),
            to: seconds(20_000),
            ..near
        };
        for of in [near, far] {
            assert_range(history, &model, of, case.limit).await;
            assert_buckets(history, &model, of, case.step).await;
            assert_whole(history, &model, of).await;
        }
    }
    fixture.check();
}

fn block_on(run: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(run);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn on_sqlite(case in cases()) {
        block_on(agrees::<OnSqlite>(&case));
    }
    #[test]
    fn on_sqlite_with_any_tags(case in cases()) {
        block_on(agrees::<OnTagged<OnSqlite>>(&case));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(8) })]

    #[test]
    fn on_influxdb(case in cases()) {
        block_on(agrees::<OnInfluxOfRigs>(&case));
    }
    #[test]
    fn on_influxdb_with_any_tags(case in cases()) {
        block_on(agrees::<OnTagged<OnInflux>>(&case));
    }
}

#[cfg(feature = "mongodb")]
proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(8) })]

    #[test]
    fn on_mongodb(case in cases()) {
        block_on(agrees::<OnMongoOfRigs>(&case));
    }
    #[test]
    fn on_mongodb_with_any_tags(case in cases()) {
        block_on(agrees::<OnTagged<OnMongo>>(&case));
    }
}
