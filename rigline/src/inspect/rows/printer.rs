//! The forms in which rows are printed.

use std::io::{self, Write};

use model::element;
use model::row::Row;

use super::Format;
use crate::inspect::output::printable;

/// Between two columns.
const GAP: usize = 2;
/// The width of a column of values, unless its name or a value of the first rows is longer.
const VALUE: usize = 6;

/// Prints rows.
pub(super) struct Printer<W> {
    out: W,
    format: Format,
    /// Columns of the screen.
    screen: usize,
    sensors: Vec<String>,
    /// `None` before the head is printed.
    layout: Option<Layout>,
    line: Vec<u8>,
    printed: usize,
}

/// What a line holds.
#[derive(Debug)]
enum Layout {
    /// A row, with a column for each sensor: the widths of all columns.
    Wide(Vec<usize>),
    /// A value: the widths of rig, time and sensor.
    Long([usize; 3]),
    /// A row as CSV.
    Csv,
    /// A row as JSON.
    Json,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(out: W, format: Format, screen: usize, sensors: Vec<String>) -> Self {
        Self {
            out,
            format,
            screen,
            sensors,
            layout: None,
            line: Vec::with_capacity(256),
            printed: 0,
        }
    }

    /// Rows printed so far.
    pub(super) fn printed(&self) -> usize {
        self.printed
    }

    /// Prints the head of other sensors before the next row. CSV keeps its columns.
    pub(super) fn set_sensors(&mut self, sensors: Vec<String>) {
        let is_begun = self.layout.is_some();
        if sensors != self.sensors && !(is_begun && self.format == Format::Csv) {
            self.sensors = sensors;
            self.layout = None;
        }
    }

