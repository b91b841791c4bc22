//! Where the rows of a pipeline are read from, if that is a server.

use anyhow::Context;
use api::PipelineHistory;
#[cfg(feature = "mongodb")]
use common::clock::Clock;
use common::pipelines::Pipeline;
use common::settings::BadSetting;
use model::Layout;
use model::pipeline::{StoreKind, StoreTable};
use sink::from_file::{StoreDefaults, influx_settings};
use sink::mongodb::check_mongodb;
use sink::postgres::check_postgres;
use sink::stores::latest_store;
use store::{InfluxHistory, InfluxSettings, LatestStore, Measurement};

/// The table of the store that a pipeline's rows are read from, if its file names any.
fn table_of(pipeline: &Pipeline) -> Option<&StoreTable> {
    match pipeline {
        Pipeline::Rigs(_) => None,
        Pipeline::File(file) => Some(&**file.store.get(file.history_place()?)?),
    }
}

/// The reader of a pipeline's rows on a server; the InfluxDB of the settings, if the file names no store. Fails if the
/// pipeline has alerts, and none of its stores can be read.
pub(crate) fn on_server(
    influx: &InfluxSettings,
    pipeline: &Pipeline,
) -> anyhow::Result<PipelineHistory> {
    let table = table_of(pipeline);
    if let Pipeline::File(file) = pipeline
        && table.is_none()
        && !file.store.is_empty()
    {
        let why = format!(
            "rows of the pipeline {} can't be read from its stores; add another one, for instance [[store]] with \
             kind = \"influx\"",
            *file.name
        );
        if !file.alert.is_empty() {
            return Err(BadSetting::File(format!("{why}: its alerts need them")).into());
        }
        return Ok(PipelineHistory::Unreadable(why.into()));
    }
    if let Pipeline::File(file) = pipeline
        && let Some(table) = table
    {
        // Also fail in programs that were built without these stores.
        match table.kind {
            StoreKind::Mongodb => check_mongodb(file, table)?,
            StoreKind::Postgres => check_postgres(file, table)?,
            StoreKind::Influx | StoreKind::Sqlite | StoreKind::RedisLatest | StoreKind::Kafka => {}
        }
        #[cfg(feature = "mongodb")]
        if table.kind == StoreKind::Mongodb {
            let store = sink::mongodb::mongo_store(file, table, Clock::system())?;
            return Ok(PipelineHistory::Mongodb(store.history()));
        }
        #[cfg(feature = "postgres")]
        if table.kind == StoreKind::Postgres {
            let store = sink::postgres::postgres_store(file, table)?;
            return Ok(PipelineHistory::Postgres(store.history()));
        }
    }
    let (influx, measurement, layout) = match pipeline {
        Pipeline::Rigs(_) => (influx.clone(), Measurement::default(), Layout::Rigs),
        Pipeline::File(file) => {
            let (influx, measurement) = influx_settings(influx, file, table)?;
            (influx, measurement, Layout::Tagged)
        }
    };
    let history = InfluxHistory::new(&influx, measurement, layout);
    Ok(PipelineHistory::Influx(
        history.context("cannot use InfluxDB")?,
    ))
}

/// The newest rows of a pipeline, if it has a store of them.
pub(crate) fn latest(
    defaults: StoreDefaults<'_>,
    pipeline: &Pipeline,
) -> anyhow::Result<Option<LatestStore>> {
    match pipeline {
        Pipeline::Rigs(_) => Ok(None),
        Pipeline::File(file) => Ok(latest_store(defaults, file)?),
    }
}

/// The name of that server in health reports.
pub(crate) fn server_name(pipeline: &Pipeline) -> &'static str {
    match table_of(pipeline).map(|table| table.kind) {
        Some(StoreKind::Mongodb) => "mongodb",
        Some(StoreKind::Postgres) => "postgres",
        Some(StoreKind::Influx | StoreKind::Sqlite | StoreKind::RedisLatest | StoreKind::Kafka)
        | None => "influxdb",
    }
}
