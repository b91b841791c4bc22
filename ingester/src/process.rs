//! The stage as a process.

use std::collections::HashSet;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use common::cli::Program;
use common::harness::{self, Parts, Process};
use common::pipelines::Pipeline;
use model::pipeline::{PipelineFile, SourceKind};
use queue::redis::RedisQueue;
use transport::{
    HttpReceiver, HttpRoute, HttpStreamSettings, HttpStreamSource, Inbox, MqttSettings,
    PubSubSettings, RedisSubscriber, SubscribeSettings, Subscriber, watch_broker_drops,
};

use crate::decoder::{Decoder, MappedDecoder};
use crate::settings::{IngesterSettings, Work};

const PROGRAM: Program = Program {
    name: "ingester",
    about: "Takes readings from the MQTT broker, validates them and appends them to the raw list",
    admin_addr: "127.0.0.1:9101",
    log_filter: "info",
};

/// The ingesters of all pipelines.
#[derive(Default)]
struct Pipelines {
    running: Parts,
    /// Brokers whose dropped messages are watched: hosts and ports.
    watched: HashSet<(String, u16)>,
    /// The pipelines that take messages over HTTP.
    http: Vec<HttpRoute>,
}

/// Runs the stage until a signal. `args` start with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    harness::main(&PROGRAM, args, run)
}

async fn run(settings: IngesterSettings, process: Process) -> anyhow::Result<()> {
    let mut pipelines = Pipelines::default();
    for pipeline in settings.pipelines.all() {
        let process = process.for_pipeline(pipeline.name());
        match pipeline {
            Pipeline::Rigs(_) => start_rigs(&settings, process, &mut pipelines)?,
            Pipeline::File(file) => start_file(&settings, file, process, &mut pipelines)?,
        }
    }
    if !pipelines.http.is_empty() {
        let listener = settings.http.bind().await?;
        let receiver = HttpReceiver::new(pipelines.http, &settings.http);
        let process = process.clone();
        pipelines
            .running
            .spawn(async move { receiver.run(listener, process).await });
    }
    pipelines.running.all(&process, "pipeline").await
}

fn start_rigs(
    settings: &IngesterSettings,
    process: Process,
    pipelines: &mut Pipelines,
) -> anyhow::Result<()> {
    let work = Work {
        decoder: Decoder::Rigs(settings.limits),
        queue: settings.queue.clone(),
    };
    // Constant: with another id, the broker would keep the old session's messages without delivering them.
    let default = || format!("rigline-ingester-{}", work.queue.pipeline);
    let client_id = settings.mqtt.client_id_or(default);
    let (mqtt, subscribe) = (settings.mqtt.clone(), settings.subscribe.clone());
    start_mqtt(
        settings,
        work,
        (mqtt, subscribe, client_id),
        process,
        pipelines,
    )
}

fn start_file(
    settings: &IngesterSettings,
    file: &PipelineFile,
    process: Process,
    pipelines: &mut Pipelines,
) -> anyhow::Result<()> {
    let work = Work {
        decoder: Decoder::Mapped(Box::new(MappedDecoder::new(file))),
        queue: settings.queue.of_pipeline(&file.name),
    };
    match file.source.kind() {
        SourceKind::Mqtt => {
            let mqtt = mqtt_of(settings, file)?;
            let subscribe = SubscribeSettings::of_file(&file.source);
            let name = file.name.as_str();
            let client_id = match mqtt.mqtt_client_id.as_str() {
                "" => format!("rigline-{name}"),
                // Two sessions can't have the same client id.
                given => format!("{given}-{name}"),
            };
            start_mqtt(
                settings,
                work,
                (mqtt, subscribe, client_id),
                process,
                pipelines,
            )
        }
        SourceKind::RedisPubsub => {
            let queue = queue_of(settings, &work)?;
            let source = PubSubSettings::of_file(&file.source, &settings.redis)
                .context("cannot use Redis Pub/Sub")?;
            let session = move |up, _| RedisSubscriber::start(&source, up);
            pipelines
                .running
                .spawn(crate::run(work, queue, session, process));
            Ok(())
        }
        SourceKind::Kafka => start_kafka(settings, file, work, process, pipelines),
        SourceKind::HttpStream => {
            let queue = queue_of(settings, &work)?;
            let source = HttpStreamSettings::of_file(file, &settings.streams)?;
            let session = move |up, positions| HttpStreamSource::start(&source, up, &positions);
            let ingester = crate::run(work, queue, session, process);
            pipelines.running.spawn(ingester);
            Ok(())
        }
        SourceKind::Http => {
            let queue = queue_of(settings, &work)?;
            let inbox = Inbox::default();
            pipelines.http.extend(http_route(file, &inbox));
            let session = move |up, _| inbox.alone(&up);
            pipelines
                .running
                .spawn(crate::run(work, queue, session, process));
            Ok(())
        }
    }
}

