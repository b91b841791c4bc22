//! The statements of a write, inside its transaction.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection};

use super::batch::{Batch, Shape};
use super::memory::{Memory, Sensors, Set};
use super::schema;

/// Most sensors of a store that have values. Each is a column, and SQLite allows 2,000.
const MAX_SENSORS: usize = 1_000;
/// Prepared statements that a batch keeps.
const STATEMENTS: usize = 64;

/// Why a batch isn't stored.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A row can't be stored.
    Rejected(String),
    /// SQLite failed.
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

/// The statement for rows of a shape.
struct Plan {
    set: Arc<Set>,
    /// The index of each sensor's value in the row.
    order: Vec<usize>,
}

/// Stores rows in order. After an error the caller has to roll the transaction back and to clear
/// `memory`.
pub(super) fn store(
    connection: &Connection,
    memory: &mut Memory,
    batch: &Batch,
) -> Result<(), Refusal> {
    let plans = plans(connection, memory, batch)?;
    let mut rigs = Vec::with_capacity(batch.rigs.len());
    for name in &batch.rigs {
        rigs.push(memory.rig(connection, name)?);
    }
    let mut statements: HashMap<usize, CachedStatement<'_>> = HashMap::new();
    for row in &batch.rows {
        let (plan, rig) = (&plans[row.shape], rigs[row.rig]);
        let key = plan.set.number;
        if statements.len() >= STATEMENTS && !statements.contains_key(&key) {
            statements.clear();
        }
        let statement = match statements.entry(key) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(place) => place.insert(connection.prepare_cached(&plan.set.sql)?),
        };
        statement.raw_bind_parameter(1, rig)?;
        statement.raw_bind_parameter(2, row.tick)?;
        for (place, index) in plan.order.iter().enumerate() {
            statement.raw_bind_parameter(place + 3, batch.values[row.first + index])?;
        }
        statement.raw_execute()?;
        memory.record_seen(connection, rig, &plan.set, row.tick)?;
    }
    Ok(())
}

fn plans(
    connection: &Connection,
    memory: &mut Memory,
    batch: &Batch,
) -> Result<Vec<Plan>, Refusal> {
    let known = memory.sensors(connection)?;
    let mut has_new = false;
    let mut ordered = Vec::with_capacity(batch.shapes.len());
    for shape in &batch.shapes {
        let mut order = BTreeMap::new();
        for (index, name) in shape.fields.iter().enumerate() {
            let id = if let Some(id) = known.ids.get(name) {
                *id
            } else {
                has_new = true;
                add_sensor(connection, known, name, shape, batch)?
            };
            order.insert(id, index);
        }
        ordered.push(order);
    }
    if has_new {
        schema::show_rows(connection)?;
    }
    let plan = |order: BTreeMap<i64, usize>| Plan {
        set: memory.set(order.keys().copied().collect()),
        order: order.into_values().collect(),
    };
    Ok(ordered.into_iter().map(plan).collect())
}

fn add_sensor(
    connection: &Connection,
    known: &mut Sensors,
    name: &str,
    shape: &Shape,
    batch: &Batch,
) -> Result<i64, Refusal> {
    if known.ids.len() >= MAX_SENSORS {
        let shapes = batch.shapes.iter();
        let fields = shapes.flat_map(|shape| &shape.fields);
        let needed: HashSet<&str> = fields.map(String::as_str).collect();
        let reused = known.reuse_column(connection, name, |old| needed.contains(old))?;
        return reused.ok_or_else(|| {
            Refusal::Rejected(format!(
                "row {} of {}: its sensor {name:?} is one too many: a store has at most \
                 {MAX_SENSORS} sensors with values",
                shape.row + 1,
                batch.rows.len()
            ))
        });
    }
    let id = connection
        .prepare_cached("INSERT INTO sensor (name) VALUES (?1)")?
        .insert([name])?;
    connection.execute_batch(&format!("ALTER TABLE row ADD COLUMN v{id}"))?;
    known.ids.insert(name.to_owned(), id);
    Ok(id)
}
