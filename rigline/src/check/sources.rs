//! The sources that pipeline files name themselves.

use common::pipelines::Pipeline;
use common::settings::KafkaTls;
use model::pipeline::{PipelineFile, SourceKind};
use transport::{HttpStreamSettings, HttpStreamTls, MqttSettings, SubscribeSettings};

use super::line::{Line, limited};
use super::mqtt;

const NEXT: &str = "do what it says, start the server, or check [source] in the pipeline file";

/// The lines about topics of Kafka, streams over HTTP, and brokers other than that of the settings.
pub(super) async fn sources(
    mqtt: &MqttSettings,
    kafka: &KafkaTls,
    streams: &HttpStreamTls,
    pipelines: &[Pipeline],
) -> Vec<Line> {
    if let Err(error) = ingester::settings::check_sources(kafka, streams, pipelines) {
        return vec![Line::bad(
            "sources",
            error.to_string(),
            "correct the pipeline file",
        )];
    }
    let mut lines = Vec::new();
    for file in pipelines.iter().filter_map(Pipeline::file) {
        if let Some(url) = file.source.url.as_deref()
            && file.source.kind() == SourceKind::Mqtt
        {
            lines.extend(broker(mqtt, url, file).await);
            continue;
        }
        lines.extend(match limited("", ask(kafka, streams, file)).await {
            Ok(None) => None,
            Ok(Some(Ok(detail))) => Some(Line::ok(name(file), detail)),
            Ok(Some(Err(detail))) => Some(Line::bad(name(file), detail, NEXT)),
            Err(line) => Some(Line {
                check: name(file).into(),
                ..line
            }),
        });
    }
    lines
}

fn name(file: &PipelineFile) -> String {
    format!("source of {}", *file.name)
}

/// The lines about the broker of a pipeline.
async fn broker(mqtt: &MqttSettings, url: &str, file: &PipelineFile) -> Vec<Line> {
    let mut settings = mqtt.clone();
    if let Err(error) = settings.set_url(url) {
        return vec![Line::bad(name(file), error.to_string(), NEXT)];
    }
    let filter = SubscribeSettings::of_file(&file.source).mqtt_topic;
    let lines = mqtt::broker(&settings, &[filter]).await;
    lines.into_iter().map(|line| line.of(&file.name)).collect()
}

/// Asks a source whether it can be read. `None` if there is nobody to ask, or another line is about it.
async fn ask(
    kafka: &KafkaTls,
    streams: &HttpStreamTls,
    file: &PipelineFile,
) -> Option<Result<String, String>> {
    match file.source.kind() {
        SourceKind::Kafka => Some(transport::find_kafka_topic(file, kafka).await),
        SourceKind::HttpStream => {
            let answer = match HttpStreamSettings::of_file(file, streams) {
                Ok(stream) => stream.probe().await,
                Err(error) => Err(error.to_string()),
            };
            Some(answer.map(|()| "the stream can be read".to_owned()))
        }
        SourceKind::Mqtt | SourceKind::RedisPubsub | SourceKind::Http => None,
    }
}
