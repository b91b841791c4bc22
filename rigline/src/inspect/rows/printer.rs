//! The forms in which rows are printed.

use std::io::{self, Write};

use model::row::Row;
use model::{Layout, Value};

use super::Format;
use crate::inspect::output::printable;

/// Between two columns.
const GAP: usize = 2;
/// The width of a column of values, unless its name or a value of the first rows is longer.
const VALUE: usize = 6;

/// The columns of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    /// How rows are written as JSON.
    pub(super) layout: Layout,
    /// Names of tags.
    pub(super) tags: Vec<String>,
    /// Names of fields.
    pub(super) fields: Vec<String>,
}

/// Prints rows.
pub(super) struct Printer<W> {
    out: W,
    format: Format,
    /// Columns of the screen.
    screen: usize,
    layout: Layout,
    /// The names of the tags' columns.
    tags: Vec<String>,
    fields: Vec<String>,
    /// `None` before the head is printed.
    form: Option<Form>,
    line: Vec<u8>,
    printed: usize,
}

/// What a line holds.
#[derive(Debug)]
enum Form {
    /// A row, with a column for each field: the widths of all columns.
    Wide(Vec<usize>),
    /// A value: the widths of the tags, of the time and of the field.
    Long(Vec<usize>),
    /// A row as CSV.
    Csv,
    /// A row as JSON.
    Json,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(out: W, format: Format, screen: usize, columns: Columns) -> Self {
        Self {
            out,
            format,
            screen,
            layout: columns.layout,
            tags: columns.tags,
            fields: columns.fields,
            form: None,
            line: Vec::with_capacity(256),
            printed: 0,
        }
    }

    /// Rows printed so far.
    pub(super) fn printed(&self) -> usize {
        self.printed
    }

    /// Prints another head before the next row. CSV keeps its columns.
    pub(super) fn set_columns(&mut self, columns: Columns) {
        let is_begun = self.form.is_some();
        let is_same = columns.fields == self.fields && columns.tags == self.tags;
        let keeps_columns = is_begun && self.format == Format::Csv;
        if is_same || keeps_columns {
            return;
        }
        self.tags = columns.tags;
        self.fields = columns.fields;
        self.form = None;
    }

