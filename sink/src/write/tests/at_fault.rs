//! Whether the rows or the store are at fault.

use super::*;

/// Writes a batch. Returns the result, and the number of requests.
async fn counted(
    server: &InfluxProxy,
    writer: &mut Writer<InfluxStore>,
    rows: &[Row<'_>],
) -> (Result<Written, Unwritten>, usize) {
    let before = server.received().len();
    let answer = writer.write(rows).await;
    (answer, server.received().len() - before)
}

/// Refuses writes with bad rows for an unknown reason, and stores the other rows, as with a 422.
fn refuse_bad_for_unknown_reasons(server: &InfluxProxy) {
    server.reply_by(|write| {
        let text = write.text();
        let (bad, good): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.contains("rig_id=BAD "));
        let refusal = Reply::error(422, "unprocessable entity", "strange");
        match (bad.is_empty(), good.is_empty()) {
            (true, _) => None,
            (false, true) => Some(refusal),
            (false, false) => Some(refusal.forwarding(Forward::Instead(good.join("\n")))),
        }
    });
}

#[tokio::test]
async fn rows_that_the_store_blames_never_hold_the_batch() {
    for (refusal, most) in [
        (Refusal::Unparsable, 2 * 300 + 1),
        (Refusal::OutsideRetention, 2),
    ] {
        let server = refusing_bad(refusal);
        let mut writer = writer(&server);
        for _ in 0..2 {
            let (answer, requests) = counted(&server, &mut writer, &rows(300, |_| true)).await;
            let written = answer.unwrap();
            assert_eq!((written.stored, written.rejected.len()), (0, 300));
            assert!(requests <= most, "{refusal:?}: {requests} requests");
        }
    }
}

#[tokio::test]
async fn rows_of_a_conflicting_type_never_hold_the_batch() {
    let server = InfluxProxy::start();
    let integer = format!("rig_measurements,rig_id=X temp_inlet=1i {}", nanos(0));
    InfluxDb::shared().write(server.bucket(), &integer);
    let mut batch = rows(150, |_| false);
    let written = writer(&server).write(&batch).await.unwrap();
    assert_eq!((written.stored, written.rejected.len()), (0, 150));
    let detail = &written.rejected[149].detail;
    assert!(
        detail.contains("already exists as type integer"),
        "{detail}"
    );
    batch[149].fields[0].0 = Name::new("pressure").unwrap();
    let written = writer(&server).write(&batch).await.unwrap();
    assert_eq!((written.stored, written.rejected.len()), (1, 149));
}

#[tokio::test]
async fn backlog_of_an_outage_longer_than_the_retention_is_stored_as_far_as_possible() {
    const SPAN: i64 = 4_000;
    let retention = Duration::from_hours(1);
    let server = InfluxProxy::with_retention(Some(retention));
    let now = common::clock::Clock::system().now();
    let oldest = now.minus(2 * retention).nanos();
    let step = 2 * nanos_of(retention) / SPAN;
    let batch: Vec<_> = (0..SPAN)
        .map(|index| {
            let mut row = row(0, false);
            row.timestamp = Timestamp::from_nanos(oldest + index * step);
            row.fields
                .push((Name::new("pressure").unwrap(), 1.0.into()));
            row
        })
        .collect();
    let (answer, requests) = counted(&server, &mut writer(&server), &batch).await;
    let written = answer.unwrap();
    // The server's clock goes on in the meantime.
    assert!(
        (1_900..=2_000).contains(&written.stored),
        "{}",
        written.stored
    );
    assert_eq!(
        indexes(&written),
        (0..4_000 - written.stored).collect::<Vec<_>>()
    );
    // InfluxDB also stores older rows of a shard that newer rows of the same write are in.
    assert!(server.count() >= written.stored);
    assert!(requests <= 40, "{requests} requests");
}

