//! What a pipeline file says about its topic.

use ::kafka::{KafkaSettings, Mechanism, ReaderSettings, Start};
use common::settings::{BadSetting, KafkaTls};
use model::pipeline::{At, PipelineFile, SaslMechanism, StartAt};

/// The brokers, the topic and the group of a pipeline file; at most `max_records` are read at once.
pub fn reader_settings(
    file: &PipelineFile,
    tls: &KafkaTls,
    max_records: usize,
) -> Result<ReaderSettings, BadSetting> {
    let source = &file.source;
    let text = |value: &Option<At<String>>| value.as_deref().cloned().unwrap_or_default();
    let url = text(&source.url);
    let mut kafka = KafkaSettings::from_url(&url, tls)
        .map_err(|error| BadSetting::new("url", &url, &error.to_string()))?;
    kafka.login = Some(text(&source.user))
        .filter(|user| !user.is_empty())
        .map(|user| (user, text(&source.password).into()));
    kafka.mechanism = match source.mechanism.as_deref() {
        None | Some(SaslMechanism::Plain) => Mechanism::Plain,
        Some(SaslMechanism::ScramSha256) => Mechanism::ScramSha256,
        Some(SaslMechanism::ScramSha512) => Mechanism::ScramSha512,
    };
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