    /// Prints rows. The first ones decide the widths of the columns.
    pub(super) fn rows(&mut self, rows: &[Row<'_>]) -> io::Result<()> {
        if self.form.is_none() {
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
        let form = match self.format {
            Format::Ndjson => Form::Json,
            Format::Csv => Form::Csv,
            Format::Table => self.table(rows),
        };
        let names = || self.tags.iter().map(String::as_str).chain(["time"]);
        let head: Vec<String> = match &form {
            Form::Long(_) => names().chain(["field", "value"]).map(shown).collect(),
            Form::Json => Vec::new(),
            Form::Wide(_) | Form::Csv => {
                let fields = self.fields.iter().map(String::as_str);
                names().chain(fields).map(shown).collect()
            }
        };
        self.line.clear();
        match &form {
            Form::Json => {}
            Form::Csv => {
                let head: Vec<_> = head.iter().map(|name| csv(name)).collect();
                self.line.extend_from_slice(head.join(",").as_bytes());
            }
            Form::Wide(widths) | Form::Long(widths) => padded(&mut self.line, &head, widths),
        }
        self.form = Some(form);
        if head.is_empty() {
            return Ok(());
        }
        self.end_line()
    }

    /// One line a row if that fits the screen, otherwise one a value.
    fn table(&self, rows: &[Row<'_>]) -> Form {
        let tags = self.tags.len();
        let names = self.tags.iter().map(|name| printable(name).len());
        let mut widths: Vec<usize> = names.chain(["time".len()]).collect();
        let fields = self.fields.iter().map(|name| printable(name).len());
        widths.extend(fields.map(|width| width.max(VALUE)));
        let mut cell = Vec::new();
        for row in rows {
            for (place, name) in self.tags.iter().enumerate() {
                widths[place] = widths[place].max(printable(tag(row, name)).len());
            }
            cell.clear();
            row.timestamp.write_to(&mut cell);
            widths[tags] = widths[tags].max(cell.len());
            let mut place = 0;
            for (column, name) in self.fields.iter().enumerate() {
                if let Some(value) = value(row, name, &mut place) {
                    let width = &mut widths[tags + 1 + column];
                    *width = (*width).max(printable(&value.to_string()).len());
                }
            }
        }
        let whole = widths.iter().sum::<usize>() + GAP * (widths.len() - 1);
        if whole <= self.screen {
            return Form::Wide(widths);
        }
        let longest = self.fields.iter().map(|name| printable(name).len()).max();
        widths.truncate(tags + 1);
        widths.push(longest.unwrap_or_default().max("field".len()));
        Form::Long(widths)
    }

    fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        self.line.clear();
        match &self.form {
            Some(Form::Json) | None => self.layout.encode_row(row, &mut self.line),
            Some(Form::Csv) => {
                let mut place = 0;
                let tags = self.tags.iter().map(|name| csv(tag(row, name)));
                let fields = self.fields.iter().map(|name| {
                    let value = value(row, name, &mut place);
                    value.map_or_else(String::new, |value| csv(&value.to_string()))
                });
                let cells = tags.chain([row.timestamp.to_string()]).chain(fields);
                let cells: Vec<_> = cells.collect();
                self.line.extend_from_slice(cells.join(",").as_bytes());
            }
            Some(Form::Wide(widths)) => {
                let mut cells = self.head_of(row);
                let mut place = 0;
                cells.extend(self.fields.iter().map(|name| {
                    let value = value(row, name, &mut place);
                    value.map_or_else(String::new, |value| shown(&value.to_string()))
                }));
                padded(&mut self.line, &cells, widths);
            }
            Some(Form::Long(widths)) => {
                for (place, (name, value)) in row.fields.iter().enumerate() {
                    if place > 0 {
                        self.line.push(b'\n');
                    }
                    let mut cells = self.head_of(row);
                    cells.extend([shown(name), shown(&value.to_string())]);
                    let mut line = Vec::new();
                    padded(&mut line, &cells, widths);
                    self.line.extend_from_slice(line.trim_ascii_end());
                }
            }
        }
        self.end_line()
    }

    /// The cells before the fields.
    fn head_of(&self, row: &Row<'_>) -> Vec<String> {
        let tags = self.tags.iter().map(|name| shown(tag(row, name)));
        tags.chain([row.timestamp.to_string()]).collect()
    }

    fn end_line(&mut self) -> io::Result<()> {
        let is_csv = matches!(self.form, Some(Form::Csv));
        if !is_csv {
            // The last cells may be empty.
            let text = self.line.trim_ascii_end().len();
            self.line.truncate(text);
        }
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }
}

/// The value of a tag; empty if the row hasn't got it.
fn tag<'a>(row: &'a Row<'_>, name: &str) -> &'a str {
    let found = row.tags.iter().find(|(tag, _)| tag == name);
    found.map_or("", |(_, value)| value.as_str())
}

/// The value of a field. Fields are ordered by name, as the columns are unless the user gave another order,
/// so the field is usually at `place`.
fn value<'a>(row: &'a Row<'_>, field: &str, place: &mut usize) -> Option<&'a Value> {
    let is_it = |at: &usize| {
        row.fields
            .get(*at)
            .is_some_and(|(name, _)| **name == *field)
    };
    let at = Some(*place)
        .filter(is_it)
        .or_else(|| (0..row.fields.len()).find(is_it))?;
    *place = at + 1;
    row.fields.get(at).map(|(_, value)| value)
}

/// What a device sent, as it is shown.
fn shown(text: &str) -> String {
    printable(text).into_owned()
}

/// A cell of CSV (RFC 4180).
fn csv(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
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
    use model::{Layout, Name};

    use super::{Columns, Format, Printer};

    fn row(rig: &'static str, fields: &[(&'static str, f64)]) -> Row<'static> {
        let time = Timestamp::from_millis(1_762_093_293_000);
        let mut row = Row::of_rig(Name::new(rig).unwrap(), time);
        let fields = fields.iter();
        row.fields = fields
            .map(|(name, value)| (Name::new(*name).unwrap(), (*value).into()))
            .collect();
        row
    }

    fn columns(fields: &[&str]) -> Columns {
        Columns {
            layout: Layout::Rigs,
            tags: vec!["rig_id".to_owned()],
            fields: fields.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn printed(format: Format, screen: usize, sensors: &[&str], rows: &[Row<'_>]) -> String {
        let sensors = columns(sensors);
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
        let expected = "rig_id  time                  field  value\n\
                        R       2025-11-02T14:21:33Z  flow   2.5\n\
                        R       2025-11-02T14:21:33Z  temp   17.25\n\
                        RIG-7   2025-11-02T14:21:33Z  temp   -1.0\n";
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
            let mut printer = Printer::new(&mut out, format, 80, columns(&["a"]));
            printer.rows(&[row("R", &[("a", 1.0)])]).unwrap();
            printer.set_columns(columns(&["a", "b"]));
            printer.rows(&[row("R", &[("b", 1.0)])]).unwrap();
            let out = String::from_utf8(out).unwrap();
            assert_eq!(
                out.matches("time").count() - out.matches("timestamp").count(),
                heads
            );
        }
    }
}
