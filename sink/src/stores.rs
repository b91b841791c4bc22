//! The stores that pipelines beside the four stages may have.

use anyhow::Context;
use common::clock::Clock;
use model::pipeline::{PipelineFile, StoreKind, StoreTable};
use model::row::Row;
#[cfg(feature = "mongodb")]
use store::MongoStore;
use store::{InfluxSettings, InfluxStore, Store, WriteError};

use crate::NamedStore;
use crate::from_file::{influx_store, store_tables};

/// One of the stores of a pipeline.
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

    /// The stores of the pipeline of a file, whose kinds the check of the settings has accepted. `settings` are those
    /// that the file doesn't have.
    pub fn all_of_file(
        settings: &InfluxSettings,
        file: &PipelineFile,
        clock: Clock,
    ) -> anyhow::Result<Vec<NamedStore<Self>>> {
        let names = file.store_names().into_iter();
        let names = names.chain(
            file.store
                .is_empty()
                .then(|| StoreKind::Influx.name().to_owned()),
        );
        let stores = names.zip(store_tables(file)).map(|(name, table)| {
            let store = Self::of_table(settings, file, table, clock)?;
            Ok(NamedStore { name, store })
        });
        stores.collect()
    }

    /// The store of one table of a file; an InfluxDB without one.
    pub fn of_table(
        settings: &InfluxSettings,
        file: &PipelineFile,
        table: Option<&StoreTable>,
        #[cfg_attr(
            not(feature = "mongodb"),
            expect(unused_variables, reason = "for MongoDB")
        )]
        clock: Clock,
    ) -> anyhow::Result<Self> {
        #[cfg(feature = "mongodb")]
        if let Some(table) = table.filter(|table| table.kind == StoreKind::Mongodb) {
            let store = crate::mongodb::mongo_store(file, table, clock)?;
            return Ok(Self::Mongodb(store));
        }
        let store = influx_store(settings, file, table)?;
        Ok(Self::Influx(Box::new(store)))
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