    /// Prints rows. The first ones decide the widths of the columns.
    pub(super) fn rows(&mut self, rows: &[Row<'_>]) -> io::Result<()> {
        if self.layout.is_none() {
            self.begin(rows)?;
        }
        for row in rows {
            self.row(row)?;
        }
        self.printed += rows.len();
        Ok(())
    }

    /// Prints a line after the rows.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", printable(text))
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn begin(&mut self, rows: &[Row<'_>]) -> io::Result<()> {
        let layout = match self.format {
            Format::Ndjson => Layout::Json,
            Format::Csv => Layout::Csv,
            Format::Table => self.table(rows),
        };
        let names = ["rig_id", "time"].into_iter();
        let head: Vec<_> = match &layout {
            Layout::Long(_) => names.chain(["sensor", "value"]).map(printable).collect(),
            Layout::Json => Vec::new(),
            Layout::Wide(_) | Layout::Csv => {
                let sensors = self.sensors.iter().map(String::as_str);
                names.chain(sensors).map(printable).collect()
            }
        };
        self.line.clear();
        match &layout {
            Layout::Json => {}
            Layout::Csv => self.line.extend_from_slice(head.join(",").as_bytes()),
            Layout::Wide(widths) => padded(&mut self.line, &head, widths),
            Layout::Long(widths) => padded(&mut self.line, &head, widths),
        }
        self.layout = Some(layout);
        if head.is_empty() {
            return Ok(());
        }
        self.end_line()
    }

    /// One line a row if that fits the screen, otherwise one a value.
    fn table(&self, rows: &[Row<'_>]) -> Layout {
        let mut widths = vec!["rig_id".len(), "time".len()];
        widths.extend(
            self.sensors
                .iter()
                .map(|name| printable(name).len().max(VALUE)),
        );
        let mut cell = Vec::new();
        for row in rows {
            widths[0] = widths[0].max(rig_of(row).len());
            cell.clear();
            row.timestamp.write_to(&mut cell);
            widths[1] = widths[1].max(cell.len());
            let mut place = 0;
            for (column, name) in self.sensors.iter().enumerate() {
                if let Some(value) = value(row, name, &mut place) {
                    cell.clear();
                    element::write_number(value, &mut cell);
                    widths[column + 2] = widths[column + 2].max(cell.len());
                }
            }
        }
        let whole = widths.iter().sum::<usize>() + GAP * (widths.len() - 1);
        if whole <= self.screen {
            return Layout::Wide(widths);
        }
        let longest = self.sensors.iter().map(|name| printable(name).len()).max();
        Layout::Long([
            widths[0],
            widths[1],
            longest.unwrap_or_default().max("sensor".len()),
        ])
    }

    fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        self.line.clear();
        let line = &mut self.line;
        match &self.layout {
            Some(Layout::Json) | None => element::encode_row(row, line),
            Some(Layout::Csv) => {
                line.extend_from_slice(rig_of(row).as_bytes());
                line.push(b',');
                row.timestamp.write_to(line);
                let mut place = 0;
                for name in &self.sensors {
                    line.push(b',');
                    if let Some(value) = value(row, name, &mut place) {
                        element::write_number(value, line);
                    }
                }
            }
            Some(Layout::Wide(widths)) => {
                line.extend_from_slice(rig_of(row).as_bytes());
                let mut end = widths[0] + GAP;
                pad(line, end);
                row.timestamp.write_to(line);
                let mut place = 0;
                for (name, width) in self.sensors.iter().zip(&widths[1..]) {
                    end += width + GAP;
                    pad(line, end);
                    if let Some(value) = value(row, name, &mut place) {
                        element::write_number(value, line);
                    }
                }
            }
            Some(Layout::Long(widths)) => {
                let [rig, time, sensor] = *widths;
                line.extend_from_slice(rig_of(row).as_bytes());
                pad(line, rig + GAP);
                row.timestamp.write_to(line);
                pad(line, rig + time + 2 * GAP);
                let head = line.len();
                for (place, (name, value)) in row.fields.iter().enumerate() {
                    let mut start = 0;
                    if place > 0 {
                        line.push(b'\n');
                        start = line.len();
                        line.extend_from_within(..head);
                    }
                    line.extend_from_slice(name.as_bytes());
                    pad(line, start + rig + time + sensor + 3 * GAP);
                    element::write_number(*value, line);
                }
            }
        }
        self.end_line()
    }

    fn end_line(&mut self) -> io::Result<()> {
        let is_csv = matches!(self.layout, Some(Layout::Csv));
        if !is_csv {
            // The last cells may be empty.
            let text = self.line.trim_ascii_end().len();
            self.line.truncate(text);
        }
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }
}

fn rig_of<'a>(row: &'a Row<'_>) -> &'a str {
    row.tags.first().map_or("", |(_, rig)| rig.as_str())
}

/// The value of a sensor. Fields are ordered by name, as the columns are unless the user gave another
/// order, so the field is usually at `place`.
fn value(row: &Row<'_>, sensor: &str, place: &mut usize) -> Option<f64> {
    let is_it = |at: &usize| {
        row.fields
            .get(*at)
            .is_some_and(|(name, _)| **name == *sensor)
    };
    let at = Some(*place)
        .filter(is_it)
        .or_else(|| (0..row.fields.len()).find(is_it))?;
    *place = at + 1;
    Some(row.fields[at].1)
}

/// Fills up with spaces to this length. A cell that is too long gets one space.
fn pad(line: &mut Vec<u8>, length: usize) {
    line.push(b' ');
    if line.len() < length {
        line.resize(length, b' ');
    }
}

fn padded(line: &mut Vec<u8>, cells: &[impl AsRef<str>], widths: &[usize]) {
    let mut end = 0;
    for (place, cell) in cells.iter().enumerate() {
        if place > 0 {
            end += widths[place - 1] + GAP;
            pad(line, end);
        }
        line.extend_from_slice(cell.as_ref().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use model::row::Row;
    use model::time::Timestamp;
    use model::{Name, SensorName};

    use super::{Format, Printer};

    fn row(rig: &'static str, fields: &[(&'static str, f64)]) -> Row<'static> {
        let time = Timestamp::from_millis(1_762_093_293_000);
        let mut row = Row::of_rig(Name::new(rig).unwrap(), time);
        let fields = fields.iter();
        row.fields = fields
            .map(|(name, value)| (SensorName::new(*name).unwrap(), *value))
            .collect();
        row
    }

    fn printed(format: Format, screen: usize, sensors: &[&str], rows: &[Row<'_>]) -> String {
        let sensors = sensors.iter().map(|name| (*name).to_owned()).collect();
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, format, screen, sensors);
        printer.rows(rows).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rows_that_fit_have_a_line_each_and_others_a_line_for_each_value() {
        let rows = [
            row("R", &[("flow", 2.5), ("temp", 17.25)]),
            row("RIG-7", &[("temp", -1.0)]),
        ];
        let wide = printed(Format::Table, 44, &["flow", "temp"], &rows);
        let expected = "rig_id  time                  flow    temp\n\
                        R       2025-11-02T14:21:33Z  2.5     17.25\n\
                        RIG-7   2025-11-02T14:21:33Z          -1.0\n";
        assert_eq!(wide, expected);
        let long = printed(Format::Table, 43, &["flow", "temp"], &rows);
        let expected = "rig_id  time                  sensor  value\n\
                        R       2025-11-02T14:21:33Z  flow    2.5\n\
                        R       2025-11-02T14:21:33Z  temp    17.25\n\
                        RIG-7   2025-11-02T14:21:33Z  temp    -1.0\n";
        assert_eq!(long, expected);
    }

    #[test]
    fn columns_are_in_the_order_that_was_asked_for() {
        let rows = [row("R", &[("a", 1.0), ("b", 2.0), ("c", 3.0)])];
        let csv = printed(Format::Csv, 1, &["c", "none", "a"], &rows);
        assert_eq!(
            csv,
            "rig_id,time,c,none,a\nR,2025-11-02T14:21:33Z,3.0,,1.0\n"
        );
    }

    #[test]
    fn other_sensors_get_another_head_but_not_in_csv() {
        for (format, heads) in [(Format::Table, 2), (Format::Csv, 1), (Format::Ndjson, 0)] {
            let mut out = Vec::new();
            let mut printer = Printer::new(&mut out, format, 80, vec!["a".to_owned()]);
            printer.rows(&[row("R", &[("a", 1.0)])]).unwrap();
            printer.set_sensors(vec!["a".to_owned(), "b".to_owned()]);
            printer.rows(&[row("R", &[("b", 1.0)])]).unwrap();
            let out = String::from_utf8(out).unwrap();
            assert_eq!(
                out.matches("time").count() - out.matches("timestamp").count(),
                heads
            );
        }
    }
}
