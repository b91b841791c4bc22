//! Only appended readings are acknowledged, and the others are redelivered.

use common::health::Status;
use std::collections::BTreeSet;

use common::clock::Clock;
use model::Stage;
use queue::list::List;
use queue::testing::{Delivery, FaultyQueue, TempQueue, assert_exact, limited, wait_until};
use testkit::Mosquitto;

use crate::fixture::{
    Device, accepted, assert_all, queue, raw_values, start, start_on, take_until, values,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appended_readings_are_acknowledged_and_not_redelivered() {
    let (queue, broker) = (queue(), Mosquitto::start());
    let stage = start(&queue, &broker);
    stage.ready().await;
    let device = Device::start(&broker);
    device.send(0..2_000).await;
    accepted(&queue, 2_000).await;
    stage.stop().await;
    let stage = start(&queue, &broker);
    stage.ready().await;
    // Redelivered readings would arrive before this one.
    device.send(2_000..2_001).await;
    let ledger = accepted(&queue, 2_001).await;
    stage.stop().await;
    assert_eq!(ledger.raw, 2_001);
    assert!(
        raw_values(&queue).into_iter().eq(0..2_001),
        "in order, each once"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_published_while_stopped_are_taken_after_the_start() {
    let (queue, broker) = (queue(), Mosquitto::start());
    let stage = start(&queue, &broker);
    stage.ready().await;
    stage.stop().await;
    Device::start(&broker).send(0..500).await;
    let stage = start(&queue, &broker);
    accepted(&queue, 500).await;
    stage.stop().await;
    assert!(raw_values(&queue).into_iter().eq(0..500));
}

/// A limit below the number of readings.
fn small_queue() -> TempQueue {
    TempQueue::new(limited(|limits| {
        (limits.batch, limits.queue_limit) = (20, 50);
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_list_pauses_acknowledgements_until_it_is_drained() {
    let (queue, broker) = (small_queue(), Mosquitto::start());
    let stage = start(&queue, &broker);
    stage.ready().await;
    Device::start(&broker).send(0..500).await;
    let said = stage.until("raw_list", Status::Down).await;
    assert!(said.contains("raw_events is full"), "{said}");
    assert!(!stage.is_ready());
    let ledger = queue.ledger().await;
    assert_exact(&ledger);
    assert!(
        (50..70).contains(&ledger.raw),
        "one call may overshoot: {ledger:?}"
    );
    let taken = take_until(&queue, 499).await;
    stage.ready().await;
    stage.stop().await;
    assert!(taken.into_iter().eq(0..500), "in order, each once");
    assert_exact(&queue.ledger().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_refused_by_a_full_list_are_redelivered_after_a_restart() {
    let (queue, broker) = (small_queue(), Mosquitto::start());
    let stage = start(&queue, &broker);
    stage.ready().await;
    Device::start(&broker).send(0..300).await;
    stage.until("raw_list", Status::Down).await;
    stage.stop().await;
    let mut taken = values(&queue.drain(Stage::Transformer).await);
    assert!(taken.len() < 70, "{}", taken.len());
    let mut stage = start(&queue, &broker);
    // The same with a kill instead of a stop.
    stage.until("raw_list", Status::Down).await;
    stage.kill().await;
    queue.expire_leases();
    stage = start(&queue, &broker);
    taken.extend(take_until(&queue, 299).await);
    stage.stop().await;
    assert_all(&taken, 0..300);
    assert_exact(&queue.ledger().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn append_without_reply_is_retried_with_the_same_elements() {
    use Delivery::{Answered, Applied, Dropped};
    let (queue, broker) = (queue(), Mosquitto::start());
    let deliveries = [Applied, Dropped, Applied, Answered, Dropped, Applied];
    let faulty = FaultyQueue::for_appends(queue.open(), &deliveries);
    let stage = start_on(Clock::system(), faulty.clone(), queue.settings(), &broker);
    stage.ready().await;
    let device = Device::start(&broker);
    for round in 0..10 {
        device.send(round * 20..round * 20 + 20).await;
    }
    // Publishes one at a time until all planned faults have occurred.
    while faulty.calls() <= deliveries.len() {
        let before = faulty.calls();
        device.send(199..200).await;
        wait_until("another append", || faulty.calls() > before).await;
    }
    wait_until("the last reading", || raw_values(&queue).contains(&199)).await;
    stage.stop().await;
    assert_exact(&queue.ledger().await);
    let elements = queue.items(List::Raw);
    let values = values(&elements);
    assert_all(&values, 0..200);
    let once = elements
        .iter()
        .zip(values)
        .filter(|(_, value)| *value != 199);
    let distinct: BTreeSet<_> = once.map(|(element, _)| element).collect();
    assert_eq!(
        distinct.len(),
        199,
        "their arrival is that of the first try"
    );
}
