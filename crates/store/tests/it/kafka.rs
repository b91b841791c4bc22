//! The store in Kafka: transactions on a real broker, read by another client.

use std::sync::atomic::{AtomicU32, Ordering};

use common::settings::KafkaTls;
use model::pipeline::PipelineFile;
use model::{Name, Row, Timestamp};
use serde_json::{Value, json};
use store::{KafkaStore, TransactionalStore, WriteError};
use testkit::Kafka;

mod brokers;
mod records;

/// A pipeline of its own, whose topic has its name.
fn pipeline(url: &str, more: &str) -> PipelineFile {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let name = format!("rows-{}", MADE.fetch_add(1, Ordering::Relaxed));
    let text = format!(
        "name = \"{name}\"\n[source]\ntopic = \"a/{{line}}/{{device}}/{{field}}\"\n\
         [rows]\nshape = \"window\"\nevery = \"10s\"\n\
         [[store]]\nkind = \"kafka\"\nurl = \"{url}\"\ntopic = \"{name}\"\n{more}"
    );
    PipelineFile::parse("a.toml", &text, &|_| None).unwrap()
}

fn store_of(file: &PipelineFile) -> KafkaStore {
    KafkaStore::of_file(file, &file.store[0], &KafkaTls::default()).unwrap()
}

fn url(broker: &Kafka) -> String {
    format!("kafka://127.0.0.1:{}", broker.port())
}

/// A row with this number, of one of three series.
fn row(number: i64) -> Row<'static> {
    let device = format!("d{}", number % 3);
    let name = |name: String| Name::new(name).unwrap();
    Row {
        tags: vec![
            (name("device".into()), name(device)),
            (name("line".into()), name("l".into())),
        ],
        timestamp: Timestamp::from_millis(1_767_600_000_000 + number * 10_000),
        fields: vec![(name("number".into()), model::sample::Value::Integer(number))],
    }
}

fn rows(numbers: std::ops::Range<i64>) -> Vec<Row<'static>> {
    numbers.map(row).collect()
}

async fn write(store: &mut KafkaStore, numbers: std::ops::Range<i64>) -> Result<(), WriteError> {
    let note = format!("up to {}", numbers.end);
    let (records, refused) = store.encode(&rows(numbers));
    assert_eq!(refused, []);
    store.write(records, note).await
}

/// The committed records of a pipeline's topic.
fn records(broker: &Kafka, file: &PipelineFile) -> Vec<(String, Value)> {
    let found = broker.consume(&file.name).into_iter();
    let read = |record: Value| {
        let value = base64_of(&record["value"]);
        let value = serde_json::from_slice(&value).unwrap();
        (record["key"].as_str().unwrap().to_owned(), value)
    };
    found.map(read).collect()
}

fn base64_of(value: &Value) -> Vec<u8> {
    use base64::Engine;
    let engine = base64::engine::general_purpose::STANDARD;
    engine.decode(value.as_str().unwrap()).unwrap()
}

fn numbers(broker: &Kafka, file: &PipelineFile) -> Vec<i64> {
    let mut numbers: Vec<_> = records(broker, file)
        .iter()
        .map(|(_, value)| value["number"].as_i64().unwrap())
        .collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn transactions_have_notes_that_the_next_writer_reads() {
    let broker = Kafka::shared();
    let file = pipeline(&url(broker), "partitions = 3");
    let mut store = store_of(&file);
    assert!(!store.is_open());
    assert_eq!(store.open().await, Ok(None));
    for start in [0, 100, 200] {
        write(&mut store, start..start + 100).await.unwrap();
    }
    store.preflight().await.unwrap();
    let mut second = store_of(&file);
    assert_eq!(second.open().await, Ok(Some("up to 300".to_owned())));
    // The first one is fenced.
    let error = write(&mut store, 300..310).await.unwrap_err();
    assert!(matches!(error, WriteError::Retry { .. }), "{error}");
    assert!(!store.is_open());
    write(&mut second, 300..310).await.unwrap();
    assert_eq!(store.open().await, Ok(Some("up to 310".to_owned())));
    write(&mut store, 310..320).await.unwrap();
    assert_eq!(numbers(broker, &file), (0..320).collect::<Vec<_>>());
    // Rows of a series are in one partition, in order.
    for (key, value) in records(broker, &file) {
        let device = format!("d{}", value["number"].as_i64().unwrap() % 3);
        assert_eq!(key, format!("{device},l"));
    }
}

#[tokio::test]
async fn the_last_note_is_found_behind_many_others() {
    let broker = Kafka::shared();
    let file = pipeline(&url(broker), "partitions = 1");
    let mut store = store_of(&file);
    store.open().await.unwrap();
    for number in 0..150 {
        write(&mut store, number..number + 1).await.unwrap();
    }
    // Transactions without a note of ours, as a broker leaves them that has compacted the notes away.
    let state = format!("rigline-{}-state", *file.name);
    let other = json!({ "key": "other", "value": "x" });
    for _ in 0..3 {
        broker.produce_in_transaction(&state, &vec![other.clone(); 60], true);
    }
    broker.produce_in_transaction(&state, &[other], false);
    assert_eq!(
        store_of(&file).open().await,
        Ok(Some("up to 150".to_owned()))
    );
}

#[tokio::test]
async fn json_records_have_tags_time_and_fields() {
    let broker = Kafka::shared();
    let columns = "partitions = 1\n[store.columns]\n\"at.from\" = \"$start\"\n\"at.until\" = \"$end\"\n\
                   \"at.device\" = \"device\"";
    let file = pipeline(&url(broker), columns);
    let plain = pipeline(&url(broker), "partitions = 1");
    for file in [&file, &plain] {
        let mut store = store_of(file);
        store.open().await.unwrap();
        write(&mut store, 4..5).await.unwrap();
    }
    let at = json!({
        "from": "2026-01-05T08:00:40Z", "until": "2026-01-05T08:00:50Z", "device": "d1"
    });
    let expected = json!({ "at": at, "line": "l", "number": 4 });
    assert_eq!(records(broker, &file), [("d1,l".to_owned(), expected)]);
    let expected =
        json!({ "time": "2026-01-05T08:00:40Z", "device": "d1", "line": "l", "number": 4 });
    assert_eq!(records(broker, &plain), [("d1,l".to_owned(), expected)]);
}
