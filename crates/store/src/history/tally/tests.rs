use std::time::Duration;

use model::time::Timestamp;

use super::{Grid, Tally};
use crate::ReadError;
use crate::history::Bucket;

fn grid(bucket: Duration, from: i64, to: i64) -> Result<Grid, ReadError> {
    Grid::new(
        bucket,
        Timestamp::from_nanos(from),
        Timestamp::from_nanos(to),
    )
}

fn bucket_of(values: &[f64]) -> Bucket {
    let mut tally = Tally::of(-2, values[0]);
    for value in &values[1..] {
        tally.add(*value);
    }
    tally.bucket(grid(Duration::from_nanos(10), -20, -10).unwrap())
}

#[test]
fn small_differences_of_large_values_are_kept() {
    let bucket = bucket_of(&[1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0]);
    assert_eq!(bucket.mean.to_bits(), (1e9_f64 + 10.0).to_bits());
    assert_eq!(bucket.stddev.unwrap().to_bits(), 30_f64.sqrt().to_bits());
    assert_eq!((bucket.start.nanos(), bucket.count), (-20, 4));
}

#[test]
fn extreme_values_have_a_mean() {
    let one = bucket_of(&[f64::MAX]);
    assert_eq!((one.mean, one.stddev), (f64::MAX, None));
    let both = bucket_of(&[f64::MAX, f64::MIN]);
    assert_eq!((both.mean, both.stddev), (0.0, None));
    let same = bucket_of(&[f64::MAX; 7]);
    assert_eq!((same.mean, same.stddev), (f64::MAX, Some(0.0)));
}

#[test]
fn bucket_count_is_limited() {
    let second = Duration::from_secs(1);
    let limit = 100_000_000_000_000;
    assert!(grid(second, 0, limit).is_ok());
    assert!(
        grid(second, -1, limit).is_err(),
        "the first one is a part of a bucket"
    );
    assert!(grid(second, 0, limit + 1).is_err());
    assert!(grid(second, limit, 0).is_ok(), "nothing at all");
    assert!(grid(Duration::from_nanos(1), i64::MIN, i64::MAX).is_err());
    assert!(grid(Duration::from_hours(24 * 365), i64::MIN, i64::MAX).is_ok());
    assert!(grid(Duration::MAX, i64::MIN, i64::MAX).is_ok());
    assert!(grid(Duration::ZERO, 0, 1).is_err());
}
