//! The command `check`: whether everything that the pipeline needs is there and set as the promise needs it.

mod clocks;
mod files;
mod influx;
mod line;
mod lists;
mod mqtt;
mod redis;

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use common::settings::{Settings, TimeLimitSettings};
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
    times: TimeLimitSettings,
}

/// Checks everything at the same time, and prints a line for each thing. The exit code is 1 if one is bad.
pub async fn run(mut args: CheckArgs) -> anyhow::Result<ExitCode> {
    args.lists.check()?;
    args.mqtt.check()?;
    args.subscribe.check()?;
    args.influx.check()?;
    let lines = if args.lists.uses_redis() {
        let (mqtt, redis, influx) = tokio::join!(
            mqtt::broker(&args.mqtt, &args.subscribe.mqtt_topic),
            redis::redis(&mut args.lists, args.times.max_future),
            influx::influx(&args.influx, args.times),
        );
        [mqtt, redis, influx].concat()
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
