//! Scans a rig's rows in steps, so that other queries run in between and a cancelled query ends.

use model::{Name, NameError, Row, SensorName, Timestamp};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};

use super::memory::HOUR;
use crate::ReadError;
use crate::history::{Grid, MAX_PAGE_VALUES, MAX_RESULT_BUCKETS, Page, Selection, Series, Tally};

/// Rows of a step, which takes about 20 ms.
const STEP: i64 = 20_000;

/// Collects the rows of a scan.
pub(super) trait Collect: Send + 'static {
    /// Called first, with the rig and the sensors of the values, ordered by name.
    fn begin(&mut self, rig: Name<'static>, sensors: Vec<SensorName<'static>>);
    /// Called for each row, in the scan's order. Returns whether to continue.
    fn row(&mut self, tick: i64, values: &[Option<f64>]) -> Result<bool, ReadError>;
}

/// The order of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Ticks go up.
    OldestFirst,
    /// Ticks go down.
    NewestFirst,
}

/// A running scan.
pub(super) struct Scan<C> {
    rig: String,
    sensors: Vec<String>,
    from: i64,
    to: i64,
    order: Order,
    source: Option<Source>,
    pub(super) collect: C,
}

struct Source {
    rig: i64,
    sql: String,
    /// Id and name of the sensor of each column.
    sensors: Vec<(i64, String)>,
}

impl Source {
    /// Fails if a column has been given to another sensor since the last step. That happens only if all
    /// values of a sensor were deleted meanwhile, in a store with the most sensors that it can have.
    fn check(&self, connection: &Connection) -> Result<(), ScanError> {
        let mut select = connection.prepare_cached("SELECT name FROM sensor WHERE id = ?1")?;
        for (id, name) in &self.sensors {
            let now: Option<String> = select.query_row([id], |row| row.get(0)).optional()?;
            if now.as_ref() != Some(name) {
                return Err(ScanError::Read(ReadError::Unavailable {
                    detail: format!("all values of {name:?} were deleted while they were read"),
                }));
            }
        }
        Ok(())
    }
}

/// Why a step failed.
pub(super) enum ScanError {
    Sql(rusqlite::Error),
    Read(ReadError),
}

impl From<rusqlite::Error> for ScanError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<NameError> for ScanError {
    fn from(error: NameError) -> Self {
        Self::Read(ReadError::Denied {
            detail: format!("the store holds a name that Rigline doesn't write: it {error}"),
        })
    }
}

impl<C: Collect> Scan<C> {
    pub(super) fn new(of: Selection<'_>, order: Order, collect: C) -> Self {
        Self {
            order,
            rig: of.rig.to_owned(),
            sensors: of.sensors.to_vec(),
            from: of.from.nanos(),
            to: of.to.nanos(),
            source: None,
            collect,
        }
    }

    /// Reads some rows. Returns whether there may be more.
    pub(super) fn step(&mut self, connection: &Connection) -> Result<bool, ScanError> {
        match &self.source {
            Some(source) => source.check(connection)?,
            None => self.source = self.begin(connection)?,
        }
        let Some(source) = &self.source else {
            return Ok(false);
        };
        let mut select = connection.prepare_cached(&source.sql)?;
        let mut rows = select.query(params![source.rig, self.from, self.to, STEP])?;
        let mut values = vec![None; source.sensors.len()];
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let tick = row.get(0)?;
            for (index, value) in values.iter_mut().enumerate() {
                *value = match row.get_ref(index + 1)? {
                    ValueRef::Real(value) => Some(value),
                    _ => None,
                };
            }
            if !self.collect.row(tick, &values).map_err(ScanError::Read)? {
                return Ok(false);
            }
            match self.order {
                // Ticks stay below `to`.
                Order::OldestFirst => self.from = tick + 1,
                Order::NewestFirst => self.to = tick,
            }
            count += 1;
        }
        Ok(count == STEP)
    }

    /// `None` if there is nothing to read.
    fn begin(&mut self, connection: &Connection) -> Result<Option<Source>, ScanError> {
        let Some(rig) = rig_id(connection, &self.rig)? else {
            return Ok(None);
        };
        let mut sensors = sensors_of(connection, rig)?;
        if !self.sensors.is_empty() {
            sensors.retain(|(_, name, _)| self.sensors.contains(name));
        }
        if sensors.is_empty() {
            return Ok(None);
        }
        // Without this, the way back to the newest value of a sensor that has ended would pass all rows
        // since then.
        let hour = sensors.iter().map(|(.., hour)| *hour).max();
        let end = hour.map(|hour| hour.saturating_add(1).saturating_mul(HOUR));
        self.to = self.to.min(end.unwrap_or(self.to));
        let columns: Vec<_> = sensors.iter().map(|(id, ..)| format!("v{id}")).collect();
        let order = match self.order {
            Order::OldestFirst => "tick",
            Order::NewestFirst => "tick DESC",
        };
        let source = Source {
            rig,
            sql: format!(
                "SELECT tick, {} FROM row
                 WHERE rig = ?1 AND tick >= ?2 AND tick < ?3 ORDER BY {order} LIMIT ?4",
                columns.join(", ")
            ),
            sensors: sensors
                .into_iter()
                .map(|(id, name, _)| (id, name))
                .collect(),
        };
        let names = source.sensors.iter();
        let names = names.map(|(_, name)| SensorName::new(name.clone()));
        let names = names.collect::<Result<_, _>>()?;
        self.collect.begin(Name::new(self.rig.clone())?, names);
        Ok(Some(source))
    }
}

