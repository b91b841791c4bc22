//! The command line of the binary `rigline`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::check::CheckArgs;
use crate::inspect::dlq::DlqArgs;
use crate::inspect::ledger::LedgerArgs;
use crate::inspect::rigs::RigsArgs;
use crate::inspect::rows::RowsArgs;
use crate::inspect::users::PasswdArgs;
use crate::pipelines::PipelinesArgs;
use crate::report::ReportArgs;
use crate::tap::TapArgs;
use crate::try_messages::TryArgs;
use crate::{
    api_process, check, demo, feed, init, inspect, pipelines, report, tap, try_messages, up,
};

/// Bad arguments: the `EX_USAGE` of sysexits.h.
pub(crate) const EXIT_USAGE: u8 = 64;

/// Carries sensor readings from MQTT to a time-series store, turns them into rows on the way, and can
/// prove that it lost none.
#[derive(Debug, Parser)]
#[command(name = "rigline", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole pipeline in this process, with one data directory: devices publish to it as to a broker
    #[command(disable_help_flag = true)]
    Up(Rest),
    /// Run the whole pipeline with a simulated fleet, to try it out; removes its data at the end
    #[command(disable_help_flag = true)]
    Demo(Rest),
    /// Run the simulated fleet
    #[command(disable_help_flag = true)]
    Producer(Rest),
    /// Run the stage from an MQTT broker to Redis
    #[command(disable_help_flag = true)]
    Ingester(Rest),
    /// Run the stage from Redis to Redis
    #[command(disable_help_flag = true)]
    Transformer(Rest),
    /// Run the stage from Redis to the stores of its pipelines
    #[command(disable_help_flag = true)]
    Sink(Rest),
    /// Serve the HTTP API of the four stages: lists in Redis, rows in the stores of the pipelines
    #[command(disable_help_flag = true)]
    Api(Rest),
    /// Stream files of JSON items over HTTP, an item a line, for pipelines with kind = "http-stream"
    #[command(disable_help_flag = true)]
    Feed(Rest),
    /// Set InfluxDB up: user, bucket, tokens, dashboard. Ends when all exist; a second run changes nothing
    #[command(disable_help_flag = true)]
    Init(Rest),
    /// Show the passwords and tokens that init has created
    #[command(disable_help_flag = true)]
    Passwords(Rest),
    /// Check broker, Redis, InfluxDB or data directory, their settings, clocks and lists, with the next step for
    /// what isn't as it should be; exit code 1 if anything is bad
    Check(Box<CheckArgs>),
    /// Show stored rows
    Rows(RowsArgs),
    /// Show all rigs, or the series of another pipeline, with their fields and the time range of their rows
    #[command(visible_alias = "series")]
    Rigs(RigsArgs),
    /// Show both sides of each line of the ledger; exit code 0 if they agree, 1 if not, 2 if there is no ledger
    Ledger(LedgerArgs),
    /// Show, export, replay and discard dead letters
    Dlq(DlqArgs),
    /// Show messages, or elements of the lists, without taking from them
    Tap(Box<TapArgs>),
    /// Show what messages become in a pipeline, without a server; exit code 1 if anything would be a dead letter
    Try(TryArgs),
    /// Check pipeline files, or print their JSON Schema
    Pipelines(PipelinesArgs),
    /// Write reports about data
    Report(ReportArgs),
    /// Add a device to the password file of up, or change its password, which is read from the terminal or standard input
    Passwd(PasswdArgs),
}

/// The arguments of a command that parses them itself.
#[derive(Debug, Args)]
struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    args: Vec<OsString>,
}

impl Rest {
    /// The arguments with the program's name in front.
    fn called(self, name: &str) -> Vec<OsString> {
        let program = OsString::from(format!("rigline {name}"));
        std::iter::once(program).chain(self.args).collect()
    }
}

/// Runs the command. `args` start with the program's name. Not generic, so that it is compiled in this crate once, and
/// not again in the binary.
#[must_use]
pub fn main(args: Vec<OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return print_error(&error),
    };
    match cli.command {
        Command::Up(rest) => up::main(rest.called("up")),
        Command::Demo(rest) => demo::main(rest.called("demo")),
        Command::Producer(rest) => producer::process::main(rest.called("producer")),
        Command::Ingester(rest) => ingester::process::main(rest.called("ingester")),
        Command::Transformer(rest) => transformer::process::main(rest.called("transformer")),
        Command::Sink(rest) => sink::process::main(rest.called("sink")),
        Command::Api(rest) => api_process::main(rest.called("api")),
        Command::Feed(rest) => feed::main(rest.called("feed")),
        Command::Init(rest) => init::main(rest.called("init")),
        Command::Passwords(rest) => init::passwords(rest.called("passwords")),
        Command::Check(args) => inspect::main(check::run(*args)),
        Command::Rows(args) => inspect::main(inspect::rows::show(args)),
        Command::Rigs(args) => inspect::main(inspect::rigs::show(args)),
        Command::Ledger(args) => inspect::main(inspect::ledger::show(args)),
        Command::Dlq(args) => inspect::main(inspect::dlq::run(args)),
        Command::Tap(args) => inspect::main(tap::run(*args)),
        Command::Try(args) => inspect::main(async { try_messages::run(&args) }),
        Command::Pipelines(args) => inspect::main(async move { pipelines::run(&args).await }),
        Command::Report(args) => inspect::main(report::run(args)),
        Command::Passwd(args) => inspect::main(async { inspect::users::set(&args) }),
    }
}

fn print_error(error: &clap::Error) -> ExitCode {
    // Standard output may be closed.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(EXIT_USAGE),
    }
}
