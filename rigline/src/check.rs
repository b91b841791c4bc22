//! The command `check`: whether everything that the pipeline needs is there and set as the promise needs it.

mod clocks;
mod files;
mod influx;
mod line;
mod lists;
mod mqtt;
mod redis;
mod sources;
mod stores;

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use common::pipelines::{Pipeline, PipelineSettings};
use common::settings::{KafkaTls, Settings, TimeLimitSettings};
use model::pipeline::SourceKind;
use sink::from_file::{StoreDefaults, check_stores};
use store::InfluxSettings;
use transport::{HttpStreamTls, MqttSettings, SocketSettings, SubscribeSettings};

use self::line::{Line, Status};
use crate::inspect::lists::Where;
use crate::inspect::output::stdout;

/// The arguments.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Print a JSON array of objects with check, status, detail and `next_step`
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pipelines: PipelineSettings,
    #[command(flatten)]
    lists: Where,
    #[command(flatten)]
    mqtt: MqttSettings,
    #[command(flatten)]
    subscribe: SubscribeSettings,
    /// The other ports of `rigline up`.
    #[command(flatten)]
    sockets: SocketSettings,
    #[command(flatten)]
    influx: InfluxSettings,
    #[command(flatten)]
    kafka: KafkaTls,
    #[command(flatten)]
    streams: HttpStreamTls,
    #[command(flatten)]
    times: TimeLimitSettings,
}

impl CheckArgs {
    /// The settings of stores that pipeline files leave out.
    fn store_defaults(&self) -> StoreDefaults<'_> {
        StoreDefaults {
            influx: &self.influx,
            redis: self.lists.server(),
            kafka: Some(&self.kafka),
        }
    }
}

/// Checks everything at the same time, and prints a line for each thing. The exit code is 1 if one is bad.
pub async fn run(mut args: CheckArgs) -> anyhow::Result<ExitCode> {
    args.pipelines.check()?;
    args.lists.check()?;
    args.mqtt.check()?;
    args.subscribe.check()?;
    args.influx.check()?;
    let lines = if args.lists.uses_redis() {
        Box::pin(of_servers(&args)).await
    } else {
        Box::pin(of_one_process(&args)).await
    };
    let mut out = stdout();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&lines)?)?;
    } else {
        line::print(&mut out, &lines)?;
    }
    out.flush()?;
    let is_bad = |line: &Line| line.status == Status::Bad;
    Ok(ExitCode::from(u8::from(lines.iter().any(is_bad))))
}

/// The lines about the sources, Redis and the stores of the four stages.
async fn of_servers(args: &CheckArgs) -> Vec<Line> {
    let pipelines = args.pipelines.all();
    let defaults = args.store_defaults();
    let mqtt = async {
        let filters = mqtt_filters(pipelines, &args.subscribe.mqtt_topic);
        if filters.is_empty() {
            Vec::new()
        } else {
            mqtt::broker(&args.mqtt, &filters).await
        }
    };
    let influx = async {
        if stores::uses_influx(pipelines) {
            influx::influx(&args.influx, args.times).await
        } else {
            Vec::new()
        }
    };
    let (mqtt, sources, redis, influx, stores) = tokio::join!(
        mqtt,
        sources(args),
        redis::redis(args.lists.of_each(pipelines), args.times.max_future),
        influx,
        stores::stores(
            defaults,
            &args.kafka,
            pipelines,
            check_stores(defaults, pipelines)
        ),
    );
    [mqtt, sources, redis, influx, stores].concat()
}

/// The lines about `rigline up` and its data directory.
async fn of_one_process(args: &CheckArgs) -> Vec<Line> {
    let pipelines = args.pipelines.all();
    let mqtt = async {
        if mqtt_filters(pipelines, &args.subscribe.mqtt_topic).is_empty() {
            Vec::new()
        } else {
            let (mqtt, others) = tokio::join!(
                mqtt::listener(&args.mqtt),
                mqtt::other_ports(&args.mqtt, &args.sockets),
            );
            [mqtt, others].concat()
        }
    };
    let defaults = args.store_defaults();
    let checked = stores::check_all_servers(defaults, pipelines);
    let (mqtt, sources, files, stores) = tokio::join!(
        mqtt,
        sources(args),
        files::files(args.lists.of_each(pipelines), pipelines),
        stores::stores(defaults, &args.kafka, pipelines, checked),
    );
    [mqtt, sources, files, stores].concat()
}

/// The lines about the sources that pipeline files name.
async fn sources(args: &CheckArgs) -> Vec<Line> {
    sources::sources(&args.mqtt, &args.kafka, &args.streams, args.pipelines.all()).await
}

/// What these pipelines take from the broker of the settings, or from the listener; `rigs` is the filter of that
/// pipeline.
fn mqtt_filters(pipelines: &[Pipeline], rigs: &str) -> Vec<String> {
    let filters = pipelines.iter().filter_map(|pipeline| match pipeline {
        Pipeline::Rigs(_) => Some(rigs.to_owned()),
        Pipeline::File(file) => {
            let source = &file.source;
            let is_here = source.kind() == SourceKind::Mqtt && source.url.is_none();
            let topic = source.topic.as_ref().filter(|_| is_here)?;
            Some(topic.filter())
        }
    });
    filters.collect()
}
