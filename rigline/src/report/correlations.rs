//! A report of correlations.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use common::clock::Clock;
use common::settings::{count, path, positive_duration};
use common::telemetry::LogFormat;
use model::Timestamp;
use report::{Document, Join, Options, ProductReport, correlate};

use super::directory::ReportDir;
use super::inputs::{self, Inputs};
use super::tables::PostgresArgs;
use crate::inspect::output::{line, stdout};

/// The exit code if no parameter of any product can be compared, or a file can't be read to its end.
const EXIT_INCOMPLETE: u8 = 1;

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct CorrelationsArgs {
    /// File of metrics: an array of objects with id, val and time in seconds
    #[arg(long, value_name = "FILE", value_parser = path(), requires = "workorders")]
    #[arg(required_unless_present = "postgres_url")]
    pub(super) metrics: Option<PathBuf>,
    /// File of work orders: an array of objects with product, production and time in seconds
    #[arg(long, value_name = "FILE", value_parser = path(), requires = "metrics")]
    pub(super) workorders: Option<PathBuf>,
    #[command(flatten)]
    pub(super) postgres: PostgresArgs,
    /// Directory for the report, created if needed
    #[arg(long, env = "REPORT_DIR", value_name = "DIR", default_value = ".", value_parser = path())]
    pub(super) out: PathBuf,
    /// What stands for a parameter at a work order
    #[arg(long, env = "REPORT_JOIN", value_enum, default_value_t)]
    join: JoinKind,
    /// With interpolation: how far apart the measurements before and after a work order may be
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = positive_duration)]
    max_gap: Duration,
    /// Parameters with fewer pairs are left out
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = at_least_three)]
    min_pairs: usize,
    /// How many parameters of each product are shown
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = count)]
    top: usize,
    /// Go on until a signal, with a report at each multiple of this interval since 1970 in UTC: 1h for full hours. At
    /// the start one is made if the newest in the directory is of an earlier interval
    #[arg(long, value_name = "DURATION", value_parser = whole_seconds, help_heading = "Service")]
    pub(super) every: Option<Duration>,
    /// Format of log lines
    #[arg(
        long,
        env = "LOG_FORMAT",
        default_value = "auto",
        value_enum,
        help_heading = "Service"
    )]
    pub(super) log_format: LogFormat,
    /// Which log lines are shown: a level, or target=level pairs
    #[arg(
        long = "log",
        env = "RUST_LOG",
        default_value = "info",
        value_name = "FILTER",
        help_heading = "Service"
    )]
    pub(super) log_filter: String,
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

/// Names of reports have whole seconds.
fn whole_seconds(text: &str) -> Result<Duration, String> {
    let every = positive_duration(text)?;
    if every.subsec_nanos() == 0 {
        Ok(every)
    } else {
        Err("whole seconds, such as 1h or 30s".to_owned())
    }
}

/// A report that was written.
#[derive(Debug)]
pub(super) struct Made {
    /// What was left out of the data.
    pub(super) notes: Vec<String>,
    /// What was found.
    pub(super) reports: Vec<ProductReport>,
    /// Whether a file couldn't be read to its end, so that later items are missing.
    is_cut: bool,
    /// Its page, its CSV and its JSON.
    pub(super) paths: [PathBuf; 3],
}

impl Made {
    /// Whether no parameter of any product can be compared.
    pub(super) fn is_empty(&self) -> bool {
        let mut bases = self.reports.iter().flat_map(|report| &report.bases);
        bases.all(|basis| basis.findings.is_empty())
    }
}

/// Reads the data, and writes a report of it.
pub(super) async fn make(
    args: &CorrelationsArgs,
    directory: &ReportDir,
    now: Timestamp,
) -> anyhow::Result<Made> {
    let Inputs {
        parameters,
        products,
        notes,
    } = inputs::read(args).await?;
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
    let html = document.html()?;
    let paths = directory.write(now, &html, &document.csv(), &document.json())?;
    Ok(Made {
        notes,
        reports,
        is_cut: parameters.broken.is_some() || products.broken.is_some(),
        paths,
    })
}

/// Makes a report, and prints what it says.
pub(super) async fn once(args: &CorrelationsArgs) -> anyhow::Result<ExitCode> {
    let directory = ReportDir::hold(&args.out)?;
    let made = make(args, &directory, Clock::system().now()).await?;
    let mut out = stdout();
    for note in &made.notes {
        writeln!(out, "note: {note}")?;
    }
    summary(&mut out, &made.reports, args.top)?;
    for path in &made.paths {
        writeln!(out, "wrote {}", path.display())?;
    }
    out.flush()?;
    Ok(if made.is_empty() || made.is_cut {
        ExitCode::from(EXIT_INCOMPLETE)
    } else {
        ExitCode::SUCCESS
    })
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
