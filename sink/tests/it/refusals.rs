//! Rows and elements that can't be stored.

use common::health::Status;
use queue::ledger::Counter;
use queue::list::List;
use queue::settings::QueueSettings;
use queue::testing::{TempQueue, assert_holds};
use serde_json::Value;
use testkit::influx_proxy::Reply;
use testkit::{InfluxDb, InfluxProxy};

use crate::fixture::{
    assert_stored, assert_untouched, bad_row, done, letters, nanos, queue_of, row, rows, start,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_stored() {
    for batch in [7, 5_000] {
        let (queue, server) = (queue_of(batch), InfluxProxy::start());
        let stage = start(&queue, &server);
        stage.ready().await;
        queue.append_rows(rows("R", 0..60)).await;
        done(&queue, 60, 0).await;
        queue.append_rows(rows("R", 60..100)).await;
        done(&queue, 100, 0).await;
        stage.stop().await;
        assert_stored(&server, "R", 0..100);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_row_becomes_a_dead_letter_and_the_rest_is_stored() {
    let unparsable = InfluxProxy::start();
    unparsable.reply_by(|write| Reply::unparsable(write, |line| line.contains("rig_id=BAD ")));
    // Another program has written this field as an integer, in the same shard.
    let conflicting = InfluxProxy::start();
    let line = format!("rig_measurements,rig_id=X level=1i {}", nanos(0));
    InfluxDb::shared().write(conflicting.bucket(), &line);
    for (server, words) in [
        (unparsable, "unable to parse 'rig_measurements,rig_id=BAD "),
        (conflicting, "already exists as type integer"),
    ] {
        let queue = TempQueue::new(QueueSettings {
            normalized_queue: "rows_of_ours".into(),
            ..queue::testing::settings()
        });
        let mut all = rows("R", 0..50);
        all.insert(17, bad_row(0));
        all.insert(40, bad_row(1));
        // The server counts without this one.
        all.insert(3, b"no row".to_vec());
        queue.append_rows(all).await;
        let stage = start(&queue, &server);
        done(&queue, 50, 3).await;
        stage.ready().await;
        stage.stop().await;
        assert_stored(&server, "R", 0..50);
        assert_stored(&server, "BAD", []);
        let letters = letters(&queue);
        let by_store = |letter: &&Value| letter["reason"] == "store_rejected";
        let rejected: Vec<_> = letters.iter().filter(by_store).collect();
        for (letter, second) in rejected.iter().zip([0, 1]) {
            assert_eq!(letter["stage"], "sink");
            assert_eq!(letter["topic"], "rows_of_ours");
            let payload = letter["payload"].as_str().unwrap();
            assert_eq!(payload.as_bytes(), bad_row(second));
            assert!(
                letter["detail"].as_str().unwrap().contains(words),
                "{letter}"
            );
        }
        assert_eq!((rejected.len(), letters.len()), (2, 3));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_large_batch_is_halved_and_a_single_row_refused() {
    let (queue, server) = (queue_of(5_000), InfluxProxy::start());
    server.reply_by(|write| Reply::too_large(write, 300));
    let mut all = rows("R", 0..30);
    let many: Vec<_> = (0..40)
        .map(|place| format!("\"sensor_{place}\":1.0"))
        .collect();
    let many = many.join(",");
    let large = format!("{{\"rig_id\":\"L\",\"timestamp\":\"2025-11-02T14:00:00Z\",{many}}}");
    all.insert(11, large.into());
    queue.append_rows(all).await;
    let stage = start(&queue, &server);
    done(&queue, 30, 1).await;
    stage.stop().await;
    assert_stored(&server, "R", 0..30);
    let letter = &letters(&queue)[0];
    assert_eq!(letter["reason"], "store_rejected");
    assert!(
        letter["detail"].as_str().unwrap().contains("413"),
        "{letter}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_for_unknown_reasons_hold_the_batch() {
    let (queue, server) = (queue_of(5_000), InfluxProxy::start());
    server.reply_by(|write| (!write.text().is_empty()).then(|| Reply::status(400, "strange")));
    queue.append_rows(rows("R", 0..150)).await;
    let stage = start(&queue, &server);
    let said = stage.until("store", Status::Down).await;
    assert!(
        said.contains("refused 150 of 150 rows") && said.contains("strange"),
        "{said}"
    );
    assert!(!stage.is_ready());
    assert_untouched(&queue, 150).await;
    server.reply_by_nothing();
    done(&queue, 150, 0).await;
    stage.ready().await;
    stage.stop().await;
    assert_stored(&server, "R", 0..150);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_elements_become_dead_letters_while_the_store_is_down() {
    let (queue, mut server) = (queue_of(4), InfluxProxy::start());
    server.stop();
    let bad: [&[u8]; 6] = [
        b"hello",
        b"[]",
        b"\xff\xfe",
        br#"{"rig_id":"R","timestamp":"2025-11-02T14:00:00Z"}"#,
        br#"{"rig_id":"R","timestamp":"2025-11-02T14:00:00Z","a":"1"}"#,
        br#"{"timestamp":"2025-11-02T14:00:00Z","a":1}"#,
    ];
    for item in bad {
        queue.push_foreign(List::Normalized, item);
    }
    let stage = start(&queue, &server);
    let ledger = queue.wait_for(|ledger| ledger.normalized == 0).await;
    assert_holds(&ledger);
    assert_eq!(
        (ledger.rows_foreign(), ledger.get(Counter::DeadSink)),
        (6, 6)
    );
    assert!(!stage.is_ready());
    for (letter, item) in letters(&queue).iter().zip(bad) {
        assert_eq!(letter["stage"], "sink");
        assert_eq!(letter["reason"], "bad_element");
        assert_eq!(letter["topic"], "normalized_events");
        if item == b"\xff\xfe" {
            assert_eq!(letter["encoding"], "base64");
            assert_eq!(letter["payload"], "//4=");
        } else {
            assert_eq!(letter["payload"].as_str().unwrap().as_bytes(), item);
        }
    }
    // Between good rows, one of them from an external producer.
    queue.push_foreign(List::Normalized, b"between");
    queue.append_rows(rows("R", 0..3)).await;
    queue.push_foreign(List::Normalized, &row("R", 3));
    let said = stage.until("store", Status::Down).await;
    assert!(said.contains(&server.url()), "{said}");
    server.restart();
    let ledger = queue.wait_for(|ledger| ledger.normalized == 0).await;
    stage.stop().await;
    assert_holds(&ledger);
    assert_eq!(ledger.rows_foreign(), 8);
    let counted = [Counter::RowsStored, Counter::DeadSink].map(|counter| ledger.get(counter));
    assert_eq!(counted, [4, 7]);
    assert_stored(&server, "R", 0..4);
}
