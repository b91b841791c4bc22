//! Rows for the writer thread: owned, checked, with each name stored once.

use std::collections::HashMap;

use model::name::RIG_ID;
use model::row::Row;

/// Rows that can be stored.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) rigs: Vec<String>,
    pub(super) shapes: Vec<Shape>,
    pub(super) rows: Vec<Line>,
    /// The values of all rows, row by row.
    pub(super) values: Vec<f64>,
}

/// The fields of a row. Most rows have the same fields as the row before.
#[derive(Debug)]
pub(super) struct Shape {
    /// The names in the row's order. If a name occurs twice, the later value counts.
    pub(super) fields: Vec<String>,
    /// The first row of this shape, for error messages.
    pub(super) row: usize,
}

/// A row: indexes into the batch's lists.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) rig: usize,
    pub(super) shape: usize,
    /// Nanoseconds since 1970.
    pub(super) tick: i64,
    /// Index of its first value.
    pub(super) first: usize,
}

/// Why a row can't be stored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum BatchError {
    /// The row has no tag `rig_id`.
    #[error("it has no tag rig_id")]
    NoRig,
    /// The row has another tag. The key is the rig and the tick only.
    #[error("it has a tag {0:?}: rows are kept by rig_id and time only")]
    OtherTag(String),
    /// The row has no fields.
    #[error("there is no field in it")]
    NoField,
    /// A value is NaN or infinite.
    #[error("{0:?} is {1}, which is no number that can be stored")]
    NotFinite(String, f64),
}

/// Converts rows. Returns the index of the first row that can't be stored.
pub(super) fn encode(rows: &[Row<'_>]) -> Result<Batch, (usize, BatchError)> {
    let mut encoder = Encoder::default();
    encoder.batch.rows.reserve(rows.len());
    for (index, row) in rows.iter().enumerate() {
        encoder.add(index, row).map_err(|error| (index, error))?;
    }
    Ok(encoder.batch)
}

#[derive(Default)]
struct Encoder<'a> {
    batch: Batch,
    rigs: HashMap<&'a str, usize>,
    shapes: HashMap<Vec<&'a str>, usize>,
}

impl<'a> Encoder<'a> {
    fn add(&mut self, index: usize, row: &'a Row<'_>) -> Result<(), BatchError> {
        let rig = self.rig(row)?;
        let shape = self.shape(index, row)?;
        let first = self.batch.values.len();
        for (name, value) in &row.fields {
            if !value.is_finite() {
                return Err(BatchError::NotFinite(name.to_string(), *value));
            }
            self.batch.values.push(*value);
        }
        self.batch.rows.push(Line {
            rig,
            shape,
            tick: row.timestamp.nanos(),
            first,
        });
        Ok(())
    }

    fn rig(&mut self, row: &'a Row<'_>) -> Result<usize, BatchError> {
        let mut rig = None;
        for (tag, value) in &row.tags {
            if tag != RIG_ID || rig.is_some() {
                return Err(BatchError::OtherTag(tag.to_string()));
            }
            rig = Some(value.as_str());
        }
        let name: &str = rig.ok_or(BatchError::NoRig)?;
        if let Some(known) = self.rigs.get(name) {
            return Ok(*known);
        }
        self.rigs.insert(name, self.batch.rigs.len());
        self.batch.rigs.push(name.to_owned());
        Ok(self.batch.rigs.len() - 1)
    }

    fn shape(&mut self, index: usize, row: &'a Row<'_>) -> Result<usize, BatchError> {
        let names = row.fields.iter().map(|(name, _)| name.as_str());
        if let (Some(before), Some(shape)) = (self.batch.rows.last(), self.last_shape())
            && names.clone().eq(shape.fields.iter().map(String::as_str))
        {
            return Ok(before.shape);
        }
        let names: Vec<&str> = names.collect();
        if let Some(known) = self.shapes.get(&names) {
            return Ok(*known);
        }
        if names.is_empty() {
            return Err(BatchError::NoField);
        }
        self.batch.shapes.push(Shape {
            fields: names.iter().copied().map(str::to_owned).collect(),
            row: index,
        });
        self.shapes.insert(names, self.batch.shapes.len() - 1);
        Ok(self.batch.shapes.len() - 1)
    }

    fn last_shape(&self) -> Option<&Shape> {
        let row = self.batch.rows.last()?;
        self.batch.shapes.get(row.shape)
    }
}