#[tokio::test]
async fn rows_refused_for_unknown_reasons_are_rejected_if_the_store_accepts_others() {
    for good in [1, 20] {
        let server = InfluxProxy::start();
        refuse_bad_for_unknown_reasons(&server);
        let batch = rows(130 + good, |index| index < 130);
        let written = writer(&server).write(&batch).await.unwrap();
        assert_eq!(indexes(&written), (0..130).collect::<Vec<_>>());
        assert_eq!((written.stored, server.count()), (good, good));
    }
}

#[tokio::test]
async fn store_that_refuses_everything_for_unknown_reasons_holds_the_batch() {
    let server = InfluxProxy::start();
    refuse_bad_for_unknown_reasons(&server);
    let mut writer = writer(&server);
    let batch = rows(300, |_| true);
    for _ in 0..2 {
        let words = hold(writer.write(&batch).await);
        assert!(
            words.contains("refused 300 of 300 rows") && words.ends_with("strange"),
            "{words}"
        );
        assert!(!words.contains("dead letters"), "{words}");
    }
    refuse_nothing(&server);
    assert_eq!(writer.write(&batch).await.unwrap(), stored(300));
    assert_eq!(server.count(), 300);
}

#[tokio::test]
async fn the_hundredth_is_the_first_that_is_held() {
    let server = InfluxProxy::start();
    refuse_bad_for_unknown_reasons(&server);
    let written = writer(&server).write(&rows(99, |_| true)).await.unwrap();
    assert_eq!((written.stored, written.rejected.len()), (0, 99));
    hold(writer(&server).write(&rows(100, |_| true)).await);
}

#[tokio::test]
async fn a_413_to_everything_is_held_too() {
    let server = InfluxProxy::start();
    server.reply_by(|write| Reply::too_large(write, 1));
    let mut writer = writer(&server);
    let words = hold(writer.write(&rows(200, |_| false)).await);
    assert!(words.contains("413"), "{words}");
    server.reply_by_nothing();
    assert_eq!(
        writer.write(&rows(200, |_| false)).await.unwrap(),
        stored(200)
    );
}

#[tokio::test]
async fn single_bad_rows_add_up_over_batches_until_one_is_accepted() {
    let server = InfluxProxy::start();
    refuse_bad_for_unknown_reasons(&server);
    let mut writer = writer(&server);
    let bad = rows(1, |_| true);
    for _ in 0..99 {
        assert_eq!(writer.write(&bad).await.unwrap().rejected.len(), 1);
    }
    for _ in 0..3 {
        let (answer, again) = counted(&server, &mut writer, &bad).await;
        let words = hold(answer);
        assert!(
            words.contains("refused 1 of 1 rows")
                && words.contains("(99 before them became dead letters)"),
            "{words}"
        );
        assert_eq!(again, 2, "the row and an empty write");
    }
    let written = writer.write(&rows(3, |i| i == 0)).await.unwrap();
    assert_eq!(indexes(&written), [0], "a row behind it was accepted");
    for _ in 0..99 {
        assert_eq!(writer.write(&bad).await.unwrap().rejected.len(), 1);
    }
    assert_eq!(writer.write(&rows(1, |_| false)).await.unwrap(), stored(1));
    assert_eq!(writer.write(&bad).await.unwrap().rejected.len(), 1);
}

#[tokio::test]
async fn aborted_attempt_does_not_count_its_refusals_twice() {
    let server = InfluxProxy::start();
    refuse_bad_for_unknown_reasons(&server);
    let mut writer = writer(&server);
    let batch = rows(60, |_| true);
    for _ in 0..3 {
        let refused = || Reply::error(400, "invalid", "no");
        let mut replies = vec![refused(), Reply::status(204, "")];
        replies.extend((0..100).map(|_| refused()));
        replies.push(Reply::status(503, "busy"));
        server.reply_next(replies);
        let answer = writer.write(&batch).await;
        assert!(matches!(answer, Err(Unwritten::Retry { .. })), "{answer:?}");
    }
    let written = writer.write(&batch).await.unwrap();
    assert_eq!(written.rejected.len(), 60);
}
