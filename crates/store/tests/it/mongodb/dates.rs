//! Fields that hold times are dates of documents.

use ::mongodb::bson::{Bson, DateTime, doc};
use model::{Row, Timestamp, Value};
use store::{DocumentFilter, History, Order, RowsAtFault, Store, WriteError};

use super::{OfFile, sorted};
use crate::fixture::{rows_of, string, tagged};

/// The built-in file, with the address of the tests' server.
fn file() -> String {
    include_str!("../../../../../pipelines/facilities-store.toml")
        .replace(
            "mongodb://${MONGO_HOST:-localhost}:${MONGO_PORT:-27017}",
            "URL",
        )
        .replace("elixir-data-processing-demo", "DATABASE")
        .replace("${MONGO_BATCH:-1000}", "99")
}

fn row(end: Value) -> Row<'static> {
    let fields = [("avg_humidity", Value::Float(50.25)), ("end_time", end)];
    tagged(&[("facility_name", "facility_1")], 1_767_600_000, &fields)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_of_fields_are_dates_and_come_back_as_strings() {
    let of = OfFile::start(&file()).await;
    // In another zone, and with more digits than a date has.
    let written = row(string("2026-01-05T10:00:10.123999+02:00"));
    for _ in 0..2 {
        of.store
            .write(std::slice::from_ref(&written))
            .await
            .unwrap();
    }
    let mut documents = of.documents().await;
    let received = documents[0].remove("received_at");
    assert!(matches!(received, Some(Bson::DateTime(_))), "{received:?}");
    let window = doc! {
        "end_time": DateTime::from_millis(1_767_600_010_123),
        "start_time": DateTime::from_millis(1_767_600_000_000),
    };
    let expected = doc! {
        "avg_humidity": 50.25,
        "facility_name": "facility_1",
        "window": window,
    };
    if let Some(Bson::Document(window)) = documents[0].get_mut("window") {
        *window = sorted(std::mem::take(window));
    }
    assert_eq!(documents, [expected]);

    let read = row(string("2026-01-05T08:00:10.123Z"));
    let (history, series) = (of.store.history(), r#"{"facility_name":"facility_1"}"#);
    assert_eq!(rows_of(&history, series).await, [read]);
    let latest = history.latest(series).await.unwrap();
    let end = latest.iter().find(|latest| latest.field == "end_time");
    assert_eq!(end.unwrap().value, string("2026-01-05T08:00:10.123Z"));
    let found = history
        .documents(DocumentFilter::default(), Order::NewestFirst, 0, 1)
        .await
        .unwrap();
    let mut found = found[0].clone();
    found.remove("received_at");
    assert_eq!(found, history.document_of(&written));
    assert_eq!(found["window"]["end_time"], "2026-01-05T08:00:10.123Z");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_whose_field_is_no_time_is_refused() {
    let of = OfFile::start(&file()).await;
    let good = row(string("2026-01-05T08:00:10Z"));
    let mut without = good.clone();
    without.fields.pop();
    for (bad, why) in [
        (
            row(string("soon")),
            "\"end_time\" is \"soon\", which is not",
        ),
        (row(string("2026-01-05T08:00:10")), "with a zone"),
        (row(string("3000-01-01T00:00:00Z")), "after the year 2261"),
        (row(Value::Float(1.5)), "no string"),
        (without, "there is no \"end_time\""),
    ] {
        match of.store.write(&[good.clone(), bad]).await {
            Err(WriteError::Rejected { detail, at_fault }) => {
                assert!(detail.starts_with("row 2 of 2: "), "{detail}");
                assert!(detail.contains(why), "{detail}");
                assert_eq!(at_fault, RowsAtFault::Some);
            }
            other => panic!("{other:?}"),
        }
    }
    of.store.write(&[good]).await.unwrap();
    assert_eq!(of.documents().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deviations_are_those_of_all_documents_of_a_tag() {
    let of = OfFile::start(&file()).await;
    let end = || ("end_time", string("2026-01-05T08:00:10Z"));
    let row = |facility: &str, second: i64, value: Value| Row {
        timestamp: Timestamp::from_millis(second * 1_000),
        ..tagged(
            &[("facility_name", facility)],
            0,
            &[("avg_humidity", value), end()],
        )
    };
    let float = Value::Float;
    let rows = [
        // A sum of squares would have no right digit here.
        row("a", 1, float(1e9 + 4.0)),
        row("a", 2, float(1e9 + 7.0)),
        row("a", 3, float(1e9 + 13.0)),
        row("a", 4, float(1e9 + 16.0)),
        row("b", 1, float(5.0)),
        row("b", 2, float(5.0)),
        row("c", 1, float(5.0)),
    ];
    of.store.write(&rows).await.unwrap();
    // Documents of others aren't of any facility.
    of.collection
        .insert_one(doc! { "avg_humidity": 1.0 })
        .await
        .unwrap();
    let found = of
        .store
        .history()
        .deviations("facility_name", &["avg_humidity", "avg_pressure"])
        .await
        .unwrap();
    let found: Vec<_> = found.into_iter().collect();
    let expected = [
        ("a".to_owned(), vec![Some(30.0_f64.sqrt()), None]),
        ("b".to_owned(), vec![Some(0.0), None]),
        ("c".to_owned(), vec![None, None]),
    ];
    assert_eq!(found, expected);
    let unknown = of.store.history().deviations("none", &["x"]).await;
    assert!(unknown.is_err(), "{unknown:?}");
}
