//! The ingester between a real Kafka and a queue in a file.

use std::sync::atomic::{AtomicU32, Ordering};

use common::clock::Clock;
use common::settings::KafkaTls;
use ingester::decoder::{Decoder, MappedDecoder};
use ingester::settings::Work;
use model::pipeline::{PipelineError, PipelineFile};
use model::position::Positions;
use queue::Queue;
use queue::ledger::Counter;
use queue::list::List;
use queue::testing::{Delivery, FaultyQueue, Running, TempQueue, wait_until};
use serde_json::{Value, json};
use testkit::Kafka;
use transport::{KafkaSource, kafka_reader};

mod brokers;

/// A topic of its own, and a pipeline that reads it.
struct Topic {
    name: String,
    file: PipelineFile,
}

impl Topic {
    fn new(broker: &Kafka, partitions: u32) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("topic-{}", MADE.fetch_add(1, Ordering::Relaxed));
        broker.create_topic(&name, partitions);
        Self::without_topic(broker, &name)
    }

    fn without_topic(broker: &Kafka, name: &str) -> Self {
        Self::at(name, &format!("kafka://127.0.0.1:{}", broker.port()), "")
    }

    fn at(name: &str, url: &str, more: &str) -> Self {
        Self {
            name: name.to_owned(),
            file: pipeline_with(name, url, more).unwrap(),
        }
    }

    fn queue(&self) -> TempQueue {
        TempQueue::new(queue::testing::settings().of_pipeline(&self.file.name))
    }
}

fn pipeline_with(topic: &str, url: &str, more: &str) -> Result<PipelineFile, PipelineError> {
    let text = format!(
        r#"
        name = "{topic}"
        [source]
        kind = "kafka"
        url = "{url}"
        topic = "{topic}"
        {more}
        [message]
        tags = {{ device = "/device" }}
        fields = {{ number = "/number" }}
        time = "/time"
        "#
    );
    PipelineFile::parse("kafka.toml", &text, &|_| None)
}

fn start_on(handle: impl Queue, queue: &TempQueue, topic: &Topic, tls: &KafkaTls) -> Running {
    let work = Work {
        decoder: Decoder::Mapped(Box::new(MappedDecoder::new(&topic.file))),
        queue: queue.settings().clone(),
    };
    let reader = kafka_reader(&topic.file, tls, 100).unwrap();
    let session = move |up, positions| KafkaSource::start(&reader, up, positions);
    Running::start_at(Clock::system(), |process| {
        ingester::run(work, handle, session, process)
    })
}

fn start_with_tls(queue: &TempQueue, topic: &Topic, tls: &KafkaTls) -> Running {
    start_on(queue.open(), queue, topic, tls)
}

fn start(queue: &TempQueue, topic: &Topic) -> Running {
    start_with_tls(queue, topic, &KafkaTls::default())
}

/// A record with this number.
fn record(number: i64) -> Value {
    let time = Clock::system().now().to_string();
    let value = json!({ "device": "a", "number": number, "time": time });
    json!({ "key": "a", "value": value.to_string() })
}

fn records(numbers: std::ops::Range<i64>) -> Vec<Value> {
    numbers.map(record).collect()
}

/// The numbers in the raw list, in order.
fn numbers(queue: &TempQueue) -> Vec<i64> {
    let elements = queue.items(List::Raw).into_iter();
    let number = |element: Vec<u8>| {
        let element: Value = serde_json::from_slice(&element).unwrap();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "they were made of integers"
        )]
        let number = element["values"]["number"].as_f64().unwrap() as i64;
        number
    };
    elements.map(number).collect()
}

async fn accepted(queue: &TempQueue, count: i64) {
    crate::fixture::accepted(queue, count).await;
}

