//! A hundred rows one after another refused.

use super::*;

/// A write, and how many requests it took.
async fn counted(
    server: &InfluxProxy,
    writer: &mut Writer<InfluxStore>,
    rows: &[Row<'_>],
) -> (Result<Written, Unwritten>, usize) {
    let before = server.received().len();
    let answer = writer.write(rows).await;
    (answer, server.received().len() - before)
}

#[tokio::test]
async fn store_that_refuses_everything_is_held_and_probed_with_one_request() {
    for refusal in [Refusal::Unparsable, Refusal::OutsideRetention] {
        let server = refusing_bad(refusal);
        let mut writer = writer(&server);
        let batch = rows(5_000, |_| true);
        let (answer, first) = counted(&server, &mut writer, &batch).await;
        let words = hold(answer);
        assert!(
            words.contains("100 rows") && words.contains("answered 4"),
            "{words}"
        );
        assert!(first <= 250, "{first} requests");
        for _ in 0..3 {
            let (answer, again) = counted(&server, &mut writer, &batch).await;
            hold(answer);
            assert!(again <= 28, "{again} requests while holding");
        }
        refuse_nothing(&server);
        assert_eq!(writer.write(&batch).await.unwrap(), stored(5_000));
        assert_eq!(server.count(), 5_000);
    }
}

#[tokio::test]
async fn the_hundredth_is_the_first_that_is_held() {
    let server = refusing_bad(Refusal::Unparsable);
    let written = writer(&server).write(&rows(99, |_| true)).await.unwrap();
    assert_eq!((written.stored, written.rejected.len()), (0, 99));
    hold(writer(&server).write(&rows(100, |_| true)).await);
}

#[tokio::test]
async fn a_413_to_everything_is_held_too() {
    let server = InfluxProxy::start();
    server.reply_by(|write| Reply::too_large(write, 1));
    let mut writer = writer(&server);
    let words = hold(writer.write(&rows(1_000, |_| false)).await);
    assert!(words.contains("413"), "{words}");
    server.reply_by_nothing();
    assert_eq!(
        writer.write(&rows(1_000, |_| false)).await.unwrap(),
        stored(1_000)
    );
}

#[tokio::test]
async fn single_bad_rows_add_up_over_batches_until_one_is_accepted() {
    let server = refusing_bad(Refusal::Unparsable);
    let mut writer = writer(&server);
    let bad = rows(1, |_| true);
    for _ in 0..99 {
        assert_eq!(writer.write(&bad).await.unwrap().rejected.len(), 1);
    }
    for _ in 0..3 {
        let (answer, again) = counted(&server, &mut writer, &bad).await;
        hold(answer);
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
async fn many_refusals_are_due_to_the_rows_if_a_later_row_is_accepted() {
    let server = refusing_bad(Refusal::OutsideRetention);
    let mut writer = writer(&server);
    let batch = rows(1_000, |i| (100..400).contains(&i));
    let written = writer.write(&batch).await.unwrap();
    assert_eq!(indexes(&written), (100..400).collect::<Vec<_>>());
    assert_eq!(server.count(), 700);
}

#[tokio::test]
async fn refusals_at_the_end_of_a_batch_are_held_and_probed_with_one_request() {
    let server = refusing_bad(Refusal::Unparsable);
    let mut writer = writer(&server);
    let batch = rows(5_000, |i| i >= 1_234);
    hold(writer.write(&batch).await);
    for _ in 0..3 {
        let (answer, again) = counted(&server, &mut writer, &batch).await;
        hold(answer);
        assert!(again <= 28, "{again} requests while holding");
    }
    refuse_nothing(&server);
    assert_eq!(writer.write(&batch).await.unwrap(), stored(5_000));
    refuse_bad(&server);
    let written = writer.write(&rows(2_000, |i| i == 1_234)).await.unwrap();
    assert_eq!(
        indexes(&written),
        [1_234],
        "what was held once counts again"
    );
}

#[tokio::test]
async fn aborted_attempt_does_not_count_its_refusals_twice() {
    let server = refusing_bad(Refusal::Unparsable);
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
