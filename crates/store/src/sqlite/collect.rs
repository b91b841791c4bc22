//! What scans collect: pages and buckets.

use model::name::Name;
use model::sample::Tags;
use model::time::Timestamp;

use super::scan::{Collect, ScanError, Values};
use crate::ReadError;
use crate::field_type::FieldType;
use crate::history::{FieldBuckets, Grid, MAX_RESULT_BUCKETS, Order, Page, Pages, Tally};

/// Collects a page of rows.
pub(super) struct PageRows {
    tags: Tags<'static>,
    fields: Vec<Name<'static>>,
    pages: Pages,
}

impl PageRows {
    pub(super) fn new(limit: usize, order: Order) -> Self {
        Self {
            tags: Tags::new(),
            fields: Vec::new(),
            pages: Pages::new(limit, order),
        }
    }

    pub(super) fn finish(self) -> Page {
        self.pages.page
    }
}

impl Collect for PageRows {
    fn wants(&self, _: FieldType) -> bool {
        true
    }

    fn begin(&mut self, tags: Tags<'static>, fields: Vec<Name<'static>>) {
        self.tags = tags;
        self.fields = fields;
    }

    fn row(&mut self, tick: i64, values: Values<'_>) -> Result<bool, ScanError> {
        let mut fields = Vec::with_capacity(self.fields.len());
        for (index, name) in self.fields.iter().enumerate() {
            if let Some(value) = values.get(index)? {
                fields.push((name.clone(), value));
            }
        }
        let time = Timestamp::from_nanos(tick);
        Ok(self.pages.row(&self.tags, time, fields))
    }
}

/// Collects buckets.
pub(super) struct Buckets {
    grid: Grid,
    fields: Vec<FieldBuckets>,
    /// The current bucket of each field.
    open: Vec<Option<Tally>>,
    count: usize,
}

impl Buckets {
    pub(super) fn new(grid: Grid) -> Self {
        Self {
            grid,
            fields: Vec::new(),
            open: Vec::new(),
            count: 0,
        }
    }

    pub(super) fn finish(mut self) -> Vec<FieldBuckets> {
        for (field, open) in std::iter::zip(&mut self.fields, &self.open) {
            field
                .buckets
                .extend(open.map(|tally| tally.bucket(self.grid)));
        }
        self.fields.retain(|field| !field.buckets.is_empty());
        self.fields
    }
}

impl Collect for Buckets {
    fn wants(&self, kind: FieldType) -> bool {
        kind.is_number()
    }

    fn begin(&mut self, _: Tags<'static>, fields: Vec<Name<'static>>) {
        self.open = vec![None; fields.len()];
        let empty = |field: Name<'static>| FieldBuckets {
            field: field.into_inner().into_owned(),
            buckets: Vec::new(),
        };
        self.fields = fields.into_iter().map(empty).collect();
    }

    fn row(&mut self, tick: i64, values: Values<'_>) -> Result<bool, ScanError> {
        let bucket = self.grid.index(tick);
        for (index, open) in self.open.iter_mut().enumerate() {
            let Some(value) = values.number(index)? else {
                continue;
            };
            match open {
                Some(tally) if tally.index() == bucket => tally.add(value),
                open => {
                    let before = open.replace(Tally::of(bucket, value));
                    let before = before.map(|tally| tally.bucket(self.grid));
                    self.fields[index].buckets.extend(before);
                    self.count += 1;
                }
            }
        }
        if self.count > MAX_RESULT_BUCKETS {
            return Err(ScanError::Read(ReadError::BadRequest {
                detail: format!(
                    "more than {MAX_RESULT_BUCKETS} buckets have values: ask for fewer fields, a shorter \
                     time or longer buckets"
                ),
            }));
        }
        Ok(true)
    }
}
