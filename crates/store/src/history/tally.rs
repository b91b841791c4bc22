//! Time buckets and running statistics of their values.

use std::time::Duration;

use model::time::Timestamp;

use super::{Bucket, MAX_BUCKETS, ReadError};

#[cfg(test)]
mod tests;

/// Buckets that start at multiples of their length since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    kind: GridKind,
}

#[derive(Debug, Clone, Copy)]
enum GridKind {
    /// Buckets of this length, in nanoseconds.
    Steps(i64),
    /// One bucket, which starts here.
    Whole(Timestamp),
}

impl Grid {
    /// Buckets of this length, unless `from` to `to` has more than [`MAX_BUCKETS`].
    pub(crate) fn new(bucket: Duration, from: Timestamp, to: Timestamp) -> Result<Self, ReadError> {
        if bucket.is_zero() {
            return Err(ReadError::BadRequest {
                detail: "a bucket has to be longer than 0".into(),
            });
        }
        let step = i64::try_from(bucket.as_nanos()).unwrap_or(i64::MAX);
        let grid = Self {
            kind: GridKind::Steps(step),
        };
        let last = to.nanos().saturating_sub(1);
        let count = match grid.index(last).checked_sub(grid.index(from.nanos())) {
            // A range that ends before it starts has no buckets.
            Some(apart) => u64::try_from(apart.saturating_add(1)).unwrap_or(0),
            None => u64::MAX,
        };
        if count > MAX_BUCKETS {
            return Err(ReadError::BadRequest {
                detail: format!(
                    "{from} to {to} has {count} buckets of {bucket:?}, at most {MAX_BUCKETS} are \
                     answered: ask for a shorter time or for longer buckets"
                ),
            });
        }
        Ok(grid)
    }

    /// A single bucket that holds everything and starts at `from`.
    pub(crate) fn whole(from: Timestamp) -> Self {
        Self {
            kind: GridKind::Whole(from),
        }
    }

    /// The number of the bucket that a tick in nanoseconds is in, counted from 1970.
    pub(crate) fn index(self, tick: i64) -> i64 {
        match self.kind {
            GridKind::Steps(step) => tick.div_euclid(step),
            GridKind::Whole(_) => 0,
        }
    }

    fn start(self, index: i64) -> Timestamp {
        match self.kind {
            GridKind::Steps(step) => Timestamp::from_nanos(index.saturating_mul(step)),
            GridKind::Whole(from) => from,
        }
    }
}

/// Running statistics of a bucket by Welford's method, which stays exact where values are large and
/// close to each other, unlike a sum of squares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tally {
    index: i64,
    count: u64,
    mean: f64,
    squares: f64,
    min: f64,
    max: f64,
}

impl Tally {
    /// Starts with the first value of the bucket with this index.
    pub(crate) fn of(index: i64, value: f64) -> Self {
        Self {
            index,
            count: 1,
            mean: value,
            squares: 0.0,
            min: value,
            max: value,
        }
    }

    /// The bucket's number.
    pub(crate) fn index(&self) -> i64 {
        self.index
    }

    /// Adds a value.
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1;
        #[expect(
            clippy::cast_precision_loss,
            reason = "2^53 values would take centuries to read"
        )]
        let count = self.count as f64;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let apart = value - self.mean;
        // Two values of the largest kind may be farther apart than a double can say.
        self.mean += if apart.is_finite() {
            apart / count
        } else {
            value / count - self.mean / count
        };
        self.squares += apart * (value - self.mean);
    }

    /// The sample's standard deviation (divisor n - 1). `None` for a single value, or if it is too large for a double.
    pub(crate) fn stddev(&self) -> Option<f64> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "2^53 values would take centuries to read"
        )]
        let others = self.count.saturating_sub(1) as f64;
        let stddev = (self.squares / others).sqrt();
        Some(stddev).filter(|stddev| self.count > 1 && stddev.is_finite())
    }

    /// The statistics.
    pub(crate) fn bucket(&self, grid: Grid) -> Bucket {
        Bucket {
            start: grid.start(self.index),
            count: self.count,
            // Rounding may carry the mean of equal values past them.
            mean: self.mean.clamp(self.min, self.max),
            min: self.min,
            max: self.max,
            stddev: self.stddev(),
        }
    }
}
