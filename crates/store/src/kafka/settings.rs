//! The settings of a topic.

use ::kafka::{KafkaSettings, KafkaTable, WriterSettings};
use common::settings::{BadSetting, KafkaTls};
use model::pipeline::{PipelineFile, StoreTable, given};

/// The topic of a table of a pipeline file.
pub(super) fn of_file(
    file: &PipelineFile,
    table: &StoreTable,
    tls: &KafkaTls,
) -> Result<WriterSettings, BadSetting> {
    let brokers = KafkaTable {
        url: table.url.as_ref(),
        user: table.user.as_ref(),
        password: table.password.as_ref(),
        mechanism: table.mechanism.as_ref(),
    };
    let partitions = table.partitions.as_deref();
    Ok(WriterSettings {
        kafka: KafkaSettings::of_table(brokers, tls)?,
        topic: given(table.topic.as_ref()).unwrap_or_default().to_owned(),
        partitions: partitions.map(|count| i32::try_from(*count).unwrap_or(i32::MAX)),
        transactional_id: format!("rigline-{}", *file.name),
    })
}
