//! Pages of rows.

use model::name::Name;
use model::row::Row;
use model::sample::{Tags, Value};
use model::time::Timestamp;

use super::{MAX_PAGE_TEXT, MAX_PAGE_VALUES, Page};

/// The order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Ticks go up.
    OldestFirst,
    /// Ticks go down.
    NewestFirst,
}

/// Collects a page of rows that come in its order.
#[derive(Debug)]
pub(crate) struct Pages {
    limit: usize,
    order: Order,
    values: usize,
    /// Bytes of strings.
    text: usize,
    pub(crate) page: Page,
}

impl Pages {
    pub(crate) fn new(limit: usize, order: Order) -> Self {
        Self {
            limit,
            order,
            values: 0,
            text: 0,
            page: Page {
                rows: Vec::new(),
                next: None,
            },
        }
    }

    /// Adds a row with these values, or makes it the next page's. Returns whether there is place for more.
    pub(crate) fn row(
        &mut self,
        tags: &Tags<'static>,
        time: Timestamp,
        fields: Vec<(Name<'static>, Value)>,
    ) -> bool {
        if fields.is_empty() {
            return true;
        }
        let is_full = self.page.rows.len() >= self.limit
            || self.values >= MAX_PAGE_VALUES
            || self.text >= MAX_PAGE_TEXT;
        if is_full {
            self.page.next = Some(match self.order {
                Order::OldestFirst => time,
                Order::NewestFirst => Timestamp::from_nanos(time.nanos().saturating_add(1)),
            });
            return false;
        }
        let texts = fields.iter().map(|(_, value)| match value {
            Value::String(text) => text.len(),
            _ => 0,
        });
        self.text += texts.sum::<usize>();
        self.values += fields.len();
        self.page.rows.push(Row {
            tags: tags.clone(),
            timestamp: time,
            fields,
        });
        true
    }
}
