//! What scans collect: pages and buckets.

use model::name::Name;
use model::row::Row;
use model::sample::{Tags, Value};
use model::time::Timestamp;

use super::field_type::FieldType;
use super::scan::{Collect, Order, ScanError, Values};
use crate::ReadError;
use crate::history::{
    FieldBuckets, Grid, MAX_PAGE_TEXT, MAX_PAGE_VALUES, MAX_RESULT_BUCKETS, Page, Tally,
};

/// Collects a page of rows.
pub(super) struct Pages {
    tags: Tags<'static>,
    fields: Vec<Name<'static>>,
    limit: usize,
    order: Order,
    values: usize,
    /// Bytes of strings.
    text: usize,
    pub(super) page: Page,
}

impl Pages {
    pub(super) fn new(limit: usize, order: Order) -> Self {
        Self {
            order,
            tags: Tags::new(),
            fields: Vec::new(),
            limit,
            values: 0,
            text: 0,
            page: Page {
                rows: Vec::new(),
                next: None,
            },
        }
    }

    fn is_full(&self) -> bool {
        self.page.rows.len() >= self.limit
            || self.values >= MAX_PAGE_VALUES
            || self.text >= MAX_PAGE_TEXT
    }
}

impl Collect for Pages {
    fn wants(&self, _: FieldType) -> bool {
        true
    }

    fn begin(&mut self, tags: Tags<'static>, fields: Vec<Name<'static>>) {
        self.tags = tags;
        self.fields = fields;
    }

    fn row(&mut self, tick: i64, values: Values<'_>) -> Result<bool, ScanError> {
        let mut fields = Vec::with_capacity(self.fields.len());
        let mut text = 0;
        for (index, name) in self.fields.iter().enumerate() {
            let Some(value) = values.get(index)? else {
                continue;
            };
            if let Value::String(string) = &value {
                text += string.len();
            }
            fields.push((name.clone(), value));
        }
        if fields.is_empty() {
            return Ok(true);
        }
        let time = Timestamp::from_nanos(tick);
        if self.is_full() {
            self.page.next = Some(match self.order {
                Order::OldestFirst => time,
                Order::NewestFirst => Timestamp::from_nanos(tick + 1),
            });
            return Ok(false);
        }
        self.text += text;
        self.values += fields.len();
        self.page.rows.push(Row {
            tags: self.tags.clone(),
            timestamp: time,
            fields,
        });
        Ok(true)
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
