//! The command `rigs`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use store::History;

use super::notes::notes;
use super::output::{line, printable, stdout};
use super::stored::Stored;

/// The arguments.
#[derive(Debug, Args)]
pub struct RigsArgs {
    #[command(flatten)]
    stored: Stored,
}

/// Prints each rig with its first and last row and its sensors.
pub async fn show(args: RigsArgs) -> anyhow::Result<ExitCode> {
    let history = args.stored.open()?;
    let rigs = history.rigs().await?;
    let longest = rigs.iter().map(|rig| rig.name.len()).max().unwrap_or(0);
    let widths = [longest.max(3), 24, 24, 0];
    let mut out = stdout();
    line(&mut out, &widths, &["rig", "first", "last", "sensors"])?;
    for rig in rigs {
        let sensors = history.sensors(Some(&rig.name)).await?.join(",");
        let (first, last) = (rig.first.to_string(), rig.last.to_string());
        line(&mut out, &widths, &[rig.name, first, last, sensors])?;
    }
    for note in notes(args.stored.dir()).await {
        writeln!(out, "{}", printable(&note))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
