//! Prints elements of lists: a JSON object a line, or columns for people.

use std::io::{BufWriter, StdoutLock, Write};

use model::Layout;
use model::dead_letter::DeadLetter;
use model::name::Name;
use model::pipeline::NameGlob;
use queue::list::List;
use serde_json::json;
use serde_json::value::RawValue;

use crate::inspect::output::{line, stdout};

/// Widths of the columns: a time, what it is about, the rest.
const WIDTHS: [usize; 3] = [24, 28, 0];

/// Prints to standard output.
pub(super) struct Printer {
    out: BufWriter<StdoutLock<'static>>,
    is_json: bool,
    filters: Vec<NameGlob>,
    layout: Layout,
}

impl Printer {
    pub(super) fn new(is_json: bool, filters: Vec<NameGlob>, layout: Layout) -> Self {
        Self {
            out: stdout(),
            is_json,
            filters,
            layout,
        }
    }

    /// Whether a filter lets something with one of these names pass; true without filters.
    pub(super) fn wants(&self, names: &[&str]) -> bool {
        let is_match = |filter: &NameGlob| names.iter().any(|name| filter.is_match(name));
        self.filters.is_empty() || self.filters.iter().any(is_match)
    }

    pub(super) fn has_filter(&self) -> bool {
        !self.filters.is_empty()
    }

    /// Whether the filter lets an element pass. One that can't be read passes only without a filter.
    pub(super) fn wants_element(&self, list: List, element: &[u8]) -> bool {
        if self.filters.is_empty() {
            return true;
        }
        let Some(shown) = Shown::of(list, self.layout, element) else {
            return false;
        };
        let names: Vec<&str> = shown.names.iter().map(String::as_str).collect();
        self.wants(&names)
    }

    /// Prints an element.
    pub(super) fn element(&mut self, list: List, element: &[u8]) -> std::io::Result<()> {
        if self.is_json {
            return writeln!(self.out, "{}", json_line(element));
        }
        match Shown::of(list, self.layout, element) {
            Some(Shown { cells, .. }) => line(&mut self.out, &WIDTHS, &cells),
            None => line(&mut self.out, &[0], &[String::from_utf8_lossy(element)]),
        }
    }

    /// Prints a line of JSON, or the cells.
    pub(super) fn either(
        &mut self,
        as_json: impl FnOnce() -> serde_json::Value,
        cells: [&str; 3],
    ) -> std::io::Result<()> {
        if self.is_json {
            writeln!(self.out, "{}", as_json())
        } else {
            line(&mut self.out, &WIDTHS, &cells)
        }
    }

    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// An element as a JSON object on one line: as it is if it is one, otherwise its text in the member
/// `element`.
fn json_line(element: &[u8]) -> String {
    let text = String::from_utf8_lossy(element);
    let is_object = text.trim_start().starts_with('{');
    if !is_object || serde_json::from_str::<&RawValue>(&text).is_err() {
        return json!({ "element": text }).to_string();
    }
    if !text.contains(['\n', '\r']) {
        return text.into_owned();
    }
    // Line breaks between the members; those in strings are escaped.
    text.replace(['\n', '\r'], " ")
}

/// What a person sees of an element, and the names that a filter compares.
struct Shown {
    cells: [String; 3],
    names: Vec<String>,
}

impl Shown {
    /// `None` if the element isn't one of the list's own.
    fn of(list: List, layout: Layout, element: &[u8]) -> Option<Self> {
        match list {
            List::Raw => {
                let sample = layout.decode_sample(element).ok()?;
                let tags = layout.tags(&sample.series).ok()?;
                let values = sample
                    .values
                    .iter()
                    .map(|(name, value)| member(name, value));
                Some(Self::new(sample.timestamp, &tags, values))
            }
            List::Normalized => {
                let row = layout.decode_row(element).ok()?;
                let values = row.fields.iter().map(|(name, value)| member(name, value));
                Some(Self::new(row.timestamp, &row.tags, values))
            }
            List::Dead => {
                let letter = DeadLetter::decode(element).ok()?;
                let why = format!("{} {}", letter.stage.name(), letter.reason.as_str());
                let what = format!("{}  {}  {}", letter.topic, letter.detail, letter.payload);
                Some(Self {
                    cells: [letter.time, why, what],
                    names: vec![letter.topic],
                })
            }
        }
    }

    fn new(
        time: model::Timestamp,
        tags: &[(Name<'_>, Name<'_>)],
        values: impl Iterator<Item = String>,
    ) -> Self {
        let series = tags.iter().map(|(name, value)| format!("{name}={value}"));
        let series = series.collect::<Vec<_>>().join(" ");
        let values = values.collect::<Vec<_>>().join(" ");
        Self {
            cells: [time.to_string(), series, values],
            names: tags.iter().map(|(_, value)| value.to_string()).collect(),
        }
    }
}

fn member(name: &Name<'_>, value: &model::Value) -> String {
    match value {
        model::Value::Float(number) => format!("{name}={number}"),
        model::Value::Integer(number) => format!("{name}={number}"),
        model::Value::Bool(value) => format!("{name}={value}"),
        model::Value::String(text) => format!("{name}={text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use model::Layout;
    use queue::list::List;

    use super::{Shown, json_line};

    #[test]
    fn each_element_is_an_object_on_a_line() {
        for (element, shown) in [
            (r#"{"rig_id":"A","x":1e400}"#, r#"{"rig_id":"A","x":1e400}"#),
            ("{\n \"a\": \"b\\n\"\r\n}", "{  \"a\": \"b\\n\"  }"),
            ("no json", r#"{"element":"no json"}"#),
            ("[1]", r#"{"element":"[1]"}"#),
            ("{\"a\":", r#"{"element":"{\"a\":"}"#),
        ] {
            assert_eq!(json_line(element.as_bytes()), shown);
        }
    }

    #[test]
    fn people_see_time_series_and_values() {
        let row =
            br#"{"rig_id":"R-1","timestamp":"2027-01-01T00:00:00Z","current":5.25,"voltage":220}"#;
        let shown = Shown::of(List::Normalized, Layout::Rigs, row).unwrap();
        assert_eq!(
            shown.cells,
            [
                "2027-01-01T00:00:00Z",
                "rig_id=R-1",
                "current=5.25 voltage=220"
            ]
        );
        assert_eq!(shown.names, ["R-1"]);
        let tagged = br#"{"tags":{"site":"a","line":"b"},"timestamp":"2027-01-01T00:00:00Z","values":{"on":true,"state":"x y"}}"#;
        let shown = Shown::of(List::Normalized, Layout::Tagged, tagged).unwrap();
        assert_eq!(shown.cells[2], "on=true state=\"x y\"");
        assert_eq!(shown.names.len(), 2);
        assert!(Shown::of(List::Dead, Layout::Rigs, row).is_none());
    }
}
