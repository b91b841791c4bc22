//! The statements of a write, inside its transaction.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use model::sample::Value;
use rusqlite::{CachedStatement, Connection, Statement};

use super::batch::Batch;
use super::fields::{Columns, columns};
use super::memory::{Memory, Set};

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
    /// The index of each field's value in the row.
    order: Vec<usize>,
}

/// Stores rows in order. After an error the caller has to roll the transaction back and to clear
/// `memory`.
pub(super) fn store(
    connection: &Connection,
    memory: &mut Memory,
    batch: &Batch,
) -> Result<(), Refusal> {
    let columns = columns(connection, memory, batch)?;
    let plan = |columns: Columns| Plan {
        set: memory.set(columns.keys().copied().collect()),
        order: columns.into_values().collect(),
    };
    let plans: Vec<Plan> = columns.into_iter().map(plan).collect();
    let mut ids = Vec::with_capacity(batch.series.len());
    for key in &batch.series {
        ids.push(memory.series(connection, key)?);
    }
    memory.show_rows(connection)?;
    let mut statements: HashMap<usize, CachedStatement<'_>> = HashMap::new();
    for row in &batch.rows {
        let (plan, series) = (&plans[row.shape], ids[row.series]);
        let number = plan.set.number;
        if statements.len() >= STATEMENTS && !statements.contains_key(&number) {
            statements.clear();
        }
        let statement = match statements.entry(number) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(place) => place.insert(connection.prepare_cached(&plan.set.sql)?),
        };
        statement.raw_bind_parameter(1, series)?;
        statement.raw_bind_parameter(2, row.tick)?;
        for (place, index) in plan.order.iter().enumerate() {
            bind(statement, place + 3, &batch.values[row.first + index])?;
        }
        statement.raw_execute()?;
        memory.record_seen(connection, series, &plan.set, row.tick)?;
    }
    Ok(())
}

fn bind(statement: &mut Statement<'_>, place: usize, value: &Value) -> rusqlite::Result<()> {
    match value {
        Value::Float(value) => statement.raw_bind_parameter(place, *value),
        Value::Integer(value) => statement.raw_bind_parameter(place, *value),
        Value::Bool(value) => statement.raw_bind_parameter(place, *value),
        Value::String(text) => statement.raw_bind_parameter(place, text),
    }
}
