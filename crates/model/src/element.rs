//! The JSON of list elements: samples in the raw list, rows in the normalized list.

mod compact;
mod json;
mod rigs;
mod tagged;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use smallvec::SmallVec;

use crate::name::Name;
use crate::row::Row;
use crate::sample::{Tags, Value};
use crate::time::Timestamp;

pub use self::json::{starts_object, write_number, write_string, write_value};
pub use self::rigs::{decode_reading, encode_reading};
pub use self::tagged::encode_sample;

/// Why a list element can't be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ElementError(String);

impl ElementError {
    fn new(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}

/// How the elements of a pipeline's lists, and the keys of its series, are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The pipeline `rigs`: flat objects with the one tag `rig_id` and numbers.
    Rigs,
    /// All other pipelines: objects with the members `tags`, `timestamp` and `values`.
    Tagged,
}

/// A sample of the raw list.
#[derive(Debug, Clone, PartialEq)]
pub struct RawSample<'a> {
    /// The key of its series, see [`Layout::series_key`].
    pub series: Cow<'a, str>,
    /// When it was measured.
    pub timestamp: Timestamp,
    /// When it arrived at the ingester.
    pub ingest_time: Timestamp,
    /// Field names with their values, at least one, no name twice.
    pub values: Values<'a>,
}

/// Field names with their values, mostly one.
pub type Values<'a> = SmallVec<[(Name<'a>, Value); 1]>;

impl Layout {
    /// Reads an element of the raw list; unknown members are ignored.
    pub fn decode_sample(self, element: &[u8]) -> Result<RawSample<'_>, ElementError> {
        match self {
            Self::Rigs => rigs::decode_sample(element),
            Self::Tagged => tagged::decode_sample(element),
        }
    }

    /// Appends a row's element to `out`.
    pub fn encode_row(self, row: &Row<'_>, out: &mut Vec<u8>) {
        let fields = row.fields.iter().map(|(name, value)| (&**name, value));
        self.encode_row_of(&self.series_key(&row.tags), row.timestamp, fields, out);
    }

    /// Appends the element of a row of the series with this key to `out`.
    pub fn encode_row_of<'a>(
        self,
        series: &str,
        timestamp: Timestamp,
        fields: impl Iterator<Item = (&'a str, &'a Value)>,
        out: &mut Vec<u8>,
    ) {
        match self {
            Self::Rigs => rigs::encode_row(series, timestamp, fields, out),
            Self::Tagged => tagged::encode_row(series, timestamp, fields, out),
        }
    }

    /// Reads an element of the normalized list: tags, a time, and at least one field.
    pub fn decode_row(self, element: &[u8]) -> Result<Row<'_>, ElementError> {
        match self {
            Self::Rigs => rigs::decode_row(element),
            Self::Tagged => tagged::decode_row(element),
        }
    }

    /// Appends the element of a row that is for some of its pipeline's stores, or for all if there are none here.
    /// Pipelines with [`Layout::Rigs`] have one store.
    pub fn encode_row_for(self, row: &Row<'_>, stores: &[String], out: &mut Vec<u8>) {
        match self {
            Self::Rigs => self.encode_row(row, out),
            Self::Tagged => {
                let fields = row.fields.iter().map(|(name, value)| (&**name, value));
                tagged::encode_row_for(
                    &self.series_key(&row.tags),
                    row.timestamp,
                    fields,
                    stores,
                    out,
                );
            }
        }
    }

    /// The stores that an element of the normalized list is for; none if it is for all.
    pub fn stores(self, element: &[u8]) -> Result<Vec<String>, ElementError> {
        match self {
            Self::Rigs => Ok(Vec::new()),
            Self::Tagged => tagged::stores(element),
        }
    }

    /// The key of the series with these tags: a rig's name, or the tags as a JSON object.
    #[must_use]
    pub fn series_key<'a>(self, tags: &'a [(Name<'_>, Name<'_>)]) -> Cow<'a, str> {
        match (self, tags) {
            (Self::Rigs, [(_, rig)]) => Cow::Borrowed(rig),
            _ => Cow::Owned(tagged::series_key(tags)),
        }
    }

    /// The tags of a series' key.
    pub fn tags(self, key: &str) -> Result<Tags<'_>, ElementError> {
        match self {
            Self::Rigs => rigs::tags(key),
            Self::Tagged => tagged::tags(key),
        }
    }
}
