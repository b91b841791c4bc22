//! What the series of a response are, and their newest values.

use std::collections::{BTreeMap, BTreeSet};

use model::Layout;
use model::name::Name;
use model::sample::{Tags, Value};
use model::time::Timestamp;

use super::tables::{Collect, Kind, Table};
use crate::ReadError;
use crate::history::Latest;

/// The tags of a series' key; `None` if no series has this key.
pub(super) fn tags_of(layout: Layout, key: &str) -> Option<Tags<'static>> {
    let tags = layout.tags(key).ok()?.into_iter();
    let tags: Tags<'static> = tags
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    (layout.series_key(&tags) == key).then_some(tags)
}

/// The key of the series with these tags; `None` if Rigline doesn't write such a series.
fn key_of(layout: Layout, tags: &Tags<'_>) -> Option<String> {
    let key = layout.series_key(tags);
    let is_one = match layout {
        Layout::Rigs => layout.tags(&key).is_ok_and(|its| its == *tags),
        Layout::Tagged => true,
    };
    is_one.then(|| key.into_owned())
}

/// The series that a response has points of.
#[derive(Debug)]
pub(super) struct Found {
    layout: Layout,
    /// By key.
    pub(super) series: BTreeMap<String, FoundSeries>,
    current: Option<(String, Table)>,
}

/// A series.
#[derive(Debug)]
pub(super) struct FoundSeries {
    pub(super) tags: Tags<'static>,
    /// Its fields with their types.
    pub(super) fields: BTreeMap<Name<'static>, Kind>,
    /// The first tick.
    pub(super) first: i64,
    /// The last tick.
    pub(super) last: i64,
}

impl FoundSeries {
    pub(super) fn has_tag(&self, name: &Name<'_>) -> bool {
        self.tags.iter().any(|(tag, _)| tag == name)
    }
}

impl Found {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            layout,
            series: BTreeMap::new(),
            current: None,
        }
    }
}

impl Collect for Found {
    fn table(&mut self, table: &Table) {
        self.current = key_of(self.layout, &table.tags).map(|key| (key, table.clone()));
    }

    fn point(&mut self, tick: i64, _: Value) -> Result<(), ReadError> {
        let Some((key, table)) = self.current.take() else {
            return Ok(());
        };
        let series = self.series.entry(key).or_insert_with(|| FoundSeries {
            tags: table.tags,
            fields: BTreeMap::new(),
            first: tick,
            last: tick,
        });
        series.fields.insert(table.field, table.kind);
        series.first = series.first.min(tick);
        series.last = series.last.max(tick);
        Ok(())
    }
}

/// The newest values of series.
#[derive(Debug)]
pub(super) struct Newest {
    layout: Layout,
    /// By key and field.
    values: BTreeMap<String, BTreeMap<Name<'static>, (i64, Value)>>,
    /// The fields whose values are strings.
    pub(super) texts: BTreeSet<Name<'static>>,
    /// Strings come escaped; otherwise, their values aren't taken.
    pub(super) is_escaped: bool,
    current: Option<(String, Name<'static>)>,
}

impl Newest {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            layout,
            values: BTreeMap::new(),
            texts: BTreeSet::new(),
            is_escaped: false,
            current: None,
        }
    }

    /// The values by key, ordered by field.
    pub(super) fn finish(self) -> BTreeMap<String, Vec<Latest>> {
        let series = self.values.into_iter().map(|(key, values)| {
            let values = values.into_iter().map(|(field, (tick, value))| Latest {
                field: field.into_inner().into_owned(),
                tick: Timestamp::from_nanos(tick),
                value,
            });
            (key, values.collect())
        });
        series.collect()
    }
}

impl Collect for Newest {
    fn table(&mut self, table: &Table) {
        let is_text = table.kind == Kind::String;
        let key = key_of(self.layout, &table.tags).filter(|_| !is_text || self.is_escaped);
        self.current = key.map(|key| (key, table.field.clone()));
        if is_text {
            self.texts.insert(table.field.clone());
        }
    }

    fn point(&mut self, tick: i64, value: Value) -> Result<(), ReadError> {
        if let Some((key, field)) = self.current.take() {
            let values = self.values.entry(key).or_default();
            values.insert(field, (tick, value));
        }
        Ok(())
    }
}
