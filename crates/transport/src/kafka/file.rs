//! What a pipeline file says about its topic.

use ::kafka::{KafkaSettings, Mechanism, ReaderSettings, Start};
use common::settings::{BadSetting, KafkaTls};
use model::pipeline::{KafkaUrlError, PipelineFile, SaslMechanism, StartAt, given};

/// The brokers, the topic and the group of a pipeline file; at most `max_records` are read at once.
pub fn reader_settings(
    file: &PipelineFile,
    tls: &KafkaTls,
    max_records: usize,
) -> Result<ReaderSettings, BadSetting> {
    let source = &file.source;
    let url = given(source.url.as_ref()).unwrap_or_default();
    let brokers = url
        .parse()
        .map_err(|error: KafkaUrlError| BadSetting::new("url", url, &error.to_string()))?;
    let mut kafka = KafkaSettings::at(&brokers, tls);
    let password = given(source.password.as_ref()).unwrap_or_default();
    let user = given(source.user.as_ref());
    kafka.login = user.map(|user| (user.to_owned(), password.into()));
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