#[cfg(feature = "kafka")]
fn start_kafka(
    settings: &IngesterSettings,
    file: &PipelineFile,
    work: Work,
    process: Process,
    pipelines: &mut Pipelines,
) -> anyhow::Result<()> {
    let queue = queue_of(settings, &work)?;
    let source = transport::kafka_reader(file, &settings.kafka, work.queue.limits.batch)?;
    let session = move |up, positions| transport::KafkaSource::start(&source, up, positions);
    let ingester = crate::run(work, queue, session, process);
    pipelines.running.spawn(ingester);
    Ok(())
}

#[cfg(not(feature = "kafka"))]
fn start_kafka(
    _: &IngesterSettings,
    _: &PipelineFile,
    _: Work,
    _: Process,
    _: &mut Pipelines,
) -> anyhow::Result<()> {
    // The settings' check has refused it.
    anyhow::bail!(common::settings::built_without("kafka"))
}

/// The queue of a pipeline. It connects when it is used first.
fn queue_of(settings: &IngesterSettings, work: &Work) -> anyhow::Result<RedisQueue> {
    RedisQueue::new(&work.queue, &settings.redis).context("cannot use Redis")
}

/// Where a pipeline file takes messages over HTTP.
#[must_use]
pub fn http_route(file: &PipelineFile, inbox: &Inbox) -> Option<HttpRoute> {
    let decoder = MappedDecoder::new(file);
    let decoder = Decoder::Mapped(Box::new(decoder));
    Some(HttpRoute {
        path: file.source.path.as_deref()?.clone(),
        inbox: inbox.clone(),
        check: Arc::new(move |topic, message, arrived| {
            decoder.decode(topic, message, arrived).rejection
        }),
    })
}

/// The broker of a pipeline file: that of its URL, otherwise that of the variables.
fn mqtt_of(settings: &IngesterSettings, file: &PipelineFile) -> anyhow::Result<MqttSettings> {
    let mut mqtt = settings.mqtt.clone();
    if let Some(url) = &file.source.url {
        mqtt.set_url(url)?;
    }
    Ok(mqtt)
}

fn start_mqtt(
    settings: &IngesterSettings,
    work: Work,
    (mqtt, subscribe, client_id): (MqttSettings, SubscribeSettings, String),
    process: Process,
    pipelines: &mut Pipelines,
) -> anyhow::Result<()> {
    let queue = queue_of(settings, &work)?;
    let broker = (mqtt.mqtt_host.clone(), mqtt.port());
    if pipelines.watched.insert(broker) {
        // Ends with the process.
        let stop = process.stop.clone();
        tokio::spawn(watch_broker_drops(mqtt.clone(), client_id.clone(), stop));
    }
    let session = move |broker_up, _| Subscriber::start(&mqtt, &subscribe, &client_id, broker_up);
    pipelines
        .running
        .spawn(crate::run(work, queue, session, process));
    Ok(())
}
