//! What every store with a history promises of series with any tags.

use std::time::Duration;

use model::{Layout, Row, Value};
use store::history::{Selection, SeriesSpan};
use store::{History, Store};

use crate::fixture::{
    OnInflux, OnSqlite, Written, all, all_rows, keys, rows_of, seconds, sort, tagged, tags,
};
use crate::writes::STRANGE;

macro_rules! contract {
    ($($test:ident)+) => {
        contract! { on_sqlite: OnSqlite; $($test)+ }
        contract! { on_influxdb: OnInflux; $($test)+ }
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
    series_are_named_by_their_tags
    series_with_more_tags_is_another
    any_tag_can_be_asked_for
    keys_that_no_series_has_are_empty
    stores_side_by_side_see_their_own
}

fn float(value: f64) -> Value {
    Value::Float(value)
}

async fn series_are_named_by_their_tags<B: Written>(backend: &B) {
    let (store, history) = (backend.store(), backend.history());
    let of = [("site", "a \"b\""), ("device", "\u{1f600}")];
    let rows = [
        tagged(&of, 1, &[("f", float(1.0))]),
        tagged(&[], 2, &[("f", float(2.0))]),
        tagged(&of, 3, &[("f", float(3.0))]),
    ];
    store.write(&rows).await.unwrap();
    let span = |key: &str, of, first, last| SeriesSpan {
        key: key.to_owned(),
        tags: of,
        first: seconds(first),
        last: seconds(last),
    };
    let key = "{\"device\":\"\u{1f600}\",\"site\":\"a \\\"b\\\"\"}";
    assert_eq!(
        history.series().await.unwrap(),
        [span(key, tags(&of), 1, 3), span("{}", tags(&[]), 2, 2)]
    );
    assert_eq!(Layout::Tagged.series_key(&rows[0].tags), key);
    assert_eq!(
        rows_of(history, key).await,
        [rows[0].clone(), rows[2].clone()]
    );
    assert_eq!(rows_of(history, "{}").await, rows[1..2]);
}

async fn series_with_more_tags_is_another<B: Written>(backend: &B) {
    let (store, history) = (backend.store(), backend.history());
    let sets: [&[(&str, &str)]; 4] = [
        &[],
        &[("a", "x")],
        &[("a", "x"), ("b", "y")],
        &[("b", "y"), ("$", "z")],
    ];
    let mut rows = Vec::new();
    for (of, second) in sets.iter().zip(1_i32..) {
        let text = Value::String(second.to_string());
        let fields = [("f", float(second.into())), ("text", text)];
        rows.push(tagged(of, second.into(), &fields));
    }
    store.write(&rows).await.unwrap();
    for (row, second) in rows.iter().zip(1_i64..) {
        let key = &*Layout::Tagged.series_key(&row.tags);
        let only = std::slice::from_ref(row);
        assert_eq!(rows_of(history, key).await, only);
        assert_eq!(history.newest(all(key), 10).await.unwrap().rows, only);
        assert_eq!(history.fields(Some(key)).await.unwrap(), ["f", "text"]);
        let latest = history.latest(key).await.unwrap();
        let latest: Vec<_> = latest.into_iter().map(|it| (it.tick, it.value)).collect();
        let expected = row.fields.iter();
        let expected: Vec<_> = expected.map(|it| (row.timestamp, it.1.clone())).collect();
        assert_eq!(latest, expected);
        let of = Selection {
            from: seconds(0),
            to: seconds(10),
            ..all(key)
        };
        let buckets = history.buckets(of, Duration::from_secs(1)).await.unwrap();
        assert_eq!(buckets[0].buckets.len(), 1);
        assert_eq!(buckets[0].buckets[0].start, seconds(second));
    }
}

async fn any_tag_can_be_asked_for<B: Written>(backend: &B) {
    let (store, history) = (backend.store(), backend.history());
    let names = STRANGE
        .iter()
        .chain(&["_name", "_f", "_m", "result", "table", "name"]);
    let mut rows: Vec<Row<'_>> = names
        .zip(1_i64..)
        .flat_map(|(name, second)| {
            let row = |value| tagged(&[(name, value), ("v", name)], second, &[(name, float(0.5))]);
            [row("x"), row("y")]
        })
        .collect();
    store.write(&rows).await.unwrap();
    for row in &rows {
        let key = &*Layout::Tagged.series_key(&row.tags);
        let fields = [row.fields[0].0.to_string()];
        let of = Selection {
            fields: &fields,
            ..all(key)
        };
        assert_eq!(
            history.range(of, 10).await.unwrap().rows,
            std::slice::from_ref(row)
        );
    }
    sort(&mut rows);
    assert_eq!(all_rows(history).await, rows);
}

async fn keys_that_no_series_has_are_empty<B: Written>(backend: &B) {
    let (store, history) = (backend.store(), backend.history());
    let of = [("a", "x"), ("b", "y")];
    store
        .write(&[tagged(&of, 1, &[("f", float(1.0))])])
        .await
        .unwrap();
    for key in [
        "",
        "x",
        "{}",
        "{\"a\":\"x\"}",
        "{\"b\":\"y\",\"a\":\"x\"}",
        "{\"a\":\"x\", \"b\":\"y\"}",
        "{\"a\":7,\"b\":\"y\"}",
        "{\"a\":\"x\",\"b\":\"y\",\"c\":\"\"}",
        "{\"a\":\"x\\\" or true or \\\"\",\"b\":\"y\"}",
    ] {
        assert_eq!(rows_of(history, key).await, [], "{key}");
        assert_eq!(history.latest(key).await.unwrap(), [], "{key}");
        assert_eq!(history.fields(Some(key)).await.unwrap(), [""; 0], "{key}");
        assert_eq!(history.statistics(all(key)).await.unwrap(), [], "{key}");
    }
    assert_eq!(keys(history).await, ["{\"a\":\"x\",\"b\":\"y\"}"]);
}

async fn stores_side_by_side_see_their_own<B: Written>(backend: &B) {
    let beside = backend.beside();
    let row = |field| [tagged(&[("a", "x")], 1, &[(field, float(1.0))])];
    backend.store().write(&row("f")).await.unwrap();
    beside.store().write(&row("g")).await.unwrap();
    for (backend, field) in [(backend, "f"), (&beside, "g")] {
        let history = backend.history();
        assert_eq!(all_rows(history).await, row(field));
        assert_eq!(history.fields(None).await.unwrap(), [field]);
        assert_eq!(history.latest_of_all().await.unwrap()[0].values.len(), 1);
    }
}
