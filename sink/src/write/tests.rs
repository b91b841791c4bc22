use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::secret::Secret;
use common::settings::InfluxTls;
use model::{Name, Row, Timestamp};
use store::{InfluxSettings, InfluxStore};
use testkit::influx_proxy::{Forward, Received, Reply};
use testkit::influxdb::{ORG, TOKEN};
use testkit::{InfluxDb, InfluxProxy};

use super::{Rejected, Unwritten, Writer, Written};

mod at_fault;

const START: i64 = 1_762_093_293;
/// 20 years.
const RETENTION: Duration = Duration::from_hours(20 * 365 * 24);

fn settings(server: &InfluxProxy) -> InfluxSettings {
    InfluxSettings {
        url: server.url(),
        token: Some(Secret::new(TOKEN)),
        token_file: None,
        tls: InfluxTls::default(),
        org: ORG.into(),
        bucket: server.bucket().into(),
        timeout: Duration::from_secs(10),
    }
}

fn writer(server: &InfluxProxy) -> Writer<InfluxStore> {
    Writer::new(InfluxStore::new(&settings(server)).unwrap())
}

fn nanos(index: usize) -> i64 {
    (START + i64::try_from(index).unwrap()) * 1_000_000_000
}

fn nanos_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap()
}

/// Row `index`. A bad row's time is too old for a bucket with [`RETENTION`].
fn row(index: usize, is_bad: bool) -> Row<'static> {
    let (rig, nanos) = if is_bad {
        ("BAD", nanos(index) - 2 * nanos_of(RETENTION))
    } else {
        ("GOOD", nanos(index))
    };
    let mut row = Row::of_rig(Name::new(rig).unwrap(), Timestamp::from_nanos(nanos));
    row.fields
        .push((Name::new("temp_inlet").unwrap(), 1.5.into()));
    row
}

fn rows(count: usize, is_bad: impl Fn(usize) -> bool) -> Vec<Row<'static>> {
    (0..count).map(|index| row(index, is_bad(index))).collect()
}

/// How the server rejects bad rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// With 400, which stores no row of the write. Rigline sends no such lines, so it is scripted.
    Unparsable,
    /// With 422, which stores the other rows of the write.
    OutsideRetention,
}

fn refusing_bad(refusal: Refusal) -> InfluxProxy {
    match refusal {
        Refusal::Unparsable => {
            let server = InfluxProxy::start();
            refuse_bad(&server);
            server
        }
        Refusal::OutsideRetention => InfluxProxy::with_retention(Some(RETENTION)),
    }
}

fn refuse_bad(server: &InfluxProxy) {
    server.reply_by(|write| Reply::unparsable(write, |line| line.contains("rig_id=BAD ")));
}

fn refuse_nothing(server: &InfluxProxy) {
    server.reply_by_nothing();
    InfluxDb::shared().keep_rows(server.bucket(), None);
}

fn indexes(written: &Written) -> Vec<usize> {
    written.rejected.iter().map(|row| row.index).collect()
}

fn hold(answer: Result<Written, Unwritten>) -> String {
    let why = answer.unwrap_err();
    assert!(matches!(why, Unwritten::Hold { .. }), "{why:?}");
    why.to_string()
}

fn stored(count: usize) -> Written {
    Written {
        stored: count,
        rejected: Vec::new(),
    }
}

#[tokio::test]
async fn good_batch_is_one_request() {
    let server = InfluxProxy::start();
    let mut writer = writer(&server);
    assert_eq!(
        writer.write(&rows(5_000, |_| false)).await.unwrap(),
        stored(5_000)
    );
    assert_eq!(server.count(), 5_000);
    assert_eq!(writer.write(&[]).await.unwrap(), stored(0));
    assert_eq!(server.received().len(), 1);
    writer.preflight().await.unwrap();
}

#[tokio::test]
async fn one_bad_row_of_5000_costs_at_most_27_requests_more() {
    for refusal in [Refusal::Unparsable, Refusal::OutsideRetention] {
        let server = refusing_bad(refusal);
        for bad in [0, 1, 2_499, 2_500, 3_333, 4_999] {
            let before = server.received().len();
            let written = writer(&server)
                .write(&rows(5_000, |i| i == bad))
                .await
                .unwrap();
            assert_eq!((written.stored, indexes(&written)), (4_999, vec![bad]));
            let extra = server.received().len() - before - 1;
            assert!(extra <= 27, "{extra} more requests for row {bad}");
            let words = &written.rejected[0].detail;
            let said = match refusal {
                Refusal::Unparsable => "unable to parse 'rig_measurements,rig_id=BAD ",
                Refusal::OutsideRetention => "outside retention policy",
            };
            assert!(words.contains(said), "{words}");
        }
        assert_eq!(server.changed(), 0);
    }
}

