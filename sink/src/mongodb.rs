//! A pipeline's store in MongoDB, in builds that have it.

use common::settings::BadSetting;
use model::pipeline::PipelineFile;
#[cfg(feature = "mongodb")]
use store::MongoSettings;

/// Checks the settings of a pipeline's collection.
#[cfg(feature = "mongodb")]
pub fn check_mongodb(file: &PipelineFile) -> Result<(), BadSetting> {
    mongo_settings(file).map_or(Ok(()), |settings| settings.check())
}

/// Fails, since this program was built without the feature.
#[cfg(not(feature = "mongodb"))]
pub fn check_mongodb(file: &PipelineFile) -> Result<(), BadSetting> {
    Err(BadSetting::File(format!(
        "the pipeline {} can't be used: this program was built without the feature mongodb, which its store needs \
         (cargo build --features mongodb; the images have it)",
        *file.name
    )))
}

/// The settings of a pipeline's collection, if its file has a store.
#[cfg(feature = "mongodb")]
#[must_use]
pub fn mongo_settings(file: &PipelineFile) -> Option<MongoSettings> {
    let table = file.store.first();
    table.map(|table| MongoSettings::of_file(file, table))
}
