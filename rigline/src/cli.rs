//! What can be asked for.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::inspect::dlq::DlqArgs;
use crate::inspect::ledger::LedgerArgs;
use crate::inspect::rigs::RigsArgs;
use crate::inspect::rows::RowsArgs;
use crate::inspect::users::PasswdArgs;
use crate::{demo, init, inspect, up};

/// Bad arguments: the `EX_USAGE` of sysexits.h.
const EXIT_USAGE: u8 = 64;

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
    /// Everything in this process, in one data directory: devices publish to it as to a broker
    #[command(disable_help_flag = true)]
    Up(Rest),
    /// As up, with a simulated fleet, for a look; its data is gone at the end
    #[command(disable_help_flag = true)]
    Demo(Rest),
    /// The simulated fleet by itself
    #[command(disable_help_flag = true)]
    Producer(Rest),
    /// The stage from an MQTT broker to Redis by itself
    #[command(disable_help_flag = true)]
    Ingester(Rest),
    /// The stage from Redis to Redis by itself
    #[command(disable_help_flag = true)]
    Transformer(Rest),
    /// The stage from Redis to InfluxDB by itself
    #[command(disable_help_flag = true)]
    Sink(Rest),
    /// Set InfluxDB up: user, bucket, tokens, dashboard. Ends when it is done; again changes nothing
    #[command(disable_help_flag = true)]
    Init(Rest),
    /// Show the passwords and tokens that init has made
    #[command(disable_help_flag = true)]
    Passwords(Rest),
    /// Show stored rows
    Rows(RowsArgs),
    /// Show which rigs there are
    Rigs(RigsArgs),
    /// Show both sides of each line of the ledger; exit code 0 if they agree, 1 if not, 2 if there is no ledger to be seen
    Ledger(LedgerArgs),
    /// Snapshot at dead letters, and put them through once more
    Dlq(DlqArgs),
    /// Add a device to the password file of up, or change its password: asked for, or a line of standard input
    Passwd(PasswdArgs),
}

/// What a process of its own is told; it has its own help.
#[derive(Debug, Args)]
struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    args: Vec<OsString>,
}

impl Rest {
    /// With the program's name in front, as a process finds it.
    fn called(self, name: &str) -> impl Iterator<Item = OsString> + use<> {
        let program = OsString::from(format!("rigline {name}"));
        std::iter::once(program).chain(self.args)
    }
}

/// Does what the arguments ask for, the program's name being the first of them.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    match cli.command {
        Command::Up(rest) => up::main(rest.called("up")),
        Command::Demo(rest) => demo::main(rest.called("demo")),
        Command::Producer(rest) => producer::process::main(rest.called("producer")),
        Command::Ingester(rest) => ingester::process::main(rest.called("ingester")),
        Command::Transformer(rest) => transformer::process::main(rest.called("transformer")),
        Command::Sink(rest) => sink::process::main(rest.called("sink")),
        Command::Init(rest) => init::main(rest.called("init")),
        Command::Passwords(rest) => init::passwords(rest.called("passwords")),
        Command::Rows(args) => inspect::main(inspect::rows::show(args)),
        Command::Rigs(args) => inspect::main(inspect::rigs::show(args)),
        Command::Ledger(args) => inspect::main(inspect::ledger::show(args)),
        Command::Dlq(args) => inspect::main(inspect::dlq::run(args)),
        Command::Passwd(args) => inspect::main(async { inspect::users::set(&args) }),
    }
}

fn refuse(error: &clap::Error) -> ExitCode {
    // Nobody may be reading.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(EXIT_USAGE),
    }
}
