//! A pipeline's store in MongoDB, in builds that have it.

#[cfg(feature = "mongodb")]
use common::clock::Clock;
use common::settings::BadSetting;
#[cfg(not(feature = "mongodb"))]
use common::settings::built_without;
use model::pipeline::PipelineFile;
#[cfg(feature = "mongodb")]
use model::pipeline::StoreKind;
#[cfg(feature = "mongodb")]
use store::{MongoSettings, MongoStore};

#[cfg(feature = "mongodb")]
use crate::from_file::store_kind;

/// Checks the settings of a pipeline's collection.
#[cfg(feature = "mongodb")]
pub fn check_mongodb(file: &PipelineFile) -> Result<(), BadSetting> {
    mongo_settings(file).map_or(Ok(()), |settings| settings.check())
}

/// Fails, since this program was built without the feature.
#[cfg(not(feature = "mongodb"))]
pub fn check_mongodb(file: &PipelineFile) -> Result<(), BadSetting> {
    Err(BadSetting::File(format!(
        "the pipeline {} can't be used: {}",
        *file.name,
        built_without("mongodb")
    )))
}

/// The collection of a pipeline whose store is of this kind.
#[cfg(feature = "mongodb")]
pub fn mongo_store(file: &PipelineFile, clock: Clock) -> Result<Option<MongoStore>, BadSetting> {
    let settings = mongo_settings(file).filter(|_| store_kind(file) == Some(StoreKind::Mongodb));
    let store = settings.map(|settings| MongoStore::new(&settings, clock));
    store.transpose()
}

/// The settings of a pipeline's collection, if its file has a store.
#[cfg(feature = "mongodb")]
fn mongo_settings(file: &PipelineFile) -> Option<MongoSettings> {
    let table = file.store.first();
    table.map(|table| MongoSettings::of_file(file, table))
}
