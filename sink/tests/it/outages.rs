//! Stores that are unavailable or set up wrongly: nothing is discarded, and the sink recovers by itself.

use common::health::Status;
use std::time::Duration;

use model::row::Row;
use queue::testing::{Delivery, FaultyQueue};
use store::{Store, WriteError};
use testkit::InfluxProxy;
use testkit::influx_proxy::{Forward, Reply};
use tokio::task::JoinSet;

use crate::fixture::{
    asked, assert_stored, assert_untouched, done, queue_of, rows, start, start_on, start_with,
};

/// A server that answers the first two writes with `reply`.
async fn waits_out(reply: Reply, says: &[&str]) {
    let (queue, server) = (queue_of(5_000), InfluxProxy::start());
    queue.append_rows(rows("R", 0..20)).await;
    server.reply_always(Some(reply));
    let stage = start(&queue, &server);
    let said = stage.until("store", Status::Down).await;
    for words in says {
        assert!(said.contains(words), "{words} isn't in: {said}");
    }
    asked(&server, 2).await;
    assert!(!stage.is_ready());
    assert_untouched(&queue, 20).await;
    server.reply_always(None);
    done(&queue, 20, 0).await;
    stage.ready().await;
    stage.stop().await;
    assert_stored(&server, "R", 0..20);
}

async fn all(cases: Vec<(Reply, &'static [&'static str])>) {
    let mut running = JoinSet::new();
    for (reply, says) in cases {
        running.spawn(waits_out(reply, says));
    }
    running.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_settings_are_held_with_what_to_fix() {
    let error = Reply::error;
    all(vec![
        (
            error(401, "unauthorized", "unauthorized access"),
            &["INFLUX_TOKEN", "401"],
        ),
        (
            error(403, "forbidden", "insufficient permissions"),
            &["INFLUX_TOKEN", "403"],
        ),
        (
            error(404, "not found", "bucket not found"),
            &["INFLUX_BUCKET", "INFLUX_ORG", "404"],
        ),
        // Preflights fail, too, so the rows aren't the cause.
        (
            error(400, "invalid", "not a bucket"),
            &["empty write", "400", "not a bucket"],
        ),
        (
            error(422, "invalid", "not a bucket"),
            &["empty write", "422"],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_store_is_retried() {
    let status = |status| Reply::status(status, "words of a proxy");
    all(vec![
        (status(503), &["503", "words of a proxy"]),
        (status(429), &["429"]),
        (status(500).forwarding(Forward::EveryOtherLine), &["500"]),
        (status(200), &["200", "only 204"]),
        (
            status(307).header("Location", "http://127.0.0.1:1/"),
            &["307", "INFLUX_URL"],
        ),
        (Reply::cut().forwarding(Forward::All), &["http://"]),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_queued_during_an_outage_are_stored_afterwards() {
    let (queue, mut server) = (queue_of(7), InfluxProxy::start());
    let stage = start(&queue, &server);
    stage.ready().await;
    queue.append_rows(rows("R", 0..20)).await;
    done(&queue, 20, 0).await;
    server.stop();
    queue.append_rows(rows("R", 20..40)).await;
    stage.until("store", Status::Down).await;
    assert!(!stage.is_ready());
    queue.append_rows(rows("R", 40..60)).await;
    assert_eq!(queue.ledger().await.normalized, 40);
    server.restart();
    done(&queue, 60, 0).await;
    stage.ready().await;
    stage.stop().await;
    assert_stored(&server, "R", 0..60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_sink_checks_its_store() {
    let (queue, mut server) = (queue_of(7), InfluxProxy::start());
    server.stop();
    let stage = start(&queue, &server);
    stage.until("store", Status::Down).await;
    server.restart();
    stage.ready().await;
    assert_eq!(server.count(), 0);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_during_a_write_that_hangs_loses_and_doubles_nothing() {
    let mut running = JoinSet::new();
    for forward in [Forward::All, Forward::EveryOtherLine, Forward::Nothing] {
        running.spawn(async move {
            let (queue, server) = (queue_of(5_000), InfluxProxy::start());
            queue.append_rows(rows("R", 0..20)).await;
            server.reply_next([Reply::silence().forwarding(forward)]);
            let stage = start(&queue, &server);
            asked(&server, 1).await;
            stage.stop().await;
            assert_untouched(&queue, 20).await;
            let stage = start(&queue, &server);
            done(&queue, 20, 0).await;
            stage.stop().await;
            assert_stored(&server, "R", 0..20);
        });
    }
    running.join_all().await;
}

/// A store that asks to wait for an hour.
struct Busy;

impl Store for Busy {
    async fn write(&self, _: &[Row<'_>]) -> Result<(), WriteError> {
        self.preflight().await
    }

    async fn preflight(&self) -> Result<(), WriteError> {
        Err(WriteError::Retry {
            detail: "busy".into(),
            after: Some(Duration::from_hours(1)),
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_retry_wait_ends_with_the_lease_and_at_a_stop() {
    let (queue, server) = (queue_of(7), InfluxProxy::start());
    queue.append_rows(rows("R", 0..20)).await;
    let waiting = start_with(queue.open(), queue.settings(), Busy);
    assert_eq!(waiting.until("store", Status::Down).await, "busy");
    let other = start_on(queue.open_later(), queue.settings(), &server);
    waiting.until("lease", Status::Standby).await;
    done(&queue, 20, 0).await;
    other.stop().await;
    waiting.until("lease", Status::Up).await;
    waiting.stop().await;
    assert_stored(&server, "R", 0..20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_commit_replies_lose_and_double_nothing() {
    use Delivery::{Answered, Applied, Delayed, Dropped};
    let (queue, server) = (queue_of(7), InfluxProxy::start());
    queue.append_rows(rows("R", 0..60)).await;
    let deliveries = [
        Applied, Dropped, Answered, Delayed, Dropped, Applied, Delayed,
    ];
    let faulty = FaultyQueue::new(queue.open(), &deliveries);
    let stage = start_on(faulty.clone(), queue.settings(), &server);
    done(&queue, 60, 0).await;
    stage.stop().await;
    assert!(
        faulty.calls() > deliveries.len(),
        "{} commits",
        faulty.calls()
    );
    assert_stored(&server, "R", 0..60);
}
