//! Rows that can't be records.

use model::sample::Value;
use model::{Name, Row};
use store::TransactionalStore;
use testkit::Kafka;

use super::{numbers, pipeline, row, store_of, url};

#[tokio::test]
async fn rows_that_cannot_be_records_are_refused_and_the_others_are_written() {
    let broker = Kafka::shared();
    let file = pipeline(&url(broker), "partitions = 1");
    let mut store = store_of(&file);
    store.open().await.unwrap();
    let mut rows: Vec<Row<'_>> = (0..4).map(row).collect();
    let name = |name: &'static str| Name::new(name).unwrap();
    rows[1].fields.push((name("line"), Value::Float(1.5)));
    let long = Value::String("x".repeat(2 << 20));
    rows[2].fields.push((name("text"), long));
    let (records, refused) = store.encode(&rows);
    store.write(records, "note".to_owned()).await.unwrap();
    assert_eq!(numbers(broker, &file), [0, 3]);
    let [twice, large] = refused.try_into().unwrap();
    assert_eq!(twice.0, 1);
    assert!(
        twice.1.contains("two values for the member \"line\""),
        "{}",
        twice.1
    );
    assert_eq!(large.0, 2);
    assert!(large.1.contains("and the topic takes"), "{}", large.1);
}

#[tokio::test]
async fn the_largest_record_that_a_topic_takes_is_written() {
    let broker = Kafka::shared();
    let file = pipeline(&url(broker), "");
    broker.create_topic_with(&file.name, 1, &["max.message.bytes=5000"]);
    let mut store = store_of(&file);
    store.open().await.unwrap();
    let text = |length: usize| {
        let mut row = row(1);
        let value = Value::String("x".repeat(length));
        row.fields.push((Name::new("text").unwrap(), value));
        row
    };
    let fits = |length| store.encode(&[text(length)]).1.is_empty();
    let longest = (4_000..5_000).rev().find(|length| fits(*length)).unwrap();
    assert!(longest > 4_500, "{longest}");
    let (records, refused) = store.encode(&vec![text(longest); 40]);
    assert_eq!(refused, []);
    store.write(records, "note".to_owned()).await.unwrap();
    assert_eq!(numbers(broker, &file), [1; 40]);
}