#[tokio::test]
async fn every_bad_row_is_found_and_all_others_are_stored() {
    for refusal in [Refusal::Unparsable, Refusal::OutsideRetention] {
        let server = refusing_bad(refusal);
        let bad = [0, 1, 2, 50, 51, 499, 500, 998, 999];
        let written = writer(&server)
            .write(&rows(1_000, |i| bad.contains(&i)))
            .await
            .unwrap();
        assert_eq!(indexes(&written), bad);
        assert_eq!((written.stored, server.count()), (991, 991));
        let preflights = server.received().iter().filter(|r| r.lines == 0).count();
        assert_eq!(preflights, 1, "one empty write for a batch is enough");
    }
}

#[tokio::test]
async fn later_value_of_a_cell_wins_across_splits() {
    for refusal in [Refusal::Unparsable, Refusal::OutsideRetention] {
        let server = refusing_bad(refusal);
        // A sequence long enough that later rows are tried.
        let mut rows = rows(400, |i| (10..120).contains(&i));
        for (index, value) in [(0, 1.0), (9, 2.0), (120, 3.0), (130, 4.0), (399, 5.0)] {
            let mut again = row(0, false);
            again.fields[0].1 = f64::into(value);
            rows[index] = again;
        }
        let written = writer(&server).write(&rows).await.unwrap();
        assert_eq!(written.rejected.len(), 110);
        let last = BTreeMap::from([("temp_inlet".into(), 5.0)]);
        assert_eq!(server.row("GOOD", nanos(0)), last);
    }
}

#[tokio::test]
async fn good_rows_that_a_422_dropped_once_are_stored_in_the_end() {
    let server = refusing_bad(Refusal::OutsideRetention);
    let message = "failure writing points to database: partial write: … dropped=1";
    let partial =
        || Reply::error(422, "unprocessable entity", message).forwarding(Forward::EveryOtherLine);
    server.reply_next([partial()]);
    let written = writer(&server)
        .write(&rows(1_000, |i| i == 321))
        .await
        .unwrap();
    assert_eq!((indexes(&written), server.count()), (vec![321], 999));

    let server = InfluxProxy::start();
    server.reply_next([partial()]);
    assert_eq!(
        writer(&server)
            .write(&rows(1_000, |_| false))
            .await
            .unwrap(),
        stored(1_000)
    );
    assert_eq!((server.count(), server.changed()), (1_000, 0));
}

#[tokio::test]
async fn batches_that_are_too_large_are_halved() {
    let server = InfluxProxy::start();
    server.reply_by(|write| Reply::too_large(write, 10_000));
    let mut writer = writer(&server);
    assert_eq!(
        writer.write(&rows(1_000, |_| false)).await.unwrap(),
        stored(1_000)
    );
    assert_eq!(server.count(), 1_000);
    let received = server.received();
    assert!(
        received.iter().all(|r| r.lines > 0),
        "no empty write for a 413"
    );
    let accepted = |r: &&Received| r.status == 204;
    assert!(received.iter().filter(accepted).all(|r| r.bytes <= 10_000));

    let mut huge = row(3, false);
    huge.fields = (0..1_000)
        .map(|i| (Name::new(format!("sensor_{i}")).unwrap(), 1.0.into()))
        .collect();
    let mut rows = rows(10, |_| false);
    rows[3] = huge;
    let written = writer.write(&rows).await.unwrap();
    assert_eq!((written.stored, indexes(&written)), (9, vec![3]));
    assert!(written.rejected[0].detail.contains("413"), "{written:?}");
}

#[tokio::test]
async fn a_row_that_cannot_be_encoded_is_rejected_alone() {
    let server = InfluxProxy::start();
    let mut rows = rows(100, |_| false);
    rows[7].fields[0].1 = f64::NAN.into();
    rows[60].fields.clear();
    let written = writer(&server).write(&rows).await.unwrap();
    assert_eq!((indexes(&written), server.count()), (vec![7, 60], 98));
    assert!(written.rejected[0].detail.contains("NaN"), "{written:?}");
}

