//! Statistics of fields whose numbers come in order of time.

use model::name::Name;

use super::{FieldBuckets, Grid, MAX_RESULT_BUCKETS, ReadError, Tally};

/// The buckets of each field.
#[derive(Debug)]
pub(crate) struct Tallies {
    grid: Grid,
    fields: Vec<FieldBuckets>,
    /// The current bucket of each field.
    open: Vec<Option<Tally>>,
    count: usize,
}

impl Tallies {
    pub(crate) fn new(grid: Grid, fields: &[Name<'_>]) -> Self {
        let empty = |field: &Name<'_>| FieldBuckets {
            field: field.to_string(),
            buckets: Vec::new(),
        };
        Self {
            grid,
            fields: fields.iter().map(empty).collect(),
            open: vec![None; fields.len()],
            count: 0,
        }
    }

    /// Adds a number of the field with this index.
    pub(crate) fn add(&mut self, field: usize, tick: i64, number: f64) -> Result<(), ReadError> {
        let bucket = self.grid.index(tick);
        match &mut self.open[field] {
            Some(tally) if tally.index() == bucket => tally.add(number),
            open => {
                let before = open.replace(Tally::of(bucket, number));
                let before = before.map(|tally| tally.bucket(self.grid));
                self.fields[field].buckets.extend(before);
                self.count += 1;
            }
        }
        if self.count > MAX_RESULT_BUCKETS {
            return Err(ReadError::BadRequest {
                detail: format!(
                    "more than {MAX_RESULT_BUCKETS} buckets have values: ask for fewer fields, a shorter \
                     time or longer buckets"
                ),
            });
        }
        Ok(())
    }

    /// The fields that have buckets.
    pub(crate) fn finish(mut self) -> Vec<FieldBuckets> {
        for (field, open) in std::iter::zip(&mut self.fields, &self.open) {
            let last = open.map(|tally| tally.bucket(self.grid));
            field.buckets.extend(last);
        }
        self.fields.retain(|field| !field.buckets.is_empty());
        self.fields
    }
}
