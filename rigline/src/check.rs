//! The command `check`: whether everything that the pipeline needs is there and set as the promise needs it.

mod clocks;
mod files;
mod influx;
mod line;
mod lists;
mod mqtt;
mod redis;
mod stores;

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use common::pipelines::PipelineSettings;
use common::settings::{KafkaTls, Settings, TimeLimitSettings};
use sink::from_file::StoreDefaults;
use store::InfluxSettings;
use transport::{MqttSettings, SocketSettings, SubscribeSettings};

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
    times: TimeLimitSettings,
}

/// Checks everything at the same time, and prints a line for each thing. The exit code is 1 if one is bad.
pub async fn run(mut args: CheckArgs) -> anyhow::Result<ExitCode> {
    args.pipelines.check()?;
    args.lists.check()?;
    args.mqtt.check()?;
    args.subscribe.check()?;
    args.influx.check()?;
    let lines = if args.lists.uses_redis() {
        let pipelines = args.pipelines.all();
        let server = args.lists.server().clone();
        let defaults = StoreDefaults {
            influx: &args.influx,
            redis: &server,
            kafka: Some(&args.kafka),
        };
        let influx = async {
            if stores::uses_influx(pipelines) {
                influx::influx(&args.influx, args.times).await
            } else {
                Vec::new()
            }
        };
        let (mqtt, redis, influx, stores) = tokio::join!(
            mqtt::broker(&args.mqtt, &args.subscribe.mqtt_topic),
            redis::redis(&mut args.lists, args.times.max_future),
            influx,
            stores::stores(defaults, &args.kafka, pipelines),
        );
        [mqtt, redis, influx, stores].concat()
    } else {
        let (mqtt, others, files) = tokio::join!(
            mqtt::listener(&args.mqtt),
            mqtt::other_ports(&args.mqtt, &args.sockets),
            files::files(&mut args.lists)
        );
        [mqtt, others, files].concat()
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
