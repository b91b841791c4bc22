//! Topics of Kafka as a source. A build without the feature `kafka` refuses pipelines that need one.

#[cfg(not(feature = "kafka"))]
use common::settings::built_without;
use common::settings::{BadSetting, KafkaTls};
use model::pipeline::PipelineFile;

#[cfg(feature = "kafka")]
mod file;
#[cfg(feature = "kafka")]
mod source;

#[cfg(feature = "kafka")]
pub use file::reader_settings;
#[cfg(feature = "kafka")]
pub use source::{KafkaSource, KafkaTicket};

/// Checks whether this build can read the topic of a pipeline file, and the files of TLS.
#[cfg(feature = "kafka")]
pub fn check_kafka(file: &PipelineFile, tls: &KafkaTls) -> Result<(), BadSetting> {
    reader_settings(file, tls, 1)?.kafka.check()
}

/// Looks for the topic of a pipeline file, without joining the group. Returns what was found, or what is wrong.
#[cfg(feature = "kafka")]
pub async fn find_kafka_topic(file: &PipelineFile, tls: &KafkaTls) -> Result<String, String> {
    let reader = reader_settings(file, tls, 1).map_err(|error| error.to_string())?;
    let topic = &reader.topic;
    match reader.kafka.has_topic(&reader.member, topic).await {
        Ok(true) => Ok(format!("the topic {topic:?} exists")),
        Ok(false) => Err(format!("there is no topic {topic:?}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Fails: this build can't read Kafka.
#[cfg(not(feature = "kafka"))]
pub async fn find_kafka_topic(file: &PipelineFile, tls: &KafkaTls) -> Result<String, String> {
    let checked = check_kafka(file, tls);
    checked
        .map(|()| String::new())
        .map_err(|error| error.to_string())
}

/// Fails: this build can't read Kafka.
#[cfg(not(feature = "kafka"))]
pub fn check_kafka(file: &PipelineFile, _: &KafkaTls) -> Result<(), BadSetting> {
    Err(BadSetting::File(format!(
        "the pipeline {} can't be used: {}",
        *file.name,
        built_without("kafka")
    )))
}
