//! A pipeline's store in PostgreSQL, in builds that have it.

use common::settings::BadSetting;
#[cfg(not(feature = "postgres"))]
use common::settings::built_without;
use model::pipeline::{PipelineFile, StoreTable};
#[cfg(feature = "postgres")]
use store::{PostgresSettings, PostgresStore};

/// Checks the settings of a table.
#[cfg(feature = "postgres")]
pub fn check_postgres(file: &PipelineFile, table: &StoreTable) -> Result<(), BadSetting> {
    PostgresSettings::of_file(file, table).check()
}

/// Fails, since this program was built without the feature.
#[cfg(not(feature = "postgres"))]
pub fn check_postgres(file: &PipelineFile, _: &StoreTable) -> Result<(), BadSetting> {
    Err(BadSetting::File(format!(
        "the pipeline {} can't be used: {}",
        *file.name,
        built_without("postgres")
    )))
}

/// The table of a store of this kind.
#[cfg(feature = "postgres")]
pub fn postgres_store(
    file: &PipelineFile,
    table: &StoreTable,
) -> Result<PostgresStore, BadSetting> {
    PostgresStore::new(&PostgresSettings::of_file(file, table))
}
