//! Pipeline files: a TOML file describes one pipeline.
//!
//! [`PipelineFile::parse`] reads a file's text: variables are replaced, each value is validated where it
//! stands, and then the rules between values are checked. An error shows the place in the file.

mod additions;
mod address;
mod alert;
mod check;
mod columns;
mod error;
mod file;
mod kafka;
mod latest;
mod limits;
mod mongo;
mod parse;
mod plain;
mod postgres;
mod scalar;
mod simulate;
mod source;
mod split;
mod statistics;
mod store;
mod template;
mod value;
mod variables;
mod zone;

use std::time::Duration;

use serde::Deserialize;
use toml::de::{DeTable, Deserializer};

pub use self::additions::only_adds;
pub use self::address::{KafkaUrl, KafkaUrlError};
pub use self::alert::AlertTable;
pub use self::columns::{ColumnSource, ColumnSourceError};
pub use self::error::PipelineError;
pub use self::file::{
    Each, FieldTable, FieldTables, Fields, Format, MessageTable, Names, PipelineFile, RowsTable,
    ShapeKind, Statistic, Statistics, TimeFormat, ValueKind,
};
pub use self::latest::KEEP as LATEST_ROWS;
pub use self::limits::{LimitsTable, MaxAge};
pub use self::postgres::MAX_IDENTIFIER;
pub use self::scalar::Scalar;
pub use self::simulate::{
    Bounds, Distribution, NormalByNumber, NumberedValues, SimulateException, SimulateTable,
    TagValues,
};
pub use self::source::{Retained, SaslMechanism, SourceKind, SourceTable, StartAt};
pub use self::split::Split;
pub use self::store::{RecordFormat, StoreKind, StoreTable};
pub use self::template::{FIELD, TopicTemplate};
pub use self::value::{At, NameGlob, Number, OneOrMore, Period, Pointer, TopicGlob, given};
pub use self::zone::Zone;

impl PipelineFile {
    /// Reads a pipeline file. `path` is for messages; `variable` returns the value of a variable that is
    /// set.
    pub fn parse(
        path: &str,
        text: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, PipelineError> {
        let read = || {
            let mut table = DeTable::parse(text)?;
            variables::replace(table.get_mut(), variable)?;
            let file = Self::deserialize(Deserializer::from(table))?;
            check::check(&file)?;
            Ok(file)
        };
        read().map_err(|problem| PipelineError::new(path, text, problem))
    }

    /// The shape that makes rows: as the file says, otherwise pivot where a message holds one reading,
    /// and sample where it may hold several.
    #[must_use]
    pub fn shape(&self) -> ShapeKind {
        if let Some(shape) = &self.rows.shape {
            return **shape;
        }
        let topic = self.source.template();
        let message = &self.message;
        let names_field = topic.is_some_and(|topic| topic.names_field())
            || message.name.is_some()
            || message.value.is_some();
        let has_one = match message.format {
            Format::Text => true,
            Format::Senml => false,
            Format::Json | Format::Ndjson | Format::Protobuf => {
                message.fields.is_none() && names_field
            }
        };
        if has_one {
            ShapeKind::Pivot
        } else {
            ShapeKind::Sample
        }
    }

    /// Reads the sets of descriptors that the file names.
    pub fn read_descriptors<E>(
        &mut self,
        mut read: impl FnMut(&str) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        if let Some(name) = &self.message.descriptor {
            self.descriptors = read(name)?;
        }
        for store in &mut self.store {
            if let Some(name) = &store.value.descriptor {
                store.value.descriptors = read(name)?;
            }
        }
        Ok(())
    }

    /// The names of its tags, in order.
    #[must_use]
    pub fn tags(&self) -> Vec<&str> {
        let topic = self.source.template().into_iter();
        let topic = topic.flat_map(|topic| topic.tags());
        let split = self.message.split.iter().flat_map(|split| split.tags());
        let named = self.message.tags.keys().map(String::as_str);
        let mut tags: Vec<_> = topic.chain(named).chain(split).collect();
        tags.sort_unstable();
        tags
    }

    /// The names of its stores: their kinds, and behind the second and further ones of a kind their number.
    #[must_use]
    pub fn store_names(&self) -> Vec<String> {
        let kinds: Vec<_> = self.store.iter().map(|store| store.kind.name()).collect();
        let name = |(place, kind): (usize, &&str)| match kinds[..place]
            .iter()
            .filter(|other| *other == kind)
            .count()
        {
            0 => (*kind).to_owned(),
            earlier => format!("{kind}-{}", earlier + 1),
        };
        kinds.iter().enumerate().map(name).collect()
    }

    /// The place of the store that its rows are read from: the first one from which they can be.
    #[must_use]
    pub fn history_place(&self) -> Option<usize> {
        let mut stores = self.store.iter();
        stores.position(|store| store.kind.has_history())
    }

    /// What the times of its rows are rounded down to, because a store keeps no more; zero if all of them keep
    /// nanoseconds.
    #[must_use]
    pub fn row_precision(&self) -> Duration {
        let precision = |store: &At<StoreTable>| match store.kind {
            StoreKind::Mongodb => mongo::PRECISION,
            StoreKind::Postgres => postgres::PRECISION,
            StoreKind::Influx | StoreKind::Sqlite | StoreKind::RedisLatest | StoreKind::Kafka => {
                Duration::ZERO
            }
        };
        let precisions = self.store.iter().map(precision);
        precisions.max().unwrap_or_default()
    }

    /// The JSON Schema of pipeline files.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}

#[cfg(test)]
mod tests;
