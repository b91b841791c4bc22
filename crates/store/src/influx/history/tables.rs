//! The tables of a response in annotated CSV:
//! <https://docs.influxdata.com/influxdb/v2/reference/syntax/annotated-csv/>.

use std::borrow::Cow;

use csv::ByteRecord;
use model::name::Name;
use model::sample::{Tags, Value};
use model::time::Timestamp;

/// The longest line, in bytes: a string of 1 MiB, escaped, with all names of a point.
const MAX_LINE: usize = 16 << 20;
/// The columns before those of the table: the annotation, the result, the table.
const LEADING: usize = 3;

/// A type of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Integer,
    Bool,
    String,
}

impl Kind {
    /// The type of this name in an annotation.
    fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"double" => Some(Self::Float),
            b"long" | b"unsignedLong" => Some(Self::Integer),
            b"boolean" => Some(Self::Bool),
            b"string" => Some(Self::String),
            _ => None,
        }
    }

    fn read(self, text: &str) -> Option<Value> {
        match self {
            Self::Float => text.parse().ok().map(Value::Float),
            Self::Integer => text.parse().ok().map(Value::Integer),
            Self::Bool => text.parse().ok().map(Value::Bool),
            Self::String => Some(Value::String(unescaped(text))),
        }
    }
}

/// What all points of a table have in common: a series and a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) tags: Tags<'static>,
    pub(super) field: Name<'static>,
    pub(super) kind: Kind,
}

/// Takes the points of a response.
pub(super) trait Collect: Send {
    /// Called before the points of a table. Points of tables with names that Rigline doesn't write are skipped.
    fn table(&mut self, table: &Table);
    /// Called for each point.
    fn point(&mut self, tick: i64, value: Value) -> Result<(), crate::ReadError>;
}

/// Why a response can't be read.
#[derive(Debug)]
pub(super) enum TableError {
    /// The server's error, which is a table of its own.
    Server(String),
    /// What is wrong with the response.
    Malformed(&'static str),
    /// The collector's error.
    Collect(crate::ReadError),
}

/// Splits a response into lines as it arrives, and reads its tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// What arrived and isn't read yet.
    waiting: Vec<u8>,
    /// The length of its complete lines.
    complete: usize,
    is_quoted: bool,
    types: ByteRecord,
    header: Header,
    /// The columns `result` and `table` of the current table.
    current: Option<[Vec<u8>; 2]>,
    /// Its points are skipped, because Rigline doesn't write such names.
    is_skipped: bool,
}

#[derive(Debug, Default)]
enum Header {
    /// No annotation yet.
    #[default]
    None,
    /// The next line has the names of the columns.
    Expected,
    /// The lines are points.
    Points(Columns),
    /// The lines are errors.
    Error,
}

#[derive(Debug, Clone)]
struct Columns {
    time: usize,
    value: usize,
    field: usize,
    kind: Kind,
    tags: Vec<(usize, String)>,
}