async fn positions(queue: &TempQueue) -> Positions {
    queue.open().positions().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_record_enters_once_over_restarts_and_the_group_shows_how_far() {
    let broker = Kafka::shared();
    let topic = Topic::new(broker, 1);
    let queue = topic.queue();
    broker.produce(&topic.name, &records(0..500));
    let stage = start(&queue, &topic);
    accepted(&queue, 500).await;
    stage.stop().await;
    assert_eq!(
        broker.group_offsets(&format!("rigline-{}", topic.name), &topic.name)["0"],
        500
    );
    broker.produce(&topic.name, &records(500..700));
    let stage = start(&queue, &topic);
    accepted(&queue, 700).await;
    stage.stop().await;
    assert!(numbers(&queue).into_iter().eq(0..700));
    let positions = positions(&queue).await;
    let position = &positions[&format!("{}/0", topic.name)];
    assert!(position.ends_with(":700"), "{position}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn append_without_reply_is_not_read_again() {
    let broker = Kafka::shared();
    let topic = Topic::new(broker, 1);
    let queue = topic.queue();
    broker.produce(&topic.name, &records(0..50));
    let deliveries = [Delivery::Applied, Delivery::Dropped, Delivery::Delayed];
    let faulty = FaultyQueue::for_appends(queue.open(), &deliveries);
    let stage = start_on(faulty, &queue, &topic, &KafkaTls::default());
    accepted(&queue, 50).await;
    broker.produce(&topic.name, &records(50..100));
    accepted(&queue, 100).await;
    stage.stop().await;
    assert!(
        numbers(&queue).into_iter().eq(0..100),
        "{:?}",
        numbers(&queue)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_aborted_transactions_are_left_out() {
    let broker = Kafka::shared();
    let topic = Topic::new(broker, 1);
    let queue = topic.queue();
    broker.produce_in_transaction(&topic.name, &records(0..10), true);
    broker.produce_in_transaction(&topic.name, &records(10..20), false);
    broker.produce_in_transaction(&topic.name, &records(20..30), true);
    let stage = start(&queue, &topic);
    accepted(&queue, 20).await;
    stage.stop().await;
    assert!(numbers(&queue).into_iter().eq((0..10).chain(20..30)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_that_is_made_again_is_read_from_its_start() {
    let broker = Kafka::shared();
    let topic = Topic::new(broker, 1);
    let queue = topic.queue();
    broker.produce(&topic.name, &records(0..20));
    let stage = start(&queue, &topic);
    accepted(&queue, 20).await;
    broker.delete_topic(&topic.name);
    broker.create_topic(&topic.name, 1);
    // More than the old one had, so that its position lies within the new one.
    broker.produce(&topic.name, &records(20..60));
    accepted(&queue, 60).await;
    stage.stop().await;
    // While nothing reads it.
    broker.delete_topic(&topic.name);
    broker.create_topic(&topic.name, 1);
    broker.produce(&topic.name, &records(60..150));
    let stage = start(&queue, &topic);
    accepted(&queue, 150).await;
    stage.stop().await;
    assert!(
        numbers(&queue).into_iter().eq(0..150),
        "{:?}",
        numbers(&queue)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_retention_deletes_are_skipped() {
    let broker = Kafka::shared();
    let topic = Topic::new(broker, 1);
    let queue = topic.queue();
    broker.produce(&topic.name, &records(0..10));
    let stage = start(&queue, &topic);
    accepted(&queue, 10).await;
    stage.stop().await;
    broker.produce(&topic.name, &records(10..30));
    broker.delete_records(&topic.name, 0, 20);
    let stage = start(&queue, &topic);
    accepted(&queue, 20).await;
    stage.stop().await;
    assert!(numbers(&queue).into_iter().eq((0..10).chain(20..30)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latest_skips_nothing_that_comes_after_the_first_start() {
    let broker = Kafka::shared();
    let made = Topic::new(broker, 1);
    let url = format!("kafka://127.0.0.1:{}", broker.port());
    let topic = Topic::at(&made.name, &url, "start = \"latest\"");
    let queue = topic.queue();
    broker.produce(&topic.name, &records(0..20));
    let stage = start(&queue, &topic);
    let group = format!("rigline-{}", topic.name);
    wait_until("the start is committed", || {
        broker.group_offsets(&group, &topic.name)["0"] == 20
    })
    .await;
    stage.stop().await;
    // Before anything was read.
    broker.produce(&topic.name, &records(20..40));
    let stage = start(&queue, &topic);
    accepted(&queue, 20).await;
    stage.stop().await;
    assert!(
        numbers(&queue).into_iter().eq(20..40),
        "{:?}",
        numbers(&queue)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_record_is_a_dead_letter_with_its_place_and_its_key() {
    let broker = Kafka::shared();
    let topic = Topic::new(broker, 3);
    let queue = topic.queue();
    let bad = json!({
        "key": "b\u{1b}[1m", "value": "not JSON", "partition": 2, "headers": [["site", "north"]],
    });
    // Without a value: it deletes a key, and is no reading.
    let tombstone = json!({ "key": "a", "value": null, "partition": 2 });
    broker.produce(&topic.name, &[bad, tombstone]);
    broker.produce(&topic.name, &records(0..10));
    let stage = start(&queue, &topic);
    accepted(&queue, 10).await;
    queue.wait_count(Counter::DeadIngester, 1).await;
    stage.stop().await;
    let letters = queue.items(List::Dead);
    let letter: Value = serde_json::from_slice(&letters[0]).unwrap();
    assert_eq!(
        (&letter["reason"], &letter["topic"]),
        (&json!("not_json"), &json!(topic.name))
    );
    let detail = letter["detail"].as_str().unwrap();
    let place = "(partition 2, offset 0, key b\\u{1b}[1m, header site=north)";
    assert!(detail.ends_with(place), "{detail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queue_that_was_restored_decides_from_where_to_read() {
    let broker = Kafka::shared();
    let topic = Topic::new(broker, 1);
    let queue = topic.queue();
    broker.produce(&topic.name, &records(0..30));
    let stage = start(&queue, &topic);
    accepted(&queue, 30).await;
    stage.stop().await;
    // Another queue has no positions, so the group's offset counts: nothing is read twice.
    let other = topic.queue();
    broker.produce(&topic.name, &records(30..40));
    let stage = start(&other, &topic);
    accepted(&other, 10).await;
    stage.stop().await;
    // The first one has positions, and they count, although the group is ahead, and there are records where it is.
    broker.produce(&topic.name, &records(40..50));
    let stage = start(&queue, &topic);
    accepted(&queue, 50).await;
    stage.stop().await;
    assert!(numbers(&queue).into_iter().eq(0..50));
    assert!(numbers(&other).into_iter().eq(30..40));
}
