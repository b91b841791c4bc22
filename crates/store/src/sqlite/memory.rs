//! The writer's cache of ids and statements, which saves queries for every row.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;

use model::element::Layout;
use rusqlite::{Connection, OptionalExtension, params};

use super::schema;
use crate::field_type::FieldType;

/// An hour in nanoseconds.
pub(super) const HOUR: i64 = 3_600_000_000_000;
/// Most sets of fields in the cache. Usual fleets have a few.
const SETS: usize = 1024;
/// Most newest hours in the cache, about 40 bytes each.
const HOURS: usize = 1 << 20;

/// The cache. It is valid within the transaction in which it was refreshed, and has to be cleared after
/// a rollback.
#[derive(Debug)]
pub(super) struct Memory {
    layout: Layout,
    /// SQLite's `data_version`, which changes when another connection writes.
    others: i64,
    /// The view `rows` is known to be correct.
    is_shown: bool,
    series: HashMap<String, i64>,
    /// The names of tags that are known to be in the table `tag`.
    tags: HashSet<String>,
    /// By name; `None` before they are read.
    fields: Option<HashMap<String, Field>>,
    sets: HashMap<Vec<i64>, Arc<Set>>,
    /// Number of sets so far. A set's number is never reused.
    numbers: usize,
    /// By series and set: the hour up to which the table `newest` is known to be correct.
    hours: HashMap<(i64, usize), i64>,
}

/// A field of the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) id: i64,
    pub(super) kind: FieldType,
}

/// A set of fields that are written together.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) number: usize,
    fields: Vec<i64>,
    /// The statement that writes a row: parameter 1 is the series, 2 the tick, from 3 on the values.
    pub(super) sql: String,
}

impl Memory {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            layout,
            others: 0,
            is_shown: false,
            series: HashMap::new(),
            tags: HashSet::new(),
            fields: None,
            sets: HashMap::new(),
            numbers: 0,
            hours: HashMap::new(),
        }
    }

    /// Refreshes the cache at the start of a transaction.
    pub(super) fn refresh(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let others = connection
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))?;
        if self.others != others {
            self.clear();
            self.others = others;
        }
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.is_shown = false;
        self.series.clear();
        self.tags.clear();
        self.fields = None;
        self.sets.clear();
        self.hours.clear();
    }

    /// The id of the series with this key, which is inserted if it is new.
    pub(super) fn series(&mut self, connection: &Connection, key: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.series.get(key) {
            return Ok(*id);
        }
        let found = connection
            .prepare_cached("SELECT id FROM series WHERE key = ?1")?
            .query_row([key], |row| row.get(0))
            .optional()?;
        let id = if let Some(id) = found {
            id
        } else {
            self.record_tags(connection, key)?;
            connection
                .prepare_cached("INSERT INTO series (key) VALUES (?1)")?
                .insert([key])?
        };
        self.series.insert(key.to_owned(), id);
        Ok(id)
    }

    /// Records the names of a new series' tags, for the view `rows`.
    fn record_tags(&mut self, connection: &Connection, key: &str) -> rusqlite::Result<()> {
        if self.layout == Layout::Rigs {
            return Ok(());
        }
        // The key was made of tags.
        let tags = self.layout.tags(key).unwrap_or_default();
        for (name, _) in tags {
            if self.tags.contains(&*name) {
                continue;
            }
            let added = connection
                .prepare_cached("INSERT OR IGNORE INTO tag (name) VALUES (?1)")?
                .execute([&*name])?;
            if added > 0 {
                self.is_shown = false;
            }
            self.tags.insert(name.into_inner().into_owned());
        }
        Ok(())
    }

    /// All fields, by name.
    pub(super) fn fields(
        &mut self,
        connection: &Connection,
    ) -> rusqlite::Result<&mut HashMap<String, Field>> {
        let fields = match self.fields.take() {
            Some(fields) => fields,
            None => connection
                .prepare_cached("SELECT name, id, type FROM field")?
                .query_map([], |row| {
                    let (id, kind) = (row.get(1)?, row.get(2)?);
                    Ok((row.get(0)?, Field { id, kind }))
                })?
                .collect::<rusqlite::Result<_>>()?,
        };
        Ok(self.fields.insert(fields))
    }

    /// Records that a field has come, or has another name than before.
    pub(super) fn fields_changed(&mut self) {
        self.is_shown = false;
    }

    /// Makes sure that the view `rows` has a column for each field and tag.
    pub(super) fn show_rows(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if !self.is_shown {
            schema::show_rows(connection, self.layout)?;
            self.is_shown = true;
        }
        Ok(())
    }

    /// The set of these fields. They must be ordered and distinct.
    pub(super) fn set(&mut self, fields: Vec<i64>) -> Arc<Set> {
        if let Some(set) = self.sets.get(&fields) {
            return Arc::clone(set);
        }
        if self.sets.len() >= SETS {
            self.sets.clear();
            self.hours.clear();
        }
        self.numbers += 1;
        let set = Arc::new(Set {
            number: self.numbers,
            sql: upsert(&fields),
            fields: fields.clone(),
        });
        self.sets.insert(fields, Arc::clone(&set));
        set
    }

    /// Records that a series has values of these fields at this tick.
    pub(super) fn record_seen(
        &mut self,
        connection: &Connection,
        series: i64,
        set: &Set,
        tick: i64,
    ) -> rusqlite::Result<()> {
        let hour = tick.div_euclid(HOUR);
        let key = (series, set.number);
        if self.hours.get(&key).is_some_and(|known| *known >= hour) {
            return Ok(());
        }
        let mut note = connection.prepare_cached(
            "INSERT INTO newest VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET hour = excluded.hour WHERE excluded.hour > hour",
        )?;
        for field in &set.fields {
            note.execute([series, *field, hour])?;
        }
        if self.hours.len() >= HOURS {
            self.hours.clear();
        }
        self.hours.insert(key, hour);
        Ok(())
    }
}

/// Whether a field has values.
pub(super) fn has_values(connection: &Connection, field: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM newest WHERE field = ?1)")?
        .query_row(params![field], |row| row.get(0))
}

fn upsert(fields: &[i64]) -> String {
    let mut sql = String::from("INSERT INTO row (series, tick");
    // Writing to a string can't fail.
    for field in fields {
        let _ = write!(sql, ", v{field}");
    }
    sql.push_str(") VALUES (?1, ?2");
    for place in 0..fields.len() {
        let _ = write!(sql, ", ?{}", place + 3);
    }
    sql.push_str(") ON CONFLICT DO UPDATE SET ");
    for (place, field) in fields.iter().enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        let _ = write!(sql, "{comma}v{field} = excluded.v{field}");
    }
    sql
}
