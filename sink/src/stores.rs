//! The stores that pipelines beside the four stages may have.

use anyhow::Context;
use common::clock::Clock;
use common::settings::BadSetting;
use model::pipeline::{PipelineFile, StoreKind, StoreTable};
use model::row::Row;
#[cfg(feature = "mongodb")]
use store::MongoStore;
#[cfg(feature = "postgres")]
use store::PostgresStore;
use store::{InfluxSettings, InfluxStore, LatestSettings, LatestStore, Store, WriteError};

use crate::NamedStore;
use crate::from_file::{StoreDefaults, influx_store};

/// One of the stores of a pipeline.
#[derive(Debug, Clone)]
pub enum PipelineStore {
    /// A measurement of an InfluxDB.
    Influx(Box<InfluxStore>),
    /// A collection of MongoDB.
    #[cfg(feature = "mongodb")]
    Mongodb(MongoStore),
    /// A table of PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(PostgresStore),
    /// The newest rows in Redis.
    RedisLatest(LatestStore),
}

impl PipelineStore {
    /// The store of the pipeline `rigs`.
    pub fn of_rigs(settings: &InfluxSettings) -> anyhow::Result<Self> {
        let store = InfluxStore::new(settings).context("cannot use InfluxDB")?;
        Ok(Self::Influx(Box::new(store)))
    }

    /// The stores that merge rows of the pipeline of a file, whose kinds the check of the settings has accepted.
    /// `defaults` are those that the file doesn't have.
    pub fn all_of_file(
        defaults: StoreDefaults<'_>,
        file: &PipelineFile,
        clock: Clock,
    ) -> anyhow::Result<Vec<NamedStore<Self>>> {
        let names = file.store_names().into_iter();
        let names = names.chain(
            file.store
                .is_empty()
                .then(|| StoreKind::Influx.name().to_owned()),
        );
        let merging = names.zip(store_tables(file)).filter(|(_, table)| {
            let kind = table.map(|table| table.kind);
            kind != Some(StoreKind::Kafka)
        });
        let stores = merging.map(|(name, table)| {
            let store = Self::of_table(defaults, file, table, clock)?;
            Ok(NamedStore { name, store })
        });
        stores.collect()
    }

    /// The store of one table of a file; an InfluxDB without one.
    pub fn of_table(
        defaults: StoreDefaults<'_>,
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
        #[cfg(feature = "postgres")]
        if let Some(table) = table.filter(|table| table.kind == StoreKind::Postgres) {
            let store = crate::postgres::postgres_store(file, table)?;
            return Ok(Self::Postgres(store));
        }
        if let Some(table) = table.filter(|table| table.kind == StoreKind::RedisLatest) {
            let settings = LatestSettings::of_file(file, table, defaults.redis)?;
            return Ok(Self::RedisLatest(LatestStore::new(&settings)?));
        }
        let store = influx_store(defaults.influx, file, table)?;
        Ok(Self::Influx(Box::new(store)))
    }

    /// Checks, without changing anything, whether the store takes rows. Returns what to tell the user.
    pub async fn check(&self) -> Result<&'static str, WriteError> {
        match self {
            #[cfg(feature = "mongodb")]
            Self::Mongodb(store) => store.check().await?,
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => {
                if !store.check().await? {
                    return Ok("takes rows; the sink creates the table, which isn't there yet");
                }
            }
            // What has nothing to prepare changes nothing.
            Self::Influx(_) | Self::RedisLatest(_) => self.preflight().await?,
        }
        Ok("takes rows")
    }
}

/// The tables of a pipeline's stores; one `None` stands for the store of a file that names none.
fn store_tables(file: &PipelineFile) -> impl Iterator<Item = Option<&StoreTable>> {
    let unnamed = file.store.is_empty().then_some(None);
    let named = file.store.iter().map(|table| Some(&**table));
    named.chain(unnamed)
}

/// The store of the newest rows of a pipeline, if it has one, for those who read them.
pub fn latest_store(
    defaults: StoreDefaults<'_>,
    file: &PipelineFile,
) -> Result<Option<LatestStore>, BadSetting> {
    let mut tables = file.store.iter();
    let table = tables.find(|table| table.kind == StoreKind::RedisLatest);
    let open = |table| LatestStore::new(&LatestSettings::of_file(file, table, defaults.redis)?);
    table.map(|table| open(table)).transpose()
}

impl Store for PipelineStore {
    async fn write(&self, rows: &[Row<'_>]) -> Result<(), WriteError> {
        match self {
            Self::Influx(store) => store.write(rows).await,
            #[cfg(feature = "mongodb")]
            Self::Mongodb(store) => store.write(rows).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.write(rows).await,
            Self::RedisLatest(store) => store.write(rows).await,
        }
    }

    async fn preflight(&self) -> Result<(), WriteError> {
        match self {
            Self::Influx(store) => store.preflight().await,
            #[cfg(feature = "mongodb")]
            Self::Mongodb(store) => store.preflight().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.preflight().await,
            Self::RedisLatest(store) => store.preflight().await,
        }
    }
}
