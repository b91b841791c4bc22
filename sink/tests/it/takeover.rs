//! A standby continues where a sink ended or stalled.

use common::health::Status;
use std::time::Duration;

use queue::settings::QueueSettings;
use queue::testing::{Delivery, FaultyQueue, TempQueue, assert_exact};
use testkit::InfluxProxy;
use testkit::influx_proxy::{Forward, Reply};

use crate::fixture::{
    asked, assert_stored, assert_untouched, done, queue_of, rows, start, start_on,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_between_write_and_commit_writes_the_same_points_again() {
    let (queue, server) = (queue_of(7), InfluxProxy::start());
    queue.append_rows(rows("R", 0..20)).await;
    let held = FaultyQueue::new(queue.open(), &[Delivery::Answered, Delivery::Held]);
    let stage = start_on(held.clone(), queue.settings(), &server);
    held.held_call().await;
    stage.kill().await;
    queue.expire_leases();
    assert_exact(&queue.ledger().await);
    assert_eq!((server.count(), queue.ledger().await.normalized), (14, 13));
    let stage = start(&queue, &server);
    done(&queue, 20, 0).await;
    stage.stop().await;
    assert_stored(&server, "R", 0..20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_continues_where_the_first_replica_stopped() {
    let (queue, server) = (queue_of(7), InfluxProxy::start());
    let first = start(&queue, &server);
    first.ready().await;
    let second = start(&queue, &server);
    second.until("lease", Status::Standby).await;
    assert!(second.is_ready(), "a standby is no fault");
    queue.append_rows(rows("R", 0..20)).await;
    done(&queue, 20, 0).await;
    queue.append_rows(rows("R", 20..60)).await;
    first.stop().await;
    second.until("lease", Status::Up).await;
    second.ready().await;
    done(&queue, 60, 0).await;
    second.stop().await;
    assert_stored(&server, "R", 0..60);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    /// The first sink's write hangs.
    Hangs,
    /// The first sink waits for its next try.
    Away,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_lost_during_a_hanging_write_leaves_the_rows_to_the_new_holder() {
    the_lease_is_lost_in_an_outage(Outage::Hangs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_lost_while_the_store_is_unavailable_leaves_the_rows_to_the_new_holder() {
    the_lease_is_lost_in_an_outage(Outage::Away).await;
}

async fn the_lease_is_lost_in_an_outage(outage: Outage) {
    let queue = TempQueue::new(QueueSettings {
        lease: Duration::from_secs(3),
        ..queue::testing::settings()
    });
    let server = InfluxProxy::start();
    queue.append_rows(rows("R", 0..20)).await;
    match outage {
        Outage::Hangs => server.reply_next([Reply::silence().forwarding(Forward::EveryOtherLine)]),
        Outage::Away => server.reply_always(Some(Reply::status(503, ""))),
    }
    let first = start(&queue, &server);
    asked(&server, 1).await;
    assert_untouched(&queue, 20).await;
    // For this clock, the first one's lease has expired, as after a long stall.
    let second = start_on(queue.open_later(), queue.settings(), &server);
    second.until("lease", Status::Up).await;
    first.until("lease", Status::Standby).await;
    if outage == Outage::Away {
        second.until("store", Status::Down).await;
        assert_untouched(&queue, 20).await;
        server.reply_always(None);
    }
    done(&queue, 20, 0).await;
    second.stop().await;
    queue.append_rows(rows("R", 20..30)).await;
    done(&queue, 30, 0).await;
    first.stop().await;
    assert_stored(&server, "R", 0..30);
}