impl Tables {
    /// Takes the next piece of a response.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        collect: &mut impl Collect,
    ) -> Result<(), TableError> {
        for (at, byte) in piece.iter().enumerate() {
            match byte {
                b'"' => self.is_quoted = !self.is_quoted,
                b'\n' if !self.is_quoted => self.complete = self.waiting.len() + at + 1,
                _ => {}
            }
        }
        self.waiting.extend_from_slice(piece);
        if self.complete == 0 {
            return if self.waiting.len() > MAX_LINE {
                Err(TableError::Malformed("a line is too long"))
            } else {
                Ok(())
            };
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        let read = self.lines(&waiting[..self.complete], collect);
        waiting.drain(..self.complete);
        self.waiting = waiting;
        self.complete = 0;
        read
    }

    /// Checks that the response ended with a complete line.
    pub(super) fn finish(&self) -> Result<(), TableError> {
        if self.waiting.is_empty() {
            Ok(())
        } else {
            Err(TableError::Malformed("the last line is incomplete"))
        }
    }

    fn lines(&mut self, lines: &[u8], collect: &mut impl Collect) -> Result<(), TableError> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(lines);
        let mut record = ByteRecord::new();
        while reader
            .read_byte_record(&mut record)
            .map_err(|_| TableError::Malformed("a line isn't CSV"))?
        {
            self.line(&record, collect)?;
        }
        Ok(())
    }

    fn line(&mut self, record: &ByteRecord, collect: &mut impl Collect) -> Result<(), TableError> {
        if record.get(0) == Some(b"#datatype") {
            self.types = record.clone();
            self.header = Header::Expected;
            self.current = None;
            return Ok(());
        }
        match &self.header {
            Header::None => Err(TableError::Malformed("a line comes before the annotations")),
            Header::Expected => {
                self.header = self.header(record)?;
                Ok(())
            }
            Header::Error => Err(TableError::Server(text(record, 1).into_owned())),
            Header::Points(columns) => {
                let current = [1, 2].map(|place| record.get(place).unwrap_or_default());
                if self.current.as_ref().is_none_or(|it| *it != current) {
                    self.current = Some(current.map(<[u8]>::to_vec));
                    let table = columns.table(record);
                    self.is_skipped = table.is_none();
                    if let Some(table) = table {
                        collect.table(&table);
                    }
                }
                if self.is_skipped {
                    return Ok(());
                }
                let tick = Timestamp::parse(&text(record, columns.time))
                    .map_err(|_| TableError::Malformed("a time can't be read"))?;
                let value = columns.kind.read(&text(record, columns.value));
                let value = value.ok_or(TableError::Malformed("a value can't be read"))?;
                collect
                    .point(tick.nanos(), value)
                    .map_err(TableError::Collect)
            }
        }
    }

    fn header(&self, record: &ByteRecord) -> Result<Header, TableError> {
        if record.get(1) == Some(b"error") {
            return Ok(Header::Error);
        }
        let (mut time, mut value, mut field) = (None, None, None);
        let mut tags = Vec::new();
        for place in LEADING..record.len() {
            match record.get(place).unwrap_or_default() {
                b"_time" => time = Some(place),
                b"_value" => value = Some(place),
                b"_field" => field = Some(place),
                _ => tags.push((place, text(record, place).into_owned())),
            }
        }
        tags.sort_by(|one, other| one.1.cmp(&other.1));
        let (Some(time), Some(value), Some(field)) = (time, value, field) else {
            return Err(TableError::Malformed("a column is missing"));
        };
        let kind = Kind::of(self.types.get(value).unwrap_or_default());
        let kind = kind.ok_or(TableError::Malformed("a type of values is unknown"))?;
        Ok(Header::Points(Columns {
            time,
            value,
            field,
            kind,
            tags,
        }))
    }
}

impl Columns {
    /// The table of a line, unless one of its names isn't one that Rigline writes.
    fn table(&self, record: &ByteRecord) -> Option<Table> {
        let name = |text: &str| Name::new(text.to_owned()).ok();
        let tags = self.tags.iter();
        let tags = tags.map(|(place, tag)| Some((name(tag)?, name(&text(record, *place))?)));
        Some(Table {
            tags: tags.collect::<Option<_>>()?,
            field: name(&text(record, self.field))?,
            kind: self.kind,
        })
    }
}

/// A field of a line. What isn't UTF-8 wasn't written by Rigline, and is shown with replacement characters.
fn text(record: &ByteRecord, place: usize) -> Cow<'_, str> {
    String::from_utf8_lossy(record.get(place).unwrap_or_default())
}

/// A string as it was before the script escaped its carriage returns. Those that are left were added by the
/// server before line feeds.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\r' => {}
            '\\' => match chars.next() {
                Some('r') => plain.push('\r'),
                Some(other) => plain.push(other),
                None => plain.push('\\'),
            },
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use model::sample::Value;

    use super::{Collect, Table, TableError, Tables, unescaped};

    #[derive(Debug, Default, PartialEq)]
    struct Seen(Vec<(String, i64, Value)>, String);

    impl Collect for Seen {
        fn table(&mut self, table: &Table) {
            let tags = table.tags.iter();
            let tags: Vec<_> = tags
                .map(|(name, value)| format!("{}={}", name.as_str(), value.as_str()))
                .collect();
            self.1 = format!(
                "{} {} {}",
                tags.join(" "),
                table.field.as_str(),
                self.0.len()
            );
        }

        fn point(&mut self, tick: i64, value: Value) -> Result<(), crate::ReadError> {
            self.0.push((self.1.clone(), tick, value));
            Ok(())
        }
    }

    fn read(pieces: &[&[u8]]) -> Result<Seen, TableError> {
        let (mut tables, mut seen) = (Tables::default(), Seen::default());
        for piece in pieces {
            tables.push(piece, &mut seen)?;
        }
        tables.finish()?;
        Ok(seen)
    }

    const RESPONSE: &str = "#datatype,string,long,dateTime:RFC3339,double,string,string,string\r
