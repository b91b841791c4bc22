//! The command `rigs`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use model::Layout;
use store::History;
use store::history::SeriesSpan;

use super::notes::notes;
use super::output::{line, printable, stdout};
use super::stored::Stored;

/// The arguments.
#[derive(Debug, Args)]
pub struct RigsArgs {
    #[command(flatten)]
    stored: Stored,
}

/// Prints each rig or series with its first and last row and its fields.
pub async fn show(mut args: RigsArgs) -> anyhow::Result<ExitCode> {
    args.stored.check()?;
    let history = args.stored.open()?;
    let series = history.series().await?;
    let is_rigs = args.stored.layout() == Layout::Rigs;
    let names: Vec<String> = series.iter().map(|span| name(span, is_rigs)).collect();
    let longest = names.iter().map(|name| printable(name).len()).max();
    let widths = [longest.unwrap_or(0).max(3), 24, 24, 0];
    let mut out = stdout();
    let [head, fields] = if is_rigs {
        ["rig", "sensors"]
    } else {
        ["series", "fields"]
    };
    line(&mut out, &widths, &[head, "first", "last", fields])?;
    for (span, name) in std::iter::zip(series, names) {
        let fields = history.fields(Some(&span.key)).await?.join(",");
        let (first, last) = (span.first.to_string(), span.last.to_string());
        line(&mut out, &widths, &[name, first, last, fields])?;
    }
    for note in notes(&args.stored).await {
        writeln!(out, "{}", printable(&note))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// A rig's name, or the tags of a series.
fn name(span: &SeriesSpan, is_rig: bool) -> String {
    if is_rig {
        return span.key.clone();
    }
    let tags = span
        .tags
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    tags.collect::<Vec<_>>().join(" ")
}
