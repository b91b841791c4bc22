//! Random rows with strange names and values of all types, on every store, beside a plain model.

use std::collections::BTreeMap;

use model::{Row, Value};
use proptest::prelude::*;
use store::Store;

use crate::fixture::{OnInflux, OnSqlite, Written, all_rows, exact, tagged};
use crate::writes::STRANGE;

/// By tags and second: the values by field, as they are exactly.
type Model = BTreeMap<(Vec<(String, String)>, i64), BTreeMap<String, String>>;

/// A field has one type. Which one is in its name.
fn fields() -> impl Strategy<Value = BTreeMap<String, Value>> {
    let name = prop_oneof![
        3 => prop::sample::select(&STRANGE[..]).prop_map(str::to_owned),
        1 => r#"[a-z ,="'\\.é😀]{0,6}z"#.prop_filter("one that InfluxDB can carry", |name| {
            !hides_a_separator(name)
        }),
    ];
    let text = prop_oneof![r#"[ ,=\\"\n\r#'a1é\x00]{0,8}"#, any::<String>()];
    let value = prop_oneof![
        proptest::num::f64::NORMAL.prop_map(Value::Float),
        any::<i64>().prop_map(Value::Integer),
        any::<bool>().prop_map(Value::Bool),
        text.prop_map(Value::String),
    ];
    let field = (name, value).prop_map(|(name, value)| {
        let kind = match value {
            Value::Float(_) => "f",
            Value::Integer(_) => "i",
            Value::Bool(_) => "b",
            Value::String(_) => "s",
        };
        (format!("{kind}{name}"), value)
    });
    let fields = prop::collection::vec(field, 1..4);
    fields.prop_map(|fields| fields.into_iter().collect())
}

/// Whether an odd number of backslashes is before a comma, a space or an equals sign.
fn hides_a_separator(name: &str) -> bool {
    let mut backslashes = 0;
    name.chars().any(|c| {
        let is_hidden = " ,=".contains(c) && backslashes % 2 == 1;
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
        is_hidden
    })
}

fn rows() -> impl Strategy<Value = Vec<Row<'static>>> {
    let name = || prop::sample::select(&STRANGE[..]);
    // Few series and times, so that many rows meet.
    let series = prop::collection::btree_map(name(), name(), 0..4);
    prop::collection::vec(series, 1..5).prop_flat_map(|series| {
        let row = (prop::sample::select(series), 0_i64..6, fields());
        let row = row.prop_map(|(of, second, fields)| {
            let of: Vec<_> = of.into_iter().collect();
            let fields: Vec<_> = fields.into_iter().collect();
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| (name.as_str(), value.clone()))
                .collect();
            tagged(&of, second, &fields)
        });
        prop::collection::vec(row, 1..60)
    })
}

fn merge(model: &mut Model, rows: &[Row<'_>]) {
    for row in rows {
        let of = row.tags.iter();
        let of = of.map(|(name, value)| (name.to_string(), value.to_string()));
        let cells = model.entry((of.collect(), row.timestamp.seconds()));
        let fields = row.fields.iter();
        cells
            .or_default()
            .extend(fields.map(|(name, value)| (name.to_string(), exact(value))));
    }
}

async fn what_was_written_is_read<B: Written>(batches: &[Vec<Row<'static>>]) {
    let backend = B::start();
    let mut expected = Model::new();
    for batch in batches {
        backend.store().write(batch).await.unwrap();
        merge(&mut expected, batch);
        // Written again, as after a lost answer.
        backend.store().write(batch).await.unwrap();
    }
    let mut read = Model::new();
    merge(&mut read, &backend.rows().await);
    assert_eq!(read, expected);
    let mut read = Model::new();
    merge(&mut read, &all_rows(backend.history()).await);
    assert_eq!(read, expected);
    backend.check();
}

fn block_on(run: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(run);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn on_sqlite(batches in prop::collection::vec(rows(), 1..4)) {
        block_on(what_was_written_is_read::<OnSqlite>(&batches));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(16) })]

    #[test]
    fn on_influxdb(batches in prop::collection::vec(rows(), 1..4)) {
        block_on(what_was_written_is_read::<OnInflux>(&batches));
    }
}
