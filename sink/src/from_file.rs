//! The stores of a pipeline that a file describes.

use anyhow::Context;
use common::pipelines::Pipeline;
use common::settings::{BadSetting, KafkaTls, RedisSettings, Settings};
use model::pipeline::{At, PipelineFile, StoreKind, StoreTable, given};
use store::{InfluxSettings, InfluxStore, LatestSettings, Measurement};

use crate::kafka::check_kafka;
use crate::mongodb::check_mongodb;
use crate::postgres::check_postgres;

/// The settings of servers that the tables of stores may leave out.
#[derive(Debug, Clone, Copy)]
pub struct StoreDefaults<'a> {
    /// InfluxDB.
    pub influx: &'a InfluxSettings,
    /// Redis.
    pub redis: &'a RedisSettings,
    /// The files of TLS with Kafka; `None` in programs that don't write to it.
    pub kafka: Option<&'a KafkaTls>,
}

/// The InfluxDB of a pipeline: what the table of the store says, and otherwise what `settings` say. The measurement is
/// by default the pipeline's name.
pub fn influx_settings(
    settings: &InfluxSettings,
    file: &PipelineFile,
    table: Option<&StoreTable>,
) -> Result<(InfluxSettings, Measurement), BadSetting> {
    let mut settings = settings.clone();
    let given = |value: fn(&StoreTable) -> &Option<At<String>>| {
        given(table.and_then(|table| value(table).as_ref())).map(str::to_owned)
    };
    if let Some(url) = given(|table| &table.url) {
        settings.url = url;
    }
    if let Some(token) = given(|table| &table.token) {
        settings.token = Some(token.into());
        settings.token_file = None;
    }
    if let Some(org) = given(|table| &table.org) {
        settings.org = org;
    }
    if let Some(bucket) = given(|table| &table.bucket) {
        settings.bucket = bucket;
    }
    let measurement = given(|table| &table.measurement).unwrap_or_else(|| file.name.to_string());
    let measurement = Measurement::new(&measurement)
        .map_err(|error| BadSetting::new("measurement", &measurement, &error.to_string()))?;
    settings.check()?;
    Ok((settings, measurement))
}

/// Checks that the stores of pipelines are ones beside the four stages, with valid settings.
pub fn check_stores(defaults: StoreDefaults<'_>, pipelines: &[Pipeline]) -> Result<(), BadSetting> {
    for pipeline in pipelines {
        let Pipeline::File(file) = pipeline else {
            continue;
        };
        if file.store.is_empty() {
            influx_settings(defaults.influx, file, None)?;
        }
        let is_file = |table: &At<StoreTable>| table.kind == StoreKind::Sqlite;
        if file.store.iter().any(is_file) {
            return Err(BadSetting::File(format!(
                "the pipeline {} can't be used: a store of kind sqlite is for `rigline up`, whose data directory has it",
                *file.name
            )));
        }
        check_servers(defaults, file)?;
    }
    Ok(())
}

/// Checks the settings of the stores of a pipeline that are servers.
pub fn check_servers(defaults: StoreDefaults<'_>, file: &PipelineFile) -> Result<(), BadSetting> {
    for table in &file.store {
        match table.kind {
            StoreKind::Sqlite => {}
            StoreKind::Influx => {
                influx_settings(defaults.influx, file, Some(table))?;
            }
            StoreKind::Mongodb => check_mongodb(file, table)?,
            StoreKind::Postgres => check_postgres(file, table)?,
            StoreKind::RedisLatest => {
                LatestSettings::of_file(file, table, defaults.redis)?;
            }
            StoreKind::Kafka => check_kafka(file, table, defaults.kafka)?,
        }
    }
    Ok(())
}

/// A client of the InfluxDB of a pipeline.
pub fn influx_store(
    settings: &InfluxSettings,
    file: &PipelineFile,
    table: Option<&StoreTable>,
) -> anyhow::Result<InfluxStore> {
    let (settings, measurement) = influx_settings(settings, file, table)?;
    let store = InfluxStore::new(&settings).context("cannot use InfluxDB")?;
    Ok(store.with_measurement(measurement))
}
