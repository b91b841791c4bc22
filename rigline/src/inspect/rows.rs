//! The command `rows`.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use common::clock::Clock;
use common::settings::{self, count};
use model::element;
use model::row::Row;
use model::time::Timestamp;
use store::SqliteHistory;
use store::history::{History, Selection};

use super::output::{line, stdout};
use super::stored::Stored;

/// Rows per page.
const PAGE: usize = 5_000;
/// The default time range ends this long after the present, since readings may be ahead of this clock.
const AHEAD: Duration = Duration::from_hours(1);

/// The arguments.
#[derive(Debug, Args)]
pub struct RowsArgs {
    /// Only rows of this rig
    rig: Option<String>,
    /// Rows of the last time span, up to now
    #[arg(long, default_value = "1h", value_parser = settings::positive_duration, conflicts_with = "from")]
    last: Duration,
    /// First time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// First time after the rows (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// Only these sensors, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    sensors: Vec<String>,
    /// Most rows to print
    #[arg(long, value_parser = count)]
    limit: Option<usize>,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    stored: Stored,
}

/// Output formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned columns
    Table,
    /// CSV with a header line; an absent value is empty
    Csv,
    /// One JSON object per line, as in the list of rows
    Ndjson,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|error| error.to_string())
}

/// Prints rows ordered by rig and time.
#[expect(clippy::print_stderr, reason = "the answer of a command")]
pub async fn show(args: RowsArgs) -> anyhow::Result<ExitCode> {
    let history = args.stored.open()?;
    let now = Clock::system().now();
    let from = args.from.unwrap_or_else(|| now.minus(args.last));
    let to = args.to.unwrap_or_else(|| now.plus(AHEAD));
    let rigs = match &args.rig {
        Some(rig) => vec![rig.clone()],
        None => history.rigs().await?.into_iter().map(|r| r.name).collect(),
    };
    let sensors = if args.sensors.is_empty() {
        history.sensors(args.rig.as_deref()).await?
    } else {
        args.sensors.clone()
    };
    let mut printer = Printer {
        out: stdout(),
        format: args.format,
        rig_width: rigs.iter().map(String::len).max().unwrap_or(0).max(3),
        sensors: &sensors,
        left: args.limit.unwrap_or(usize::MAX),
        printed: 0,
    };
    printer.head()?;
    for rig in &rigs {
        let span = Selection {
            rig,
            sensors: &args.sensors,
            from,
            to,
        };
        print(&history, span, &mut printer).await?;
    }
    printer.out.flush()?;
    if printer.printed == 0 {
        eprintln!("no such rows; `rigline rigs` shows all rigs with the time range of their rows");
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the rows of a rig, page by page.
async fn print<W: Write>(
    history: &SqliteHistory,
    mut span: Selection<'_>,
    printer: &mut Printer<'_, W>,
) -> anyhow::Result<()> {
    while printer.left > 0 {
        let page = history.range(span, PAGE.min(printer.left)).await?;
        for row in &page.rows {
            printer.row(span.rig, row)?;
        }
        let Some(next) = page.next else { break };
        span.from = next;
    }
    Ok(())
}

struct Printer<'a, W> {
    out: W,
    format: Format,
    rig_width: usize,
    sensors: &'a [String],
    left: usize,
    printed: usize,
}

impl<W: Write> Printer<'_, W> {
    fn head(&mut self) -> io::Result<()> {
        let names = ["rig_id", "time"].map(str::to_owned).into_iter();
        let names: Vec<String> = names.chain(self.sensors.iter().cloned()).collect();
        match self.format {
            Format::Table => {
                let widths = self.widths();
                line(&mut self.out, &widths, &names)
            }
            Format::Csv => writeln!(self.out, "{}", names.join(",")),
            Format::Ndjson => Ok(()),
        }
    }

    fn widths(&self) -> Vec<usize> {
        let sensors = self.sensors.iter().map(|name| name.len().max(8));
        [self.rig_width.max(6), 24]
            .into_iter()
            .chain(sensors)
            .collect()
    }

    fn row(&mut self, rig: &str, row: &Row<'_>) -> io::Result<()> {
        self.left = self.left.saturating_sub(1);
        self.printed += 1;
        if self.format == Format::Ndjson {
            let mut json = Vec::with_capacity(256);
            element::encode_row(row, &mut json);
            json.push(b'\n');
            return self.out.write_all(&json);
        }
        let value = |name: &String| {
            let found = row.fields.iter().find(|(field, _)| **field == *name);
            found.map_or_else(String::new, |(_, value)| number(*value))
        };
        let head = [rig.to_owned(), row.timestamp.to_string()];
        let cells: Vec<String> = head
            .into_iter()
            .chain(self.sensors.iter().map(value))
            .collect();
        match self.format {
            Format::Csv => writeln!(self.out, "{}", cells.join(",")),
            Format::Table | Format::Ndjson => {
                let widths = self.widths();
                line(&mut self.out, &widths, &cells)
            }
        }
    }
}

/// The shortest decimal that reads back as the same number.
fn number(value: f64) -> String {
    let mut text = Vec::new();
    element::write_number(value, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