#[tokio::test]
async fn temporary_errors_are_retried() {
    let server = InfluxProxy::start();
    let mut writer = writer(&server);
    let batch = rows(10, |_| false);
    for status in [200, 301, 307, 308, 408, 429, 499, 500, 502, 503, 504] {
        server.reply_next([Reply::status(status, "words")]);
        let answer = writer.write(&batch).await;
        assert!(
            matches!(answer, Err(Unwritten::Retry { after: None, .. })),
            "{answer:?}"
        );
    }
    server.reply_next([Reply::cut(), Reply::cut().forwarding(Forward::All)]);
    for _ in 0..2 {
        let answer = writer.write(&batch).await;
        assert!(matches!(answer, Err(Unwritten::Retry { .. })), "{answer:?}");
    }
    assert_eq!(writer.write(&batch).await.unwrap(), stored(10));
    assert_eq!((server.count(), server.changed()), (10, 0));
}

#[tokio::test]
async fn silent_store_is_abandoned_after_the_timeout() {
    let server = InfluxProxy::start();
    let settings = InfluxSettings {
        timeout: Duration::from_millis(200),
        ..settings(&server)
    };
    let mut writer = Writer::new(InfluxStore::new(&settings).unwrap());
    server.reply_next([Reply::silence()]);
    let started = Instant::now();
    let answer = writer.write(&rows(10, |_| false)).await;
    assert!(matches!(answer, Err(Unwritten::Retry { .. })), "{answer:?}");
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn denied_write_is_held() {
    let server = InfluxProxy::start();
    for (status, variable) in [
        (401, "INFLUX_TOKEN"),
        (403, "INFLUX_TOKEN"),
        (404, "INFLUX_BUCKET"),
    ] {
        server.reply_next([Reply::error(status, "code", "words")]);
        let words = hold(writer(&server).write(&rows(10, |_| false)).await);
        assert!(
            words.contains(variable) && words.contains("words"),
            "{words}"
        );
    }
    assert_eq!(server.received().len(), 3, "asked more than once");
}

#[tokio::test]
async fn rows_are_rejected_only_if_an_empty_write_succeeds() {
    for status in [400, 422] {
        let server = InfluxProxy::start();
        let mut writer = writer(&server);
        let batch = rows(10, |_| false);
        let refused = || Reply::error(status, "invalid", "no");
        for empty in [400, 401, 403, 404, 413, 422] {
            server.reply_next([refused(), Reply::error(empty, "code", "words")]);
            assert!(
                hold(writer.write(&batch).await).contains("words"),
                "{status}, {empty}"
            );
        }
        for empty in [Reply::status(500, ""), Reply::status(200, ""), Reply::cut()] {
            server.reply_next([refused(), empty]);
            let answer = writer.write(&batch).await;
            assert!(matches!(answer, Err(Unwritten::Retry { .. })), "{answer:?}");
        }
        assert_eq!((server.received().len(), server.count()), (18, 0));
        assert_eq!(writer.write(&batch).await.unwrap(), stored(10));
    }
}

#[tokio::test]
async fn an_error_in_the_middle_of_splitting_ends_the_attempt_and_the_next_one_finishes() {
    let server = refusing_bad(Refusal::Unparsable);
    let mut writer = writer(&server);
    let batch = rows(100, |i| i == 70);
    let refused = || Reply::error(400, "invalid", "no");
    let fine = || Reply::status(204, "").forwarding(Forward::Nothing);
    server.reply_next([refused(), fine(), refused(), Reply::status(503, "busy")]);
    let answer = writer.write(&batch).await;
    assert!(matches!(answer, Err(Unwritten::Retry { .. })), "{answer:?}");
    let written = writer.write(&batch).await.unwrap();
    assert_eq!((indexes(&written), server.count()), (vec![70], 99));
}

#[test]
fn a_write_can_run_in_a_task_of_its_own() {
    fn is_send<T: Send>(_: &T) {}
    let server = InfluxProxy::start();
    let mut writer = writer(&server);
    let rows = rows(1, |_| false);
    is_send(&writer.write(&rows));
    let rejected = Rejected {
        index: 0,
        detail: String::new(),
    };
    is_send(&rejected);
}
