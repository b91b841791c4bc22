//! A pipeline's store in MongoDB, in builds that have it.

#[cfg(feature = "mongodb")]
use common::clock::Clock;
use common::settings::BadSetting;
#[cfg(not(feature = "mongodb"))]
use common::settings::built_without;
use model::pipeline::{PipelineFile, StoreTable};
#[cfg(feature = "mongodb")]
use store::{MongoSettings, MongoStore};

/// Checks the settings of a collection.
#[cfg(feature = "mongodb")]
pub fn check_mongodb(file: &PipelineFile, table: &StoreTable) -> Result<(), BadSetting> {
    MongoSettings::of_file(file, table).check()
}

/// Fails, since this program was built without the feature.
#[cfg(not(feature = "mongodb"))]
pub fn check_mongodb(file: &PipelineFile, _: &StoreTable) -> Result<(), BadSetting> {
    Err(BadSetting::File(format!(
        "the pipeline {} can't be used: {}",
        *file.name,
        built_without("mongodb")
    )))
}

/// The collection of a table of this kind.
#[cfg(feature = "mongodb")]
pub fn mongo_store(
    file: &PipelineFile,
    table: &StoreTable,
    clock: Clock,
) -> Result<MongoStore, BadSetting> {
    MongoStore::new(&MongoSettings::of_file(file, table), clock)
}
