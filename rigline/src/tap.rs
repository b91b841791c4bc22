//! The command `tap`: shows messages and the elements of lists without taking from them.

mod elements;
mod follow;
mod message;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use common::secret::Secret;
use common::settings::{Settings, count, path};
use model::pipeline::NameGlob;
use model::topic::DEFAULT_FILTER;
use queue::list::List;
use transport::MqttSettings;

use self::elements::Printer;
use crate::inspect::lists::Where;

/// The arguments.
#[derive(Debug, Args)]
pub struct TapArgs {
    /// What to show
    #[arg(value_enum)]
    what: What,
    /// Go on with what arrives, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// Only what matches this pattern with * and ?, or one of several: the topic of messages and dead letters, a tag's
    /// value (such as a rig) of readings and rows
    #[arg(long = "filter", value_name = "GLOB")]
    filters: Vec<NameGlob>,
    /// How many to show: the last ones of a list; of messages the next ones, since a broker keeps none
    #[arg(long, default_value = "10", value_parser = count)]
    number: usize,
    /// Print a JSON object a line. Also the default if the output isn't a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    lists: Where,
    #[command(flatten)]
    mqtt: MqttSettings,
    /// Address of the HTTP API of `rigline up`, for messages that it takes itself: <http://127.0.0.1:8050>
    #[arg(long, env = "API_URL", value_name = "URL")]
    api: Option<String>,
    /// Token of that API, if it needs one
    #[arg(long, env = "API_TOKEN", hide_env_values = true)]
    api_token: Option<Secret>,
    /// File with the certificates of authorities that are trusted for an https API, besides those of the machine
    #[arg(long, env = "API_CA_FILE", value_name = "PATH", value_parser = path())]
    api_ca_file: Option<PathBuf>,
    /// Topic filter of the messages of a broker
    #[arg(long, env = "MQTT_TOPIC", default_value = DEFAULT_FILTER, help_heading = "MQTT")]
    mqtt_topic: String,
}

/// What can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// What devices publish, from the broker or with --api from `rigline up`
    Messages,
    /// The list of readings
    Raw,
    /// The list of rows
    Rows,
    /// The list of dead letters
    Dead,
}

/// Prints what there is, and with `--follow` what comes, until Ctrl-C.
pub async fn run(mut args: TapArgs) -> anyhow::Result<ExitCode> {
    args.lists.check()?;
    args.mqtt.check()?;
    let list = match args.what {
        What::Messages => None,
        What::Raw => Some(List::Raw),
        What::Rows => Some(List::Normalized),
        What::Dead => Some(List::Dead),
    };
    let work = async {
        match list {
            Some(list) => follow::list(&mut args, list).await,
            None => message::messages(&args).await,
        }
    };
    // What was printed is flushed whenever there is nothing more to print.
    tokio::select! {
        ended = work => ended?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(ExitCode::SUCCESS)
}

impl TapArgs {
    fn printer(&self) -> Printer {
        let is_json = self.json || !std::io::stdout().is_terminal();
        Printer::new(is_json, self.filters.clone(), self.lists.layout())
    }
}
