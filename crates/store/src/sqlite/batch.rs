//! Rows for the writer thread: owned, checked, with each key and each name stored once.

use std::collections::HashMap;

use model::element::Layout;
use model::name::{Name, NameError, RIG_ID};
use model::row::Row;
use model::sample::Value;

use crate::field_type::FieldType;

/// Rows that can be stored.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The keys of the series.
    pub(super) series: Vec<String>,
    pub(super) shapes: Vec<Shape>,
    pub(super) rows: Vec<Line>,
    /// The values of all rows, row by row.
    pub(super) values: Vec<Value>,
}

/// The fields of a row with their types. Most rows have the same as the row before.
#[derive(Debug)]
pub(super) struct Shape {
    /// The fields in the row's order. If a name occurs twice, the later value counts.
    pub(super) fields: Vec<(String, FieldType)>,
    /// The first row of this shape, for error messages.
    pub(super) row: usize,
}

impl Shape {
    fn fits(&self, row: &Row<'_>) -> bool {
        self.fields.len() == row.fields.len()
            && std::iter::zip(&self.fields, &row.fields).all(|((known, kind), (name, value))| {
                *name == **known && *kind == FieldType::of(value)
            })
    }
}

/// A row: indexes into the batch's lists.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) series: usize,
    pub(super) shape: usize,
    /// Nanoseconds since 1970.
    pub(super) tick: i64,
    /// Index of its first value.
    pub(super) first: usize,
}

/// Why a row can't be stored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum BatchError {
    /// A row of the pipeline `rigs` has no tag `rig_id`.
    #[error("it has no tag rig_id")]
    NoRig,
    /// A row of the pipeline `rigs` has another tag. The key is the rig and the tick only.
    #[error("it has a tag {0:?}: rows are kept by rig_id and time only")]
    OtherTag(String),
    /// A rig's name isn't one.
    #[error("its rig_id {0:?} {1}")]
    BadRig(String, NameError),
    /// The tags aren't in the order of their names, so that one series would have several keys.
    #[error("its tags aren't in the order of their names, or one is there twice")]
    UnorderedTags,
    /// The row has no fields.
    #[error("there is no field in it")]
    NoField,
    /// A value is NaN or infinite.
    #[error("{0:?} is {1}, which is no number that can be stored")]
    NotFinite(String, f64),
}

/// Converts rows. Returns the index of the first row that can't be stored.
pub(super) fn encode(layout: Layout, rows: &[Row<'_>]) -> Result<Batch, (usize, BatchError)> {
    let mut encoder = Encoder {
        layout,
        batch: Batch::default(),
        rigs: HashMap::new(),
        series: HashMap::new(),
        shapes: HashMap::new(),
    };
    encoder.batch.rows.reserve(rows.len());
    for (index, row) in rows.iter().enumerate() {
        encoder.add(index, row).map_err(|error| (index, error))?;
    }
    Ok(encoder.batch)
}

struct Encoder<'a> {
    layout: Layout,
    batch: Batch,
    /// By rig.
    rigs: HashMap<&'a str, usize>,
    /// By tags, since making a key takes longer than looking the tags up. Not used for rigs.
    series: HashMap<&'a [(Name<'a>, Name<'a>)], usize>,
    shapes: HashMap<Vec<(&'a str, FieldType)>, usize>,
}

impl<'a> Encoder<'a> {
    fn add(&mut self, index: usize, row: &'a Row<'_>) -> Result<(), BatchError> {
        let series = self.series(row)?;
        let shape = self.shape(index, row)?;
        let first = self.batch.values.len();
        for (name, value) in &row.fields {
            if let Value::Float(value) = value
                && !value.is_finite()
            {
                return Err(BatchError::NotFinite(name.to_string(), *value));
            }
            self.batch.values.push(value.clone());
        }
        self.batch.rows.push(Line {
            series,
            shape,
            tick: row.timestamp.nanos(),
            first,
        });
        Ok(())
    }

    fn series(&mut self, row: &'a Row<'_>) -> Result<usize, BatchError> {
        let next = self.batch.series.len();
        match self.layout {
            Layout::Rigs => {
                let rig = rig_of(&row.tags)?;
                if let Some(known) = self.rigs.get(rig) {
                    return Ok(*known);
                }
                if let Err(error) = Name::strict(rig) {
                    return Err(BatchError::BadRig(rig.to_owned(), error));
                }
                self.rigs.insert(rig, next);
            }
            Layout::Tagged => {
                if let Some(known) = self.series.get(&*row.tags) {
                    return Ok(*known);
                }
                if !row.tags.is_sorted_by(|one, next| one.0 < next.0) {
                    return Err(BatchError::UnorderedTags);
                }
                self.series.insert(&row.tags, next);
            }
        }
        let key = self.layout.series_key(&row.tags).into_owned();
        self.batch.series.push(key);
        Ok(next)
    }

    fn shape(&mut self, index: usize, row: &'a Row<'_>) -> Result<usize, BatchError> {
        if let Some(before) = self.batch.rows.last()
            && self.batch.shapes[before.shape].fits(row)
        {
            return Ok(before.shape);
        }
        let fields = row.fields.iter();
        let fields = fields.map(|(name, value)| (name.as_str(), FieldType::of(value)));
        let fields: Vec<_> = fields.collect();
        if let Some(known) = self.shapes.get(&fields) {
            return Ok(*known);
        }
        if fields.is_empty() {
            return Err(BatchError::NoField);
        }
        let owned = fields
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), *kind));
        self.batch.shapes.push(Shape {
            fields: owned.collect(),
            row: index,
        });
        self.shapes.insert(fields, self.batch.shapes.len() - 1);
        Ok(self.batch.shapes.len() - 1)
    }
}

/// The rig of a row of the pipeline `rigs`, which has no other tag.
fn rig_of<'a>(tags: &'a [(Name<'_>, Name<'_>)]) -> Result<&'a str, BatchError> {
    let mut rig = None;
    for (tag, value) in tags {
        if *tag != *RIG_ID || rig.is_some() {
            return Err(BatchError::OtherTag(tag.to_string()));
        }
        rig = Some(value.as_str());
    }
    rig.ok_or(BatchError::NoRig)
}
