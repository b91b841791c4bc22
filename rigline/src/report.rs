//! The command `report`: which parameters correlate with the production of each product.

use std::fs::{self, File};
use std::io::{BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use common::clock::Clock;
use common::settings::{path, positive_duration};
use model::Timestamp;
use report::{Document, Input, Join, Kind, Options, ProductReport, Series, correlate};

use crate::inspect::output::{line, stdout};

/// The exit code if no parameter of any product can be compared.
const EXIT_NOTHING: u8 = 1;

/// The arguments.
#[derive(Debug, Args)]
pub struct ReportArgs {
    #[command(subcommand)]
    kind: ReportKind,
}

#[derive(Debug, Subcommand)]
enum ReportKind {
    /// Rank the parameters that correlate with the production of each product, from files. Writes `report_TIME.html`,
    /// .csv and .json; exit code 1 if nothing can be compared
    Correlations(CorrelationsArgs),
}

/// The arguments of a report of correlations.
#[derive(Debug, Args)]
struct CorrelationsArgs {
    /// File of metrics: an array of objects with id, val and time in seconds
    #[arg(long, value_name = "FILE", value_parser = path())]
    metrics: PathBuf,
    /// File of work orders: an array of objects with product, production and time in seconds
    #[arg(long, value_name = "FILE", value_parser = path())]
    workorders: PathBuf,
    /// Directory for the report, created if needed
    #[arg(long, env = "REPORT_DIR", value_name = "DIR", default_value = ".", value_parser = path())]
    out: PathBuf,
    /// What stands for a parameter at a work order
    #[arg(long, value_enum, default_value_t)]
    join: JoinKind,
    /// With interpolation: how far apart the measurements before and after a work order may be
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = positive_duration)]
    max_gap: Duration,
    /// Parameters with fewer pairs are left out
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = at_least_three)]
    min_pairs: usize,
    /// How many parameters of each product are shown
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    top: usize,
}

/// What stands for a parameter at a work order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum JoinKind {
    /// The mean of its values since the work order before
    #[default]
    Mean,
    /// Its value at the time of the work order, between the measurements before and after
    Interpolated,
}

fn at_least_three(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number >= 3);
    number.ok_or_else(|| "a number from 3 on, since two pairs are always on a line".to_owned())
}

/// Runs the command.
pub fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let ReportKind::Correlations(args) = &args.kind;
    correlations(args)
}

fn correlations(args: &CorrelationsArgs) -> anyhow::Result<ExitCode> {
    let now = Clock::system().now();
    let mut notes = Vec::new();
    let parameters = input(Kind::Metrics, &args.metrics, &mut notes)?;
    let products = input(Kind::WorkOrders, &args.workorders, &mut notes)?;
    let options = Options {
        join: match args.join {
            JoinKind::Mean => Join::Mean,
            JoinKind::Interpolated => Join::Interpolated {
                max_gap: args.max_gap.as_secs_f64(),
            },
        },
        min_pairs: args.min_pairs,
    };
    let reports = correlate(&parameters.series, &products.series, &options);
    let document = Document {
        reports: &reports,
        parameters: &parameters.series,
        products: &products.series,
        options: &options,
        top: args.top,
        made: &now.tick(Duration::from_secs(1)).to_string(),
        notes: &notes,
    };
    let directory = &args.out;
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let mut out = stdout();
    for note in &notes {
        writeln!(out, "note: {note}")?;
    }
    summary(&mut out, &reports, args.top)?;
    let stem = format!("report_{}", compact(now));
    for (extension, content) in [
        ("html", document.html()?),
        ("csv", document.csv()),
        ("json", document.json()),
    ] {
        let path = directory.join(format!("{stem}.{extension}"));
        write_whole(&path, &content)?;
        writeln!(out, "wrote {}", path.display())?;
    }
    let mut bases = reports.iter().flat_map(|report| &report.bases);
    let is_empty = bases.all(|basis| basis.findings.is_empty());
    out.flush()?;
    Ok(if is_empty {
        ExitCode::from(EXIT_NOTHING)
    } else {
        ExitCode::SUCCESS
    })
}

/// Reads a file, and notes what was left out.
fn input(kind: Kind, path: &Path, notes: &mut Vec<String>) -> anyhow::Result<Input> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    let input = report::read(kind, BufReader::with_capacity(1 << 20, file));
    if let Some(broken) = &input.broken {
        let items = input.items;
        notes.push(format!(
            "{name} can't be read after {items} items: {broken}"
        ));
    }
    if input.rejected > 0 {
        let shown = input.reasons.iter();
        let shown = shown.map(|(place, reason)| format!("item {place}: {reason}"));
        let shown: Vec<_> = shown.collect();
        let (rejected, items) = (input.rejected, input.items);
        let shown = shown.join("; ");
        notes.push(format!(
            "{rejected} of {items} items of {name} can't be used ({shown})"
        ));
    }
    let sum = |count: fn(&Series) -> usize| input.series.values().map(count).sum::<usize>();
    let (repeated, superseded) = (sum(|it| it.repeated), sum(|it| it.superseded));
    if repeated + superseded > 0 {
        notes.push(format!(
            "repeated items of {name}: {repeated}; items with another value for a time that has one: {superseded} (the \
             first one counts)"
        ));
    }
    Ok(input)
}

/// A line for each product, basis and rank.
fn summary(out: &mut impl Write, reports: &[ProductReport], top: usize) -> std::io::Result<()> {
    let widths = [7, 9, 4, 9, 7, 6];
    let header = ["product", "basis", "rank", "parameter", "r", "n"];
    line(out, &widths, &header)?;
    for report in reports {
        for basis in &report.bases {
            for (rank, finding) in (1..).zip(&basis.findings).take(top) {
                let cells = [
                    report.product.to_string(),
                    basis.basis.name().to_owned(),
                    usize::to_string(&rank),
                    finding.parameter.to_string(),
                    format!("{:+.4}", finding.pearson.r),
                    finding.n.to_string(),
                ];
                line(out, &widths, &cells)?;
            }
            if basis.findings.is_empty() {
                let (product, name) = (report.product, basis.basis.name());
                writeln!(
                    out,
                    "product {product}, {name}: no parameter can be compared"
                )?;
            }
        }
    }
    if reports.is_empty() {
        writeln!(out, "there are no work orders")?;
    }
    Ok(())
}

/// The time in a file's name: `20260105T120000Z`.
fn compact(time: Timestamp) -> String {
    let time = time.to_string();
    let seconds = time.get(..19).unwrap_or(&time);
    let kept = seconds.chars().filter(char::is_ascii_alphanumeric);
    kept.chain(['Z']).collect()
}

/// Writes a file beside its place first, so that nobody reads half of it.
fn write_whole(path: &Path, content: &str) -> anyhow::Result<()> {
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let cannot = || format!("cannot write {}", path.display());
    let mut file = tempfile::Builder::new()
        .prefix(".report")
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(directory)
        .with_context(cannot)?;
    file.write_all(content.as_bytes()).with_context(cannot)?;
    file.persist(path).with_context(cannot)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::compact;

    #[test]
    fn times_in_names_have_no_colons() {
        let time = Timestamp::parse("2026-01-05T12:00:01.25Z").unwrap();
        assert_eq!(compact(time), "20260105T120001Z");
    }
}
