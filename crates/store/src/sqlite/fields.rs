//! Finds the column of each field of a batch, and adds those that are missing.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::{Connection, params};

use super::batch::{Batch, Shape};
use super::memory::{Field, Memory, has_values};
use super::write::Refusal;
use crate::field_type::FieldType;

/// Most fields of a store that have values. Each is a column, and SQLite allows 2,000.
const MAX_FIELDS: usize = 1_000;

/// The columns of a shape: field ids with the index of each value in the row.
pub(super) type Columns = BTreeMap<i64, usize>;

/// The columns of each shape of the batch.
pub(super) fn columns(
    connection: &Connection,
    memory: &mut Memory,
    batch: &Batch,
) -> Result<Vec<Columns>, Refusal> {
    let mut finder = Finder {
        connection,
        batch,
        known: memory.fields(connection)?,
        used: HashSet::new(),
        has_changed: false,
    };
    let mut columns = Vec::with_capacity(batch.shapes.len());
    for shape in &batch.shapes {
        let mut of_shape = Columns::new();
        for (index, (name, kind)) in shape.fields.iter().enumerate() {
            of_shape.insert(finder.find(shape, name, *kind)?, index);
        }
        columns.push(of_shape);
    }
    if finder.has_changed {
        memory.fields_changed();
    }
    Ok(columns)
}

struct Finder<'a> {
    connection: &'a Connection,
    batch: &'a Batch,
    known: &'a mut HashMap<String, Field>,
    /// The fields that were found so far. They will have values.
    used: HashSet<i64>,
    has_changed: bool,
}

impl Finder<'_> {
    fn find(&mut self, shape: &Shape, name: &str, kind: FieldType) -> Result<i64, Refusal> {
        let id = match self.known.get(name) {
            Some(field) if field.kind == kind => field.id,
            Some(field) => self.retype(shape, name, *field, kind)?,
            None => self.add(shape, name, kind)?,
        };
        self.used.insert(id);
        Ok(id)
    }

    /// Gives a field without values another type. A field with values keeps its type.
    fn retype(
        &mut self,
        shape: &Shape,
        name: &str,
        field: Field,
        kind: FieldType,
    ) -> Result<i64, Refusal> {
        let Field { id, kind: before } = field;
        if self.used.contains(&id) || has_values(self.connection, id)? {
            let what = format!(
                "its field {name:?} is of type {kind}, but already exists as type {before}"
            );
            return Err(self.refused(shape, &what));
        }
        self.assign(id, name, kind)?;
        Ok(id)
    }

    fn add(&mut self, shape: &Shape, name: &str, kind: FieldType) -> Result<i64, Refusal> {
        self.has_changed = true;
        if self.known.len() >= MAX_FIELDS {
            let Some((id, old)) = self.free_column()? else {
                let what = format!(
                    "its field {name:?} is one too many: a store has at most {MAX_FIELDS} fields \
                     with values"
                );
                return Err(self.refused(shape, &what));
            };
            self.known.remove(&old);
            self.assign(id, name, kind)?;
            return Ok(id);
        }
        let id = self
            .connection
            .prepare_cached("INSERT INTO field (name, type) VALUES (?1, ?2)")?
            .insert(params![name, kind])?;
        self.connection
            .execute_batch(&format!("ALTER TABLE row ADD COLUMN v{id}"))?;
        self.known.insert(name.to_owned(), Field { id, kind });
        Ok(id)
    }

    fn assign(&mut self, id: i64, name: &str, kind: FieldType) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("UPDATE field SET name = ?2, type = ?3 WHERE id = ?1")?
            .execute(params![id, name, kind])?;
        self.known.insert(name.to_owned(), Field { id, kind });
        Ok(())
    }

    /// A field without values that isn't needed for this batch: its id and name.
    fn free_column(&self) -> rusqlite::Result<Option<(i64, String)>> {
        let shapes = self.batch.shapes.iter();
        let fields = shapes.flat_map(|shape| &shape.fields);
        let needed: HashSet<&str> = fields.map(|(name, _)| name.as_str()).collect();
        let mut select = self.connection.prepare_cached(
            "SELECT id, name FROM field
             WHERE NOT EXISTS (SELECT 1 FROM newest WHERE field = field.id) ORDER BY id",
        )?;
        let mut unused = select.query([])?;
        while let Some(field) = unused.next()? {
            let name: String = field.get(1)?;
            if !needed.contains(name.as_str()) {
                return Ok(Some((field.get(0)?, name)));
            }
        }
        Ok(None)
    }

    /// The refusal of the first row of a shape.
    fn refused(&self, shape: &Shape, what: &str) -> Refusal {
        let (row, rows) = (shape.row + 1, self.batch.rows.len());
        Refusal::Rejected(format!("row {row} of {rows}: {what}"))
    }
}
