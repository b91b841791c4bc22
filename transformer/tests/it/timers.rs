//! The transformer's time limits, on a queue in memory whose time is paused: it advances only while
//! every task waits, so that each limit is checked exactly and takes no time.

use std::time::Duration;

use common::clock::Clock;
use common::health::Status;
use model::Stage;
use queue::list::List;
use queue::testing::{MemoryQueue, Running, limited};
use queue::{Append, Appended, Queue};
use tokio::time::{Instant, sleep};

use crate::fixture::{Row, SENSORS, decode, pivot_of, reading, row, settings_of, start_on};

const FLUSH_INTERVAL: Duration = Duration::from_secs(5);
const RIG_IDLE: Duration = Duration::from_mins(5);
/// The polls and commits that may pass between a limit and its effect.
const TOLERANCE: Duration = Duration::from_millis(100);

fn queue() -> MemoryQueue {
    MemoryQueue::new(&limited(|_| {}), Clock::system().now())
}

fn start(queue: &MemoryQueue) -> Running {
    let mut settings = settings_of(&limited(|_| {}), FLUSH_INTERVAL);
    pivot_of(&mut settings).rig_idle = RIG_IDLE;
    start_on(queue.clone(), settings)
}

async fn append(queue: &MemoryQueue, raw: Vec<Vec<u8>>) {
    let dead = Vec::new();
    let appended = queue
        .append(&Append {
            raw,
            dead,
            ..Append::default()
        })
        .await
        .unwrap();
    assert!(matches!(appended, Appended::Done { .. }));
}

fn rows(queue: &MemoryQueue) -> Vec<Row> {
    decode(&queue.items(List::Normalized))
}

/// Waits until `is_true`, and returns how long that took.
async fn time_until(mut is_true: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !is_true() {
        assert!(started.elapsed() < 2 * RIG_IDLE, "not within its limit");
        sleep(Duration::from_millis(5)).await;
    }
    started.elapsed()
}

fn assert_about(elapsed: Duration, expected: Duration) {
    assert!(
        (expected..expected + TOLERANCE).contains(&elapsed),
        "after {elapsed:?} instead of {expected:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn partial_row_is_flushed_after_the_interval_since_its_last_reading() {
    let queue = queue();
    let stage = start(&queue);
    stage.ready().await;
    append(&queue, vec![reading("R", 0, "a", 1.0)]).await;
    sleep(FLUSH_INTERVAL.saturating_sub(TOLERANCE)).await;
    append(&queue, vec![reading("R", 0, "b", 2.0)]).await;
    let elapsed = time_until(|| !rows(&queue).is_empty()).await;
    assert_about(elapsed, FLUSH_INTERVAL);
    assert_eq!(rows(&queue), [row("R", 0, &[("a", 1.0), ("b", 2.0)])]);
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn complete_row_does_not_wait() {
    let queue = queue();
    let stage = start(&queue);
    stage.ready().await;
    append(
        &queue,
        SENSORS.map(|name| reading("R", 0, name, 1.0)).into(),
    )
    .await;
    let elapsed = time_until(|| !rows(&queue).is_empty()).await;
    assert_about(elapsed, Duration::ZERO);
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn restored_partial_row_waits_for_the_whole_interval_again() {
    let queue = queue();
    let stage = start(&queue);
    append(&queue, vec![reading("R", 0, "a", 1.0)]).await;
    sleep(FLUSH_INTERVAL.saturating_sub(TOLERANCE)).await;
    stage.stop().await;
    assert_eq!(rows(&queue), []);
    let stage = start(&queue);
    let elapsed = time_until(|| !rows(&queue).is_empty()).await;
    assert_about(elapsed, FLUSH_INTERVAL);
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn state_of_an_idle_rig_is_deleted_after_its_limit() {
    let queue = queue();
    let stage = start(&queue);
    stage.ready().await;
    append(&queue, vec![reading("R", 0, "a", 1.0)]).await;
    time_until(|| !rows(&queue).is_empty()).await;
    let size = || queue.state_of(Stage::Transformer).len();
    let before = size();
    let elapsed = time_until(|| size() < before).await;
    assert_about(elapsed, RIG_IDLE.saturating_sub(FLUSH_INTERVAL));
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn standby_takes_over_when_the_lease_of_a_killed_holder_expires() {
    let queue = queue();
    let first = start(&queue);
    first.ready().await;
    let second = start(&queue);
    second.until("lease", Status::Standby).await;
    append(&queue, vec![reading("R", 0, "a", 1.0)]).await;
    sleep(Duration::from_secs(1)).await;
    first.kill().await;
    let lease = limited(|_| {}).lease;
    let elapsed = time_until(|| second.is("lease", Status::Up)).await;
    // The last renewal was at most a third of the lease ago, and a standby asks every 200 ms.
    let earliest = (lease * 2 / 3).saturating_sub(TOLERANCE);
    let latest = lease + Duration::from_millis(200) + TOLERANCE;
    assert!((earliest..latest).contains(&elapsed), "after {elapsed:?}");
    let elapsed = time_until(|| !rows(&queue).is_empty()).await;
    assert_about(elapsed, FLUSH_INTERVAL);
    second.stop().await;
}
