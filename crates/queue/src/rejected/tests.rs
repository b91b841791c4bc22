use std::time::{Duration, Instant};

use common::log_interval::WARNING_INTERVAL;
use model::Stage;
use model::dead_letter::{Reason, Rejection};
use model::time::Timestamp;

use super::{DeadLetterEncoder, Input, MAX_QUOTAS, Quotas, Tally};
use crate::settings::QueueLimits;

const LIMITS: QueueLimits = QueueLimits {
    batch: 100,
    queue_limit: 100,
    dead_letter_limit: 50,
    dead_letter_bytes: 10_000,
};

#[test]
fn series_keeps_a_tenth_of_the_letters_per_reason_and_others_keep_theirs() {
    let mut quotas = Quotas::new(&LIMITS);
    let now = Instant::now();
    let mut admitted = |series: &str, reason| {
        (0..1_000)
            .filter(|_| quotas.admit(series, reason, 1, now))
            .count()
    };
    assert_eq!(admitted("R", Reason::BadValue), 5);
    assert_eq!(admitted("R", Reason::Future), 5);
    assert_eq!(admitted("S", Reason::BadValue), 5);
}

#[test]
fn series_keeps_a_tenth_of_the_bytes_but_always_one_letter() {
    let mut quotas = Quotas::new(&LIMITS);
    let now = Instant::now();
    assert!(quotas.admit("R", Reason::TooLarge, 600, now));
    assert!(!quotas.admit("R", Reason::TooLarge, 600, now));
    assert!(quotas.admit("R", Reason::TooLarge, 400, now));
    assert!(quotas.admit("S", Reason::TooLarge, 65_536, now));
    assert!(!quotas.admit("S", Reason::TooLarge, 1, now));
}

#[test]
fn quotas_start_again_each_day() {
    let mut quotas = Quotas::new(&LIMITS);
    let start = Instant::now();
    let day = Duration::from_hours(24);
    for now in [start, start + day, start + 3 * day] {
        let kept = (0..20).filter(|_| quotas.admit("R", Reason::BadValue, 1, now));
        assert_eq!(kept.count(), 5);
    }
}

#[test]
fn ever_new_names_share_one_quota_and_bounded_memory() {
    let mut quotas = Quotas::new(&LIMITS);
    let now = Instant::now();
    let kept = (0..MAX_QUOTAS + 1_000)
        .filter(|name| quotas.admit(&format!("R{name}"), Reason::BadValue, 1, now))
        .count();
    assert_eq!(kept, MAX_QUOTAS + 5);
    assert_eq!(quotas.used.len(), MAX_QUOTAS + 1);
    let long = "ü".repeat(10_000);
    assert!(!quotas.admit(&long, Reason::BadValue, 1, now));
}

#[test]
fn what_is_rejected_after_a_message_is_part_of_the_next_one() {
    let mut encoder = DeadLetterEncoder::new(Stage::Ingester, &LIMITS);
    let rejection = Rejection::new(Reason::NotJson, "not JSON");
    for topic in ["a", "b", "c"] {
        let input = Input {
            series: "R",
            topic,
            payload: b"x",
            truncated: None,
            time: Timestamp::from_millis(0),
        };
        encoder.encode(&rejection, &input);
    }
    let now = Instant::now();
    assert_eq!(encoder.take_due(now), None, "the first one is logged");
    let later = now + WARNING_INTERVAL;
    let unlogged = encoder.take_due(later).unwrap();
    assert_eq!(unlogged.counts, [("not_json", 2)].into());
    assert_eq!((&*unlogged.topic, &*unlogged.detail), ("c", "not JSON"));
    assert_eq!(encoder.take_due(later + WARNING_INTERVAL), None);
}

#[test]
fn letters_beyond_the_quota_are_not_encoded() {
    let mut encoder = DeadLetterEncoder::new(Stage::Ingester, &LIMITS);
    let rejection = Rejection::new(Reason::NotJson, "not JSON");
    let input = Input {
        series: "R",
        topic: "rigs/R/measurements/a",
        payload: b"x",
        truncated: None,
        time: Timestamp::from_millis(0),
    };
    let rejected: Vec<_> = (0..8).map(|_| encoder.encode(&rejection, &input)).collect();
    assert!(
        rejected
            .iter()
            .all(|rejected| rejected.reason == Reason::NotJson)
    );
    let (elements, tally) = Tally::split(rejected);
    assert_eq!((elements.len(), tally.over_quota()), (5, 3));
}
