//! Reads files of metrics and work orders.

use std::collections::BTreeMap;
use std::fmt;
use std::io::BufRead;

use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Deserializer, Value};

use crate::series::{Point, Series};

/// Rejected items whose reasons are kept.
const SHOWN: usize = 5;
/// The mark that some programs put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Seconds that are beyond any work order: the year 5138. Milliseconds of today are above.
const MAX_SECONDS: f64 = 1e11;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Objects of `id`, `val` and `time`: values of parameters.
    Metrics,
    /// Objects of `product`, `production` and `time`: production of products.
    WorkOrders,
}

impl Kind {
    /// The members that hold the key and the value.
    const fn members(self) -> (&'static str, &'static str) {
        match self {
            Self::Metrics => ("id", "val"),
            Self::WorkOrders => ("product", "production"),
        }
    }
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Input {
    /// Series by the ids of parameters or products.
    pub series: BTreeMap<i64, Series>,
    /// Items of the array.
    pub items: u64,
    /// Items that can't be used.
    pub rejected: u64,
    /// The first of them: their places in the array, from 1 on, and why.
    pub reasons: Vec<(u64, String)>,
    /// Why reading ended before the end of the array. The items before are there.
    pub broken: Option<String>,
}

/// Reads an array of objects, whose items are handled one by one. Items that can't be used are counted and left out.
#[must_use]
pub fn read(kind: Kind, mut file: impl BufRead) -> Input {
    // An error comes again below.
    if file
        .fill_buf()
        .is_ok_and(|start| start.starts_with(BYTE_ORDER_MARK))
    {
        file.consume(BYTE_ORDER_MARK.len());
    }
    let mut items = Items {
        kind,
        points: BTreeMap::new(),
        input: Input::default(),
    };
    let mut reader = Deserializer::from_reader(file);
    let read = reader.deserialize_seq(&mut items);
    let ended = read.and_then(|()| reader.end());
    let Items { points, input, .. } = items;
    Input {
        series: points
            .into_iter()
            .map(|(id, points)| (id, Series::new(points)))
            .collect(),
        broken: ended.err().map(|error| error.to_string()),
        ..input
    }
}

struct Items {
    kind: Kind,
    points: BTreeMap<i64, Vec<Point>>,
    input: Input,
}

impl<'de> Visitor<'de> for &mut Items {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, value) = self.kind.members();
        write!(f, "an array of objects with {key}, {value} and time")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<Box<RawValue>>()? {
            self.input.items += 1;
            // In two steps, so that a number out of range is that of one item.
            let parsed = serde_json::from_str(item.get()).map_err(|error| error.to_string());
            match parsed.and_then(|item| point(self.kind, &item)) {
                Ok((id, point)) => self.points.entry(id).or_default().push(point),
                Err(reason) => {
                    self.input.rejected += 1;
                    if self.input.reasons.len() < SHOWN {
                        self.input.reasons.push((self.input.items, reason));
                    }
                }
            }
        }
        Ok(())
    }
}

fn point(kind: Kind, item: &Value) -> Result<(i64, Point), String> {
    let (key, value) = kind.members();
    let Value::Object(item) = item else {
        return Err("it isn't an object".to_owned());
    };
    let member = |name: &str| item.get(name).ok_or_else(|| format!("it has no {name}"));
    let number = |name: &str| {
        let given = member(name)?;
        given
            .as_f64()
            .ok_or_else(|| format!("{name} is {given}, not a number"))
    };
    let given = member(key)?;
    let id = given
        .as_i64()
        .ok_or_else(|| format!("{key} is {given}, not an integer"))?;
    let point = Point {
        time: number("time")?,
        value: number(value)?,
    };
    if point.time.abs() > MAX_SECONDS {
        let time = point.time;
        return Err(format!(
            "time is {time}, which can't be seconds; milliseconds?"
        ));
    }
    Ok((id, point))
}

#[cfg(test)]
mod tests {
    use super::{Input, Kind, read};
    use crate::series::Point;

    fn metrics(text: &str) -> Input {
        read(Kind::Metrics, text.as_bytes())
    }

    #[test]
    fn series_are_read_and_sorted() {
        let orders =
            r#"[{"time":20,"product":1,"production":2.5},{"time":10,"product":1,"production":0}]"#;
        let input = read(Kind::WorkOrders, orders.as_bytes());
        assert_eq!((input.items, input.rejected, input.broken), (2, 0, None));
        let points = [(10.0, 0.0), (20.0, 2.5)].map(|(time, value)| Point { time, value });
        assert_eq!(input.series[&1].points(), points);
    }

    #[test]
    fn items_that_cannot_be_used_are_counted_with_their_places() {
        let items = [
            r#"{"id":1,"val":2,"time":3}"#,
            "7",
            r#"{"id":"1","val":2,"time":3}"#,
            r#"{"id":1.5,"val":2,"time":3}"#,
            r#"{"id":1,"val":null,"time":3}"#,
            r#"{"id":1,"time":3}"#,
            r#"{"id":1,"val":2,"time":1624376278000}"#,
            r#"{"id":1,"val":1e400,"time":3}"#,
            r#"{"id":1,"val":2,"time":3,"note":"\ud800"}"#,
        ];
        let input = metrics(&format!("\u{feff}[{}]", items.join(",")));
        assert_eq!((input.items, input.rejected, &input.broken), (9, 8, &None));
        let reasons = [
            (2, "it isn't an object"),
            (3, "id is \"1\", not an integer"),
            (4, "id is 1.5, not an integer"),
            (5, "val is null, not a number"),
            (6, "it has no val"),
        ];
        let reasons = reasons.map(|(place, reason)| (place, reason.to_owned()));
        assert_eq!(input.reasons, reasons);
        let input = metrics(&format!("[{}]", items[6]));
        assert!(input.reasons[0].1.contains("milliseconds?"), "{input:?}");
    }

    #[test]
    fn what_comes_before_a_break_is_read() {
        let input = metrics(r#"[{"id":1,"val":2,"time":3},{"id":1,"#);
        assert_eq!((input.items, input.series.len()), (1, 1));
        assert!(input.broken.is_some_and(|why| why.contains("EOF")));
        for (text, part) in [
            ("", "EOF"),
            ("{}", "an array of objects with id, val and time"),
            ("[] x", "trailing"),
        ] {
            let broken = metrics(text).broken.unwrap_or_default();
            assert!(broken.contains(part), "{text}: {broken}");
        }
        assert_eq!(metrics("[]"), Input::default());
    }
}
