//! The command `rows`.

mod follow;
mod printer;
mod select;

use std::io::{BufWriter, StdoutLock};
use std::process::ExitCode;
use std::time::Duration;

use api::PipelineHistory;
use clap::{Args, ValueEnum};
use common::clock::Clock;
use common::settings::{self, count};
use model::Layout;
use model::name::RIG_ID;
use model::time::Timestamp;
use store::history::{History, SeriesSpan};

use self::follow::Seen;
use self::printer::{Columns, Printer};
use self::select::Wanted;
use super::notes::notes;
use super::output::{printable, screen_width, stdout};
use super::stored::Stored;
use crate::called::program;

/// The default time range ends this long after the present, since readings may be ahead of this clock.
const AHEAD: Duration = Duration::from_hours(1);
/// Rows that `--follow` starts with.
const FOLLOWED: usize = 10;

/// The arguments.
#[derive(Debug, Args)]
pub struct RowsArgs {
    /// Only rows of this rig, or of the series that have these tags: VALUE, or TAG=VALUE
    #[arg(value_name = "RIG")]
    series: Vec<String>,
    /// Rows of the last time span, up to now
    #[arg(long, default_value = "1h", value_parser = settings::positive_duration, conflicts_with = "from")]
    last: Duration,
    /// First time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// First time after the rows (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// Only these fields, separated by commas
    #[arg(long, alias = "fields", value_delimiter = ',', value_name = "NAMES")]
    sensors: Vec<String>,
    /// Most rows to print: the newest ones of all rigs, ordered by time instead of by rig
    #[arg(long, value_parser = count)]
    limit: Option<usize>,
    /// Print the newest rows (10, or --limit), and then each row that is newer than those of its rig before,
    /// until Ctrl-C
    #[arg(long, conflicts_with = "to")]
    follow: bool,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    stored: Stored,
}

/// Output formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned columns; a line for each value if a row is wider than the terminal (80 columns elsewhere)
    Table,
    /// CSV with a header line; an absent value is empty
    Csv,
    /// One JSON object per line, as in the list of rows
    Ndjson,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|error| error.to_string())
}

impl RowsArgs {
    fn wanted(&self) -> Wanted {
        let now = Clock::system().now();
        Wanted {
            fields: self.sensors.clone(),
            from: self.from.unwrap_or_else(|| now.minus(self.last)),
            to: self.to.unwrap_or_else(|| now.plus(AHEAD)),
        }
    }

    async fn series(&self, history: &PipelineHistory) -> anyhow::Result<Vec<SeriesSpan>> {
        let mut series = history.series().await?;
        series.retain(|span| self.series.iter().all(|wanted| is_of(span, wanted)));
        Ok(series)
    }

    /// The columns of the rows of these series.
    async fn columns(
        &self,
        history: &PipelineHistory,
        series: &[SeriesSpan],
    ) -> anyhow::Result<Columns> {
        let layout = self.stored.layout();
        let mut tags: Vec<String> = Vec::new();
        for (name, _) in series.iter().flat_map(|span| &span.tags) {
            if !tags.iter().any(|tag| name == tag.as_str()) {
                tags.push(name.to_string());
            }
        }
        if tags.is_empty() && layout == Layout::Rigs {
            tags.push(RIG_ID.to_owned());
        }
        let fields = match (self.sensors.as_slice(), series) {
            ([], [one]) => history.fields(Some(&one.key)).await?,
            ([], _) => history.fields(None).await?,
            (asked, _) => asked.to_vec(),
        };
        Ok(Columns {
            layout,
            tags,
            fields,
        })
    }
}

/// Whether a series has a tag of this value; with `TAG=VALUE` that tag.
fn is_of(span: &SeriesSpan, wanted: &str) -> bool {
    span.tags.iter().any(|(name, value)| {
        let named = wanted.strip_prefix(name.as_str());
        let named = named.and_then(|rest| rest.strip_prefix('='));
        value == wanted || named.is_some_and(|named| value == named)
    })
}

/// Prints rows ordered by rig and time, or the newest ones ordered by time.
pub async fn show(mut args: RowsArgs) -> anyhow::Result<ExitCode> {
    args.stored.check()?;
    let history = args.stored.open()?;
    let series = args.series(&history).await?;
    let columns = args.columns(&history, &series).await?;
    let mut printer = Printer::new(stdout(), args.format, screen_width(), columns);
    let wanted = args.wanted();
    if args.follow {
        let limit = args.limit.unwrap_or(FOLLOWED);
        let rows = select::newest(&history, &series, &wanted, limit).await?;
        let mut seen = Seen::of(&series, args.stored.layout());
        if !rows.is_empty() {
            printer.rows(&rows)?;
        }
        seen.add(&rows);
        printer.flush()?;
        match follow::follow(&args, history, &mut printer, seen).await? {}
    }
    if let Some(limit) = args.limit {
        printer.rows(&select::newest(&history, &series, &wanted, limit).await?)?;
    } else {
        let keys = series.into_iter().map(|span| span.key).collect();
        let mut pages = select::all(history, keys, wanted);
        while let Some(page) = pages.recv().await {
            printer.rows(&page?)?;
        }
    }
    finish(&args, printer).await?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what there is to say after the rows: in a table below it, otherwise on standard error.
#[expect(clippy::print_stderr, reason = "the answer of a command")]
async fn finish(
    args: &RowsArgs,
    mut printer: Printer<BufWriter<StdoutLock<'static>>>,
) -> anyhow::Result<()> {
    // The head.
    printer.rows(&[])?;
    if printer.printed() == 0 {
        printer.flush()?;
        eprintln!(
            "no such rows; `{} rigs` shows all of them with the time range of their rows",
            program()
        );
    }
    for note in notes(&args.stored).await {
        if args.format == Format::Table {
            printer.note(&note)?;
        } else {
            eprintln!("{}", printable(&note));
        }
    }
    Ok(printer.flush()?)
}
