//! A pipeline with several stores.

use common::health::Status;
use model::dead_letter::{DeadLetter, Reason};
use model::{Layout, Name, Row, Timestamp};
use queue::list::List;
use queue::settings::QueueSettings;
use queue::testing::{Running, TempQueue, limited};
use sink::{NamedStore, Stores};
use testkit::InfluxProxy;
use testkit::influx_proxy::Reply;

use crate::fixture::{asked, assert_stored, assert_untouched, done, influx, nanos};

/// A queue with a small batch, of a pipeline that a file describes.
fn tagged_queue() -> TempQueue {
    TempQueue::new(QueueSettings {
        layout: Layout::Tagged,
        ..limited(|limits| limits.batch = 7)
    })
}

fn start(queue: &TempQueue, servers: [&InfluxProxy; 2]) -> Running {
    let named = ["a", "b"].into_iter().zip(servers);
    let stores = named.map(|(name, server)| NamedStore {
        name: name.to_owned(),
        store: influx(server),
    });
    let stores = Stores::from(stores.collect::<Vec<_>>());
    let (settings, handle) = (queue.settings().clone(), queue.open());
    Running::start(|process| sink::run(settings, handle, stores, process))
}

fn row(rig: &str, second: i64, stores: &[String]) -> Vec<u8> {
    let values = [
        (
            "flow_rate",
            f64::from(i32::try_from(second).unwrap()) + 0.25,
        ),
        ("pressure", -1.5),
    ];
    let row = Row {
        tags: vec![(Name::RIG_ID, Name::new(rig).unwrap())],
        timestamp: Timestamp::from_nanos(nanos(second)),
        fields: values
            .map(|(name, value)| (Name::new(name).unwrap(), value.into()))
            .to_vec(),
    };
    let mut element = Vec::new();
    Layout::Tagged.encode_row_for(&row, stores, &mut element);
    element
}

fn rows(seconds: std::ops::Range<i64>) -> Vec<Vec<u8>> {
    seconds.map(|second| row("R", second, &[])).collect()
}

/// The number of rows that were sent to a server.
fn sent(server: &InfluxProxy) -> usize {
    server.received().iter().map(|write| write.lines).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_one_is_unavailable_the_pipeline_waits_and_the_others_get_nothing_twice() {
    let (queue, a, mut b) = (tagged_queue(), InfluxProxy::start(), InfluxProxy::start());
    let stage = start(&queue, [&a, &b]);
    stage.ready().await;
    queue.append_rows(rows(0..20)).await;
    done(&queue, 20, 0).await;
    b.stop();
    queue.append_rows(rows(20..23)).await;
    let said = stage.until("store-b", Status::Down).await;
    assert!(said.contains(&b.url()), "{said}");
    assert!(stage.is("store-a", Status::Up) && !stage.is_ready());
    // More rows come behind those that the first store has.
    queue.append_rows(rows(23..40)).await;
    asked(&a, a.received().len() + 1).await;
    let ledger = queue.ledger().await;
    assert_eq!(ledger.normalized, 20, "nothing is taken");
    b.restart();
    done(&queue, 40, 0).await;
    stage.ready().await;
    stage.stop().await;
    for server in [&a, &b] {
        assert_stored(server, "R", 0..40);
    }
    assert_eq!(sent(&a), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_all_get_the_rows_again() {
    let (queue, a, mut b) = (tagged_queue(), InfluxProxy::start(), InfluxProxy::start());
    b.stop();
    queue.append_rows(rows(0..20)).await;
    let stage = start(&queue, [&a, &b]);
    stage.until("store-b", Status::Down).await;
    stage.stop().await;
    assert_untouched(&queue, 20).await;
    b.restart();
    let stage = start(&queue, [&a, &b]);
    done(&queue, 20, 0).await;
    stage.stop().await;
    for server in [&a, &b] {
        assert_stored(server, "R", 0..20);
    }
    assert_eq!((sent(&a), sent(&b)), (27, 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_row_is_one_dead_letter_and_a_replay_is_for_the_refusing_store() {
    let (queue, a, b) = (tagged_queue(), InfluxProxy::start(), InfluxProxy::start());
    b.reply_by(|write| Reply::unparsable(write, |line| line.contains("rig_id=BAD ")));
    let mut all = rows(0..10);
    all.insert(3, row("BAD", 3, &[]));
    queue.append_rows(all).await;
    let stage = start(&queue, [&a, &b]);
    done(&queue, 10, 1).await;
    assert_stored(&a, "BAD", [3]);
    assert_stored(&b, "BAD", []);
    let [letter] = queue.items(List::Dead).try_into().unwrap();
    let letter = DeadLetter::decode(&letter).unwrap();
    assert_eq!(letter.reason, Reason::StoreRejected);
    assert_eq!(letter.stores, ["b"]);
    assert!(letter.detail.starts_with("b: "), "{}", letter.detail);
    assert!(
        letter.detail.contains("unable to parse"),
        "{}",
        letter.detail
    );

    b.reply_by_nothing();
    let before = sent(&a);
    queue.append_rows(vec![row("BAD", 3, &letter.stores)]).await;
    done(&queue, 11, 1).await;
    assert_stored(&b, "BAD", [3]);
    assert_eq!(sent(&a), before);
    queue
        .append_rows(vec![row("R", 11, &["c".to_owned()])])
        .await;
    done(&queue, 11, 2).await;
    stage.stop().await;
    let last = queue.items(List::Dead).pop().unwrap();
    let letter = DeadLetter::decode(&last).unwrap();
    assert_eq!(letter.reason, Reason::BadElement);
    assert!(letter.detail.contains("\"c\""), "{}", letter.detail);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_all_refuse_is_one_dead_letter() {
    let (queue, a, b) = (tagged_queue(), InfluxProxy::start(), InfluxProxy::start());
    for server in [&a, &b] {
        server.reply_by(|write| Reply::unparsable(write, |line| line.contains("rig_id=BAD ")));
    }
    let mut all = rows(0..10);
    all.push(row("BAD", 3, &[]));
    queue.append_rows(all).await;
    let stage = start(&queue, [&a, &b]);
    done(&queue, 10, 1).await;
    stage.stop().await;
    let [letter] = queue.items(List::Dead).try_into().unwrap();
    let letter = DeadLetter::decode(&letter).unwrap();
    assert_eq!(letter.stores, ["a", "b"]);
    let (of_a, of_b) = letter.detail.split_once("; b: ").unwrap();
    assert!(of_a.starts_with("a: "), "{of_a}");
    assert!(of_a.contains("unable to parse") && of_b.contains("unable to parse"));
}
