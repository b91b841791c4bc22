//! A pipeline's topic of Kafka as a store, in builds that have it.

#[cfg(not(feature = "kafka"))]
use common::settings::built_without;
use common::settings::{BadSetting, KafkaTls};
use model::pipeline::{PipelineFile, StoreKind, StoreTable};

use crate::NamedStore;

/// A store with transactions.
#[cfg(feature = "kafka")]
pub type LastStore = store::KafkaStore;
/// No store, since this program was built without the feature `kafka`.
#[cfg(not(feature = "kafka"))]
pub type LastStore = store::NoTransactions;

/// The topic of a table of this kind.
#[cfg(feature = "kafka")]
fn kafka_store(
    file: &PipelineFile,
    table: &StoreTable,
    tls: &KafkaTls,
) -> Result<LastStore, BadSetting> {
    LastStore::of_file(file, table, tls)
}

/// Fails, since this program was built without the feature.
#[cfg(not(feature = "kafka"))]
fn kafka_store(file: &PipelineFile, _: &StoreTable, _: &KafkaTls) -> Result<LastStore, BadSetting> {
    Err(BadSetting::File(format!(
        "the pipeline {} can't be used: {}",
        *file.name,
        built_without("kafka")
    )))
}

/// Looks for the topic of a table of this kind, without touching what a sink is writing. Returns what was found, or what
/// is wrong.
#[cfg(feature = "kafka")]
pub async fn find_topic(
    file: &PipelineFile,
    table: &StoreTable,
    tls: &KafkaTls,
) -> Result<String, String> {
    let store = kafka_store(file, table, tls).map_err(|error| error.to_string())?;
    store.find_topic().await.map_err(|error| error.to_string())
}

/// Fails, since this program was built without the feature.
#[cfg(not(feature = "kafka"))]
#[expect(clippy::unused_async, reason = "as the other one")]
pub async fn find_topic(
    file: &PipelineFile,
    table: &StoreTable,
    tls: &KafkaTls,
) -> Result<String, String> {
    let opened = kafka_store(file, table, tls);
    opened
        .map(|store| match store {})
        .map_err(|error| error.to_string())
}

/// Checks the settings of a topic, in programs that write to it.
pub(crate) fn check_kafka(
    file: &PipelineFile,
    table: &StoreTable,
    tls: Option<&KafkaTls>,
) -> Result<(), BadSetting> {
    tls.map_or(Ok(()), |tls| kafka_store(file, table, tls).map(|_| ()))
}

/// The store with transactions of a pipeline's file, if it has one.
pub fn last_store(
    file: &PipelineFile,
    tls: &KafkaTls,
) -> Result<Option<NamedStore<LastStore>>, BadSetting> {
    let mut named = file.store_names().into_iter().zip(&file.store);
    let found = named.find(|(_, table)| table.kind == StoreKind::Kafka);
    let open = |(name, table)| {
        let store = kafka_store(file, table, tls)?;
        Ok(NamedStore { name, store })
    };
    found
        .map(|(name, table)| open((name, &**table)))
        .transpose()
}
