//! What a pipeline file says about its topic.

use ::kafka::{KafkaSettings, KafkaTable, ReaderSettings, Start};
use common::settings::{BadSetting, KafkaTls};
use model::pipeline::{PipelineFile, StartAt};

/// The brokers, the topic and the group of a pipeline file; at most `max_records` are read at once.
pub fn reader_settings(
    file: &PipelineFile,
    tls: &KafkaTls,
    max_records: usize,
) -> Result<ReaderSettings, BadSetting> {
    let source = &file.source;
    let table = KafkaTable {
        url: source.url.as_ref(),
        user: source.user.as_ref(),
        password: source.password.as_ref(),
        mechanism: source.mechanism.as_ref(),
    };
    let kafka = KafkaSettings::of_table(table, tls)?;
    let member = format!("rigline-{}", *file.name);
    let topic = source.topic.as_ref().map(|topic| topic.as_str().to_owned());
    let group = source.group.as_deref().cloned();
    Ok(ReaderSettings {
        kafka,
        topic: topic.unwrap_or_default(),
        group: group.unwrap_or_else(|| member.clone()),
        member,
        start: match source.start.as_deref() {
            None | Some(StartAt::Earliest) => Start::Earliest,
            Some(StartAt::Latest) => Start::Latest,
        },
        max_records,
    })
}
