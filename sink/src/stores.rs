//! The stores that pipelines beside the four stages may have.

use anyhow::Context;
use common::clock::Clock;
use model::pipeline::PipelineFile;
use model::row::Row;
#[cfg(feature = "mongodb")]
use store::MongoStore;
use store::{InfluxSettings, InfluxStore, Store, WriteError};

use crate::from_file::influx_store;

/// The store of a pipeline.
#[derive(Debug, Clone)]
pub enum PipelineStore {
    /// A measurement of an InfluxDB.
    Influx(Box<InfluxStore>),
    /// A collection of MongoDB.
    #[cfg(feature = "mongodb")]
    Mongodb(MongoStore),
}

impl PipelineStore {
    /// The store of the pipeline `rigs`.
    pub fn of_rigs(settings: &InfluxSettings) -> anyhow::Result<Self> {
        let store = InfluxStore::new(settings).context("cannot use InfluxDB")?;
        Ok(Self::Influx(Box::new(store)))
    }

    /// The store of the pipeline of a file, whose kind the check of the settings has accepted. `settings` are those
    /// that the file doesn't have.
    pub fn of_file(
        settings: &InfluxSettings,
        file: &PipelineFile,
        #[cfg_attr(
            not(feature = "mongodb"),
            expect(unused_variables, reason = "for MongoDB")
        )]
        clock: Clock,
    ) -> anyhow::Result<Self> {
        #[cfg(feature = "mongodb")]
        if let Some(store) = crate::mongodb::mongo_store(file, clock)? {
            return Ok(Self::Mongodb(store));
        }
        Ok(Self::Influx(Box::new(influx_store(settings, file)?)))
    }
}

impl Store for PipelineStore {
    async fn write(&self, rows: &[Row<'_>]) -> Result<(), WriteError> {
        match self {
            Self::Influx(store) => store.write(rows).await,
            #[cfg(feature = "mongodb")]
            Self::Mongodb(store) => store.write(rows).await,
        }
    }

    async fn preflight(&self) -> Result<(), WriteError> {
        match self {
            Self::Influx(store) => store.preflight().await,
            #[cfg(feature = "mongodb")]
            Self::Mongodb(store) => store.preflight().await,
        }
    }
}
