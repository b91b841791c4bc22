//! A stand-in for an `InfluxDB` 2 in a container of its own: set-up and tokens are its own, rows are
//! handed on to a VictoriaMetrics.
//!
//! `influx-stand-in [--listen IP:PORT] [--state FILE] [--forward URL]`

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;

use testkit::influx_setup::{Forward, Options, serve_for_ever};

const USAGE: &str =
    "usage: influx-stand-in [--listen IP:PORT] [--state FILE] [--forward http://HOST:PORT]";

#[expect(clippy::print_stderr, reason = "what it has to say is for people")]
fn main() -> ExitCode {
    let Some((listen, options)) = read(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    let served = TcpListener::bind(&listen).and_then(|listener| serve_for_ever(&listener, options));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{listen}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn read(mut args: impl Iterator<Item = String>) -> Option<(String, Options)> {
    let mut listen = "127.0.0.1:8086".to_owned();
    let mut options = Options::default();
    while let Some(name) = args.next() {
        let value = args.next()?;
        match name.as_str() {
            "--listen" => listen = value,
            "--state" => options.file = Some(PathBuf::from(value)),
            "--forward" => options.forward = Some(Forward::to(&value)?),
            _ => return None,
        }
    }
    Some((listen, options))
}
