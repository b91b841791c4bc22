//! The writer's cache of ids and statements, which saves queries for every row.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

/// An hour in nanoseconds.
pub(super) const HOUR: i64 = 3_600_000_000_000;
/// Most sets of sensors in the cache. Usual fleets have a few.
const SETS: usize = 1024;
/// Most newest hours in the cache, about 40 bytes each.
const HOURS: usize = 1 << 20;

/// The cache. It is valid within the transaction in which it was refreshed, and has to be cleared after
/// a rollback.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// SQLite's `data_version`, which changes when another connection writes.
    others: i64,
    rigs: HashMap<String, i64>,
    /// `None` before they are read.
    sensors: Option<Sensors>,
    sets: HashMap<Vec<i64>, Arc<Set>>,
    /// Number of sets so far. A set's number is never reused.
    numbers: usize,
    /// By rig and set: the hour up to which the table `newest` is known to be correct.
    hours: HashMap<(i64, usize), i64>,
}

/// The sensors of the store.
#[derive(Debug)]
pub(super) struct Sensors {
    /// The id of each, by name.
    pub(super) ids: HashMap<String, i64>,
    /// The sensors without values, by id; `None` before they are needed.
    unused: Option<BTreeMap<i64, String>>,
}

impl Sensors {
    /// Gives the column of a sensor without values to a new one. Returns its id, or `None` if each sensor
    /// has values or `is_needed`.
    pub(super) fn reuse_column(
        &mut self,
        connection: &Connection,
        name: &str,
        is_needed: impl Fn(&str) -> bool,
    ) -> rusqlite::Result<Option<i64>> {
        let unused = match self.unused.take() {
            Some(unused) => unused,
            None => connection
                .prepare_cached(
                    "SELECT id, name FROM sensor WHERE id NOT IN (SELECT sensor FROM newest)",
                )?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?,
        };
        let unused = self.unused.insert(unused);
        let free = unused.iter().find(|(_, old)| !is_needed(old));
        let Some((id, old)) = free.map(|(id, old)| (*id, old.clone())) else {
            return Ok(None);
        };
        connection
            .prepare_cached("UPDATE sensor SET name = ?2 WHERE id = ?1")?
            .execute(params![id, name])?;
        unused.remove(&id);
        self.ids.remove(&old);
        self.ids.insert(name.to_owned(), id);
        Ok(Some(id))
    }
}

/// A set of sensors that are written together.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) number: usize,
    sensors: Vec<i64>,
    /// The statement that writes a row: parameter 1 is the rig, 2 the tick, from 3 on the values.
    pub(super) sql: String,
}

impl Memory {
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
        self.rigs.clear();
        self.sensors = None;
        self.sets.clear();
        self.hours.clear();
    }

    /// The id of a rig, which is inserted if it is new.
    pub(super) fn rig(&mut self, connection: &Connection, name: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.rigs.get(name) {
            return Ok(*id);
        }
        let found = connection
            .prepare_cached("SELECT id FROM rig WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()?;
        let id = if let Some(id) = found {
            id
        } else {
            connection
                .prepare_cached("INSERT INTO rig (name) VALUES (?1)")?
                .insert([name])?
        };
        self.rigs.insert(name.to_owned(), id);
        Ok(id)
    }

    /// All sensors.
    pub(super) fn sensors(&mut self, connection: &Connection) -> rusqlite::Result<&mut Sensors> {
        let sensors = match self.sensors.take() {
            Some(sensors) => sensors,
            None => Sensors {
                ids: connection
                    .prepare_cached("SELECT name, id FROM sensor")?
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect::<rusqlite::Result<_>>()?,
                unused: None,
            },
        };
        Ok(self.sensors.insert(sensors))
    }

    /// The set of these sensors. They must be ordered and distinct.
    pub(super) fn set(&mut self, sensors: Vec<i64>) -> Arc<Set> {
        if let Some(set) = self.sets.get(&sensors) {
            return Arc::clone(set);
        }
        if self.sets.len() >= SETS {
            self.sets.clear();
            self.hours.clear();
        }
        self.numbers += 1;
        let set = Arc::new(Set {
            number: self.numbers,
            sql: upsert(&sensors),
            sensors: sensors.clone(),
        });
        self.sets.insert(sensors, Arc::clone(&set));
        set
    }

    /// Records that a rig has values of these sensors at this tick.
    pub(super) fn record_seen(
        &mut self,
        connection: &Connection,
        rig: i64,
        set: &Set,
        tick: i64,
    ) -> rusqlite::Result<()> {
        let hour = tick.div_euclid(HOUR);
        let key = (rig, set.number);
        if self.hours.get(&key).is_some_and(|known| *known >= hour) {
            return Ok(());
        }
        let mut note = connection.prepare_cached(
            "INSERT INTO newest VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET hour = excluded.hour WHERE excluded.hour > hour",
        )?;
        let mut unused = self.sensors.as_mut().and_then(|all| all.unused.as_mut());
        for sensor in &set.sensors {
            note.execute([rig, *sensor, hour])?;
            if let Some(unused) = &mut unused {
                unused.remove(sensor);
            }
        }
        if self.hours.len() >= HOURS {
            self.hours.clear();
        }
        self.hours.insert(key, hour);
        Ok(())
    }
}

fn upsert(sensors: &[i64]) -> String {
    let mut sql = String::from("INSERT INTO row (rig, tick");
    // Writing to a string can't fail.
    for sensor in sensors {
        let _ = write!(sql, ", v{sensor}");
    }
    sql.push_str(") VALUES (?1, ?2");
    for place in 0..sensors.len() {
        let _ = write!(sql, ", ?{}", place + 3);
    }
    sql.push_str(") ON CONFLICT DO UPDATE SET ");
    for (place, sensor) in sensors.iter().enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        let _ = write!(sql, "{comma}v{sensor} = excluded.v{sensor}");
    }
    sql
}
