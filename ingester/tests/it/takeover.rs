//! Leases: one ingester at a time has the broker's session, and a takeover loses no reading.

use common::health::Status;
use std::time::Duration;

use common::clock::Clock;
use model::Stage;
use queue::testing::{Delivery, FaultyQueue, assert_exact, wait_until};
use queue::{Lease, Queue};
use testkit::Mosquitto;

use crate::fixture::{Device, accepted, assert_all, queue, raw_values, start, start_on};

const LONG: Duration = Duration::from_mins(10);

/// Takes the lease with a clock for which it has expired.
async fn take_away(handle: &impl Queue) -> Lease {
    let lease = handle.lease(Stage::Ingester, "another", LONG).await;
    lease.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_takes_the_session_over() {
    let (queue, broker) = (queue(), Mosquitto::start());
    let first = start(&queue, &broker);
    first.ready().await;
    let second = start(&queue, &broker);
    second.until("lease", Status::Standby).await;
    assert!(second.is_ready(), "a standby is no fault");
    let device = Device::start(&broker);
    device.send(0..1_000).await;
    accepted(&queue, 1).await;
    first.stop().await;
    device.send(1_000..2_000).await;
    second.until("lease", Status::Up).await;
    second.ready().await;
    device.send(2_000..3_000).await;
    queue.wait_for(|ledger| ledger.raw >= 3_000).await;
    second.stop().await;
    assert_all(&raw_values(&queue), 0..3_000);
    assert_exact(&queue.ledger().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replica_that_lost_its_lease_leaves_the_session_to_the_new_holder() {
    let (queue, broker) = (queue(), Mosquitto::start());
    let stage = start(&queue, &broker);
    stage.ready().await;
    let device = Device::start(&broker);
    device.send(0..100).await;
    accepted(&queue, 100).await;
    let other = queue.open_later();
    let lease = take_away(&other).await;
    stage.until("lease", Status::Standby).await;
    wait_until("the end of the session", || {
        broker
            .logs()
            .contains("Client rigline-ingester-rigs disconnected")
    })
    .await;
    // Its session has ended, so it takes none of these.
    device.send(100..200).await;
    assert_eq!(queue.ledger().await.raw, 100);
    other.release(&lease).await.unwrap();
    accepted(&queue, 200).await;
    stage.ready().await;
    stage.stop().await;
    assert_all(&raw_values(&queue), 0..200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_lease_that_nobody_took_is_acquired_again_with_the_same_session() {
    let (queue, broker) = (queue(), Mosquitto::start());
    let stage = start(&queue, &broker);
    stage.ready().await;
    let device = Device::start(&broker);
    device.send(0..100).await;
    queue.expire_leases();
    device.send(100..200).await;
    wait_until("the loss", || stage.last_error("lease").is_some()).await;
    stage.until("lease", Status::Up).await;
    device.send(200..300).await;
    accepted(&queue, 300).await;
    stage.stop().await;
    assert!(raw_values(&queue).into_iter().eq(0..300));
    let logs = broker.logs();
    let connected = logs
        .lines()
        .filter(|line| line.contains(" as rigline-ingester-rigs "));
    assert_eq!(connected.count(), 1, "{logs}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_between_append_and_acknowledgement_gets_readings_redelivered() {
    let (queue, broker) = (queue(), Mosquitto::start());
    // The reply is lost, so the reading isn't acknowledged and would be appended again.
    let faulty = FaultyQueue::for_appends(queue.open(), &[Delivery::Applied, Delivery::Held]);
    let stage = start_on(Clock::system(), faulty.clone(), queue.settings(), &broker);
    stage.ready().await;
    Device::start(&broker).send(0..100).await;
    faulty.held_call().await;
    stage.kill().await;
    queue.expire_leases();
    let before = queue.ledger().await;
    assert!(before.raw > 0);
    let stage = start(&queue, &broker);
    accepted(&queue, before.raw + 100).await;
    stage.stop().await;
    let values = raw_values(&queue);
    assert_all(&values, 0..100);
    let (first, again) = values.split_at(usize::try_from(before.raw).unwrap());
    assert!(
        again.iter().copied().eq(0..100) && again.starts_with(first),
        "{values:?}"
    );
    assert_exact(&queue.ledger().await);
}