pub(super) fn rig_id(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM rig WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// The sensors that a rig has values of, ordered by name: id, name, and the hour of the newest value.
pub(super) fn sensors_of(
    connection: &Connection,
    rig: i64,
) -> rusqlite::Result<Vec<(i64, String, i64)>> {
    let mut select = connection.prepare_cached(
        "SELECT id, name, hour FROM newest JOIN sensor ON id = sensor WHERE rig = ?1 ORDER BY name",
    )?;
    select
        .query_map([rig], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// Collects a page of rows.
pub(super) struct Pages {
    rig: Option<Name<'static>>,
    sensors: Vec<SensorName<'static>>,
    limit: usize,
    order: Order,
    values: usize,
    pub(super) page: Page,
}

impl Pages {
    pub(super) fn new(limit: usize, order: Order) -> Self {
        Self {
            order,
            rig: None,
            sensors: Vec::new(),
            limit,
            values: 0,
            page: Page {
                rows: Vec::new(),
                next: None,
            },
        }
    }
}

impl Collect for Pages {
    fn begin(&mut self, rig: Name<'static>, sensors: Vec<SensorName<'static>>) {
        self.rig = Some(rig);
        self.sensors = sensors;
    }

    fn row(&mut self, tick: i64, values: &[Option<f64>]) -> Result<bool, ReadError> {
        let time = Timestamp::from_nanos(tick);
        let mut fields = Vec::with_capacity(values.len());
        for (name, value) in std::iter::zip(&self.sensors, values) {
            fields.extend(value.map(|value| (name.clone(), value)));
        }
        if fields.is_empty() {
            return Ok(true);
        }
        if self.page.rows.len() >= self.limit || self.values >= MAX_PAGE_VALUES {
            self.page.next = Some(match self.order {
                Order::OldestFirst => time,
                Order::NewestFirst => Timestamp::from_nanos(tick + 1),
            });
            return Ok(false);
        }
        self.values += fields.len();
        let tags = self.rig.iter().map(|rig| (Name::RIG_ID, rig.clone()));
        self.page.rows.push(Row {
            tags: tags.collect(),
            timestamp: time,
            fields,
        });
        Ok(true)
    }
}

/// Collects buckets.
pub(super) struct Buckets {
    grid: Grid,
    series: Vec<Series>,
    /// The current bucket of each series.
    open: Vec<Option<Tally>>,
    count: usize,
}

impl Buckets {
    pub(super) fn new(grid: Grid) -> Self {
        Self {
            grid,
            series: Vec::new(),
            open: Vec::new(),
            count: 0,
        }
    }

    pub(super) fn finish(mut self) -> Vec<Series> {
        for (series, open) in std::iter::zip(&mut self.series, &self.open) {
            series
                .buckets
                .extend(open.map(|tally| tally.bucket(self.grid)));
        }
        self.series.retain(|series| !series.buckets.is_empty());
        self.series
    }
}

impl Collect for Buckets {
    fn begin(&mut self, _: Name<'static>, sensors: Vec<SensorName<'static>>) {
        self.open = vec![None; sensors.len()];
        let series = |sensor: SensorName<'static>| Series {
            sensor: sensor.to_string(),
            buckets: Vec::new(),
        };
        self.series = sensors.into_iter().map(series).collect();
    }

    fn row(&mut self, tick: i64, values: &[Option<f64>]) -> Result<bool, ReadError> {
        let index = self.grid.index(tick);
        for (place, value) in values.iter().enumerate() {
            let Some(value) = *value else { continue };
            match &mut self.open[place] {
                Some(tally) if tally.index() == index => tally.add(value),
                open => {
                    let before = open.replace(Tally::of(index, value));
                    let before = before.map(|tally| tally.bucket(self.grid));
                    self.series[place].buckets.extend(before);
                    self.count += 1;
                }
            }
        }
        if self.count > MAX_RESULT_BUCKETS {
            return Err(ReadError::BadRequest {
                detail: format!(
                    "more than {MAX_RESULT_BUCKETS} buckets have values: ask for fewer sensors, a shorter \
                     time or longer buckets"
                ),
            });
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::{ScanError, Source};
    use crate::ReadError;
    use crate::sqlite::schema::STORE;

    #[test]
    fn scan_ends_if_its_column_was_given_to_another_sensor() {
        let dir = TempDir::new().unwrap();
        let connection = STORE.open(&dir.path().join("store.db")).unwrap();
        let change = |sql: &str| connection.execute_batch(sql).unwrap();
        change("INSERT INTO sensor VALUES (7, 'temp')");
        let source = Source {
            rig: 1,
            sql: String::new(),
            sensors: vec![(7, "temp".to_owned())],
        };
        assert!(source.check(&connection).is_ok());
        change("UPDATE sensor SET name = 'pressure' WHERE id = 7");
        let checked = source.check(&connection);
        assert!(matches!(
            checked,
            Err(ScanError::Read(ReadError::Unavailable { .. }))
        ));
    }
}
