//! Pages, the newest values, and what can't be answered.

use std::time::Duration;

use model::Timestamp;
use store::history::{Latest, MAX_PAGE_TEXT, Selection};
use store::{History, ReadError, Store};

use super::{all_of_1970, owned};
use crate::fixture::{Fixture, all, row, rows_of, seconds, string, tagged};

pub(super) async fn a_range_has_its_first_tick_and_not_its_last<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let rows: Vec<_> = (0..10)
        .map(|second| {
            row(
                "R",
                second,
                &[if second % 2 == 0 {
                    ("even", 0.5)
                } else {
                    ("odd", 1.5)
                }],
            )
        })
        .collect();
    store.write(&rows).await.unwrap();
    let ask = async |fields: &[&str], from, to| {
        let fields = owned(fields);
        let of = Selection {
            series: "R",
            fields: &fields,
            from: seconds(from),
            to: seconds(to),
        };
        let upwards = history.range(of, 100).await.unwrap().rows;
        let mut downwards = history.newest(of, 100).await.unwrap().rows;
        downwards.reverse();
        assert_eq!(upwards, downwards, "{of:?}");
        upwards
    };
    assert_eq!(ask(&[], 3, 6).await, rows[3..6]);
    assert_eq!(ask(&[], 3, 4).await, rows[3..4]);
    assert_eq!(ask(&[], 3, 3).await, []);
    assert_eq!(ask(&[], 6, 3).await, []);
    assert_eq!(ask(&[], 8, 99).await, rows[8..]);
    assert_eq!(
        ask(&["odd"], 3, 6).await,
        [rows[3].clone(), rows[5].clone()]
    );
    assert_eq!(ask(&["even", "odd", "even", "none"], 0, 10).await, rows);
    assert_eq!(ask(&["none"], 0, 10).await, []);
}

pub(super) async fn pages_follow_each_other<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let rows: Vec<_> = (0..25)
        .map(|second| row("R", second, &[("a", 1.0)]))
        .collect();
    store.write(&rows).await.unwrap();
    for limit in [1, 4, 5, 24, 25, 26, usize::MAX] {
        let mut of = all("R");
        let mut read = Vec::new();
        loop {
            let page = history.range(of, limit).await.unwrap();
            assert!((1..=limit).contains(&page.rows.len()), "{limit}");
            read.extend(page.rows);
            let Some(next) = page.next else { break };
            of.from = next;
        }
        assert_eq!(read, rows, "{limit}");
    }
}

pub(super) async fn newest_rows_come_first<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let mut rows: Vec<_> = (0..25)
        .map(|second| row("R", second, &[("a", 1.0)]))
        .collect();
    store.write(&rows).await.unwrap();
    rows.reverse();
    for limit in [1, 4, 5, 24, 25, 26, usize::MAX] {
        let mut of = all("R");
        let mut read = Vec::new();
        loop {
            let page = history.newest(of, limit).await.unwrap();
            assert!((1..=limit).contains(&page.rows.len()), "{limit}");
            read.extend(page.rows);
            let Some(next) = page.next else { break };
            of.to = next;
        }
        assert_eq!(read, rows, "{limit}");
    }
}

pub(super) async fn newest_rows_of_a_field_that_has_ended<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let hour = 3_600;
    let rows = [
        row("R", hour - 1, &[("ended", 1.0)]),
        row("R", hour, &[("ended", 2.0), ("a", 2.0)]),
        row("R", 5 * hour, &[("a", 3.0)]),
    ];
    store.write(&rows).await.unwrap();
    let fields = owned(&["ended"]);
    let of = Selection {
        fields: &fields,
        ..all("R")
    };
    let page = history.newest(of, 10).await.unwrap();
    let only = row("R", hour, &[("ended", 2.0)]);
    assert_eq!(page.rows, [only, rows[0].clone()]);
}

pub(super) async fn pages_of_long_strings_are_short<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let long = string(&"x".repeat(MAX_PAGE_TEXT / 8));
    for second in 0..10 {
        let row = tagged(&[("rig_id", "R")], second, &[("text", long.clone())]);
        store.write(&[row]).await.unwrap();
    }
    let page = history.range(all("R"), 100).await.unwrap();
    assert_eq!((page.rows.len(), page.next), (8, Some(seconds(8))));
    let newest = history.newest(all("R"), 100).await.unwrap();
    let before = Timestamp::from_nanos(seconds(1).nanos() + 1);
    assert_eq!((newest.rows.len(), newest.next), (8, Some(before)));
    assert_eq!(rows_of(history, "R").await.len(), 10);
}

pub(super) async fn the_newest_value_of_each_field_is_the_latest<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let rows = [
        row("R", 100, &[("b", 1.0), ("a", 2.0)]),
        row("R", 90_000, &[("b", 3.0)]),
        row("R", 89_999, &[("b", 4.0), ("c", 5.0)]),
        row("S", 99_999, &[("a", 6.0)]),
    ];
    store.write(&rows).await.unwrap();
    let latest = |field: &str, second, value: f64| Latest {
        field: field.into(),
        tick: seconds(second),
        value: value.into(),
    };
    assert_eq!(
        history.latest("R").await.unwrap(),
        [
            latest("a", 100, 2.0),
            latest("b", 90_000, 3.0),
            latest("c", 89_999, 5.0),
        ]
    );
    // Late, but newer than what there was; and later than that, but older.
    let late = [row("R", 200, &[("a", 7.0)]), row("R", 150, &[("a", 8.0)])];
    for late in late {
        store.write(&[late]).await.unwrap();
        let answered = history.latest("R").await.unwrap();
        assert_eq!(answered[0], latest("a", 200, 7.0));
    }
}

pub(super) async fn what_is_not_known_is_empty<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    for _ in 0..2 {
        assert_eq!(history.fields(Some("none")).await.unwrap(), [""; 0]);
        assert_eq!(history.latest("none").await.unwrap(), []);
        for page in [
            history.range(all("none"), 10).await.unwrap(),
            history.newest(all("none"), 10).await.unwrap(),
        ] {
            assert_eq!((page.rows, page.next), (vec![], None));
        }
        let of = Selection {
            series: "no such name, ever\0",
            ..all_of_1970()
        };
        let second = Duration::from_secs(1);
        assert_eq!(history.buckets(of, second).await.unwrap(), []);
        let strange = owned(&["\"; DROP TABLE row; --"]);
        let of = Selection {
            fields: &strange,
            ..all_of_1970()
        };
        assert_eq!(history.buckets(of, second).await.unwrap(), []);
        store.write(&[row("R", 1, &[("a", 1.0)])]).await.unwrap();
    }
}

pub(super) async fn what_cannot_be_answered_is_refused<F: Fixture>(fixture: &F) {
    let history = fixture.history();
    let bad = |error: ReadError| matches!(error, ReadError::BadRequest { .. });
    assert!(bad(history.range(all("R"), 0).await.unwrap_err()));
    assert!(bad(history.newest(all("R"), 0).await.unwrap_err()));
    let of = all_of_1970();
    assert!(bad(history.buckets(of, Duration::ZERO).await.unwrap_err()));
    let short = Duration::from_millis(100);
    assert!(bad(history.buckets(of, short).await.unwrap_err()));
    let second = Duration::from_secs(1);
    assert!(bad(history.buckets(all("R"), second).await.unwrap_err()));
    history.buckets(of, second).await.unwrap();
}