,result,table,_time,_value,_field,b,\"a, \"\"\"\r
,_result,0,1970-01-01T00:00:00.000000001Z,1.5,f,x,y\r
,_result,0,1970-01-01T00:00:01Z,-0,f,x,y\r
,_result,1,1970-01-01T00:00:02Z,2,g,x,y\r
\r
#datatype,string,long,string,dateTime:RFC3339,string\r
,result,table,_field,_time,_value\r
,texts,0,s,1970-01-01T00:00:03Z,\"\"\"#a\r\n\\r,\"\"\"\r
,texts,0,s,1970-01-01T00:00:04Z,\r
";

    #[test]
    fn response_in_pieces_is_the_same() {
        let whole = read(&[RESPONSE.as_bytes()]).unwrap();
        let point = |table: &str, tick, value| (table.to_owned(), tick, value);
        let text = |text: &str| Value::String(text.to_owned());
        assert_eq!(
            whole.0,
            [
                point("a, \"=y b=x f 0", 1, Value::Float(1.5)),
                point("a, \"=y b=x f 0", 1_000_000_000, Value::Float(-0.0)),
                point("a, \"=y b=x g 2", 2_000_000_000, Value::Float(2.0)),
                point(" s 3", 3_000_000_000, text("\"#a\n\r,\"")),
                point(" s 3", 4_000_000_000, text("")),
            ]
        );
        for length in 1..60 {
            let pieces: Vec<_> = RESPONSE.as_bytes().chunks(length).collect();
            assert_eq!(read(&pieces).unwrap(), whole, "{length}");
        }
    }

    #[test]
    fn what_is_not_a_response_is_an_error() {
        let header = "#datatype,string,long,dateTime:RFC3339,double,string\r\n";
        let names = ",result,table,_time,_value,_field\r\n";
        let error = "#datatype,string,string\r\n,error,reference\r\n,\"out of memory\",897\r\n";
        for (response, part) in [
            (error.to_owned(), "Server(\"out of memory\")"),
            (
                format!("{RESPONSE}\r\n{error}"),
                "Server(\"out of memory\")",
            ),
            ("<html>\n".to_owned(), "before the annotations"),
            ("<html>".to_owned(), "incomplete"),
            (RESPONSE[..200].to_owned(), "incomplete"),
            ("#datatype,string\r\n,result,table\r\n".to_owned(), "column"),
            (
                format!("{}{names}", header.replace("double", "duration")),
                "type",
            ),
            (format!("{header}{names},,0,noon,1,f\r\n"), "time"),
            (
                format!("{header}{names},,0,1970-01-01T00:00:00Z,x,f\r\n"),
                "value",
            ),
        ] {
            let error = read(&[response.as_bytes()]).unwrap_err();
            assert!(format!("{error:?}").contains(part), "{response}: {error:?}");
        }
        let long = vec![b'x'; super::MAX_LINE + 1];
        assert!(matches!(read(&[&long]), Err(TableError::Malformed(_))));
    }

    #[test]
    fn points_of_names_that_are_not_ours_are_skipped() {
        let response = RESPONSE.replace(",g,x,y", ",\"g\n\",x,y");
        let seen = read(&[response.as_bytes()]).unwrap();
        assert_eq!(seen.0.len(), 4);
    }

    #[test]
    fn escapes_are_undone() {
        for (escaped, plain) in [
            ("", ""),
            ("a\r\nb", "a\nb"),
            ("\\r\r\n", "\r\n"),
            ("\\\\r", "\\r"),
            ("\\\\\\r\\\\", "\\\r\\"),
        ] {
            assert_eq!(unescaped(escaped), plain);
        }
    }
}
