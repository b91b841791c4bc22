//! The tables of a pipeline file as they are written. `check.rs` has the rules between them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer};

use super::alert::AlertTable;
use super::limits::LimitsTable;
use super::plain::{Plain, plain};
use super::scalar::Scalar;
use super::simulate::SimulateTable;
use super::source::SourceTable;
use super::split::Split;
use super::store::StoreTable;
use super::value::{At, NameGlob, Number, OneOrMore, Period, Pointer};
use super::zone::Zone;

/// A pipeline: where messages come from, what readings they hold, how rows are made of them, and where
/// the rows go.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Rigline pipeline")]
pub struct PipelineFile {
    /// Names the pipeline's lists, its files and its client id: 1 to 64 lower-case letters, digits, - and _
    pub name: At<String>,
    /// Where messages come from
    pub source: SourceTable,
    /// What readings a message holds
    #[serde(default)]
    pub message: MessageTable,
    /// How the values of a field are read, by its name or a pattern; an exact name goes before patterns,
    /// and a longer pattern before a shorter one
    #[serde(default)]
    pub fields: FieldTables,
    /// How rows are made of readings
    #[serde(default)]
    pub rows: RowsTable,
    /// Limits of times and numbers
    #[serde(default)]
    pub limits: LimitsTable,
    /// Where rows go [default: `store.db` in one process, InfluxDB otherwise]
    #[serde(default)]
    pub store: Vec<At<StoreTable>>,
    /// What `producer` and `demo` send for this pipeline
    pub simulate: Option<SimulateTable>,
    /// What is reported
    #[serde(default)]
    pub alert: Vec<AlertTable>,
    /// The content of the file that `descriptor` names. [`PipelineFile::parse`] leaves it empty, because it reads no
    /// files.
    #[serde(skip)]
    pub descriptors: Vec<u8>,
}

/// What readings a message holds.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageTable {
    /// [default: json]
    #[serde(default)]
    pub format: Format,
    /// protobuf: path of a set of descriptors, as `protoc --include_imports --descriptor_set_out=FILE` writes it, from
    /// the pipeline file's directory on
    pub descriptor: Option<At<String>>,
    /// protobuf: the full name of the message, `package.Message`
    pub message: Option<At<String>>,
    /// Pointer to the samples of a message: to an array, each of whose elements is one, or to an object.
    /// With /* at its end, each member that is an object is one, named $key
    pub each: Option<At<Each>>,
    /// Values that a sample must have; others are filtered
    #[serde(default, rename = "where")]
    pub conditions: BTreeMap<Pointer, Scalar>,
    /// Pointers to what a sample must have; one without it, or with null there, is a dead letter
    pub required: Option<At<OneOrMore<Pointer>>>,
    /// Tags, by name
    #[serde(default)]
    pub tags: BTreeMap<String, At<Pointer>>,
    /// Pointer to the field's name
    pub name: Option<At<Pointer>>,
    /// Takes tags and the field out of what `name` points to: {line}.{device}.{field}
    pub split: Option<At<Split>>,
    /// Pointer to the value [default: /value]; a payload that is a bare JSON scalar is its own value
    pub value: Option<At<Pointer>>,
    /// All members ("*", nested names joined by _), or a table of pointers by field; the default is "*"
    /// where neither the topic nor `name` names the field
    pub fields: Option<At<Fields>>,
    /// Of all members, or of the fields that the topic names, only those whose name fits
    pub include: Option<At<OneOrMore<NameGlob>>>,
    /// All members, or all fields that the topic names, but those whose name fits
    pub exclude: Option<At<OneOrMore<NameGlob>>>,
    /// Pointers to the time; the first that is there counts [default: /timestamp, /ts, /time, /datetime]
    pub time: Option<At<OneOrMore<Pointer>>>,
    /// auto, `unix_s`, `unix_ms`, `unix_us`, `unix_ns`, rfc3339, or a strftime pattern [default: auto]
    pub time_format: Option<At<TimeFormat>>,
    /// Time zone of times without one [default: UTC]
    pub time_zone: Option<At<Zone>>,
    /// Values that mean "no reading"; null and absent always do
    #[serde(default)]
    pub missing: Vec<Scalar>,
    /// Other names for fields
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    /// Which names tags and fields may have [default: any]
    #[serde(default)]
    pub names: Names,
    /// Map characters other than letters, digits, - . and _ to _
    #[serde(default)]
    pub snake: bool,
}

/// The format of payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One JSON document
    #[default]
    Json,
    /// One JSON document a line, each of them a message
    Ndjson,
    /// The payload is the value
    Text,
    /// The sensor measurement lists of RFC 8428, in JSON
    Senml,
    /// Protocol Buffers, of the type that `descriptor` and `message` name; mapped like a JSON document
    Protobuf,
}

/// Which names tags and fields may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Names {
    /// 1 to 256 bytes of UTF-8 without control characters
    #[default]
    Any,
    /// 1 to 64 letters, digits, - . and _
    Strict,
}

/// How times are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 3339, or a number whose size tells its unit
    Auto,
    /// A number of seconds since 1970, fractions allowed
    UnixS,
    /// Milliseconds since 1970
    UnixMs,
    /// Microseconds since 1970
    UnixUs,
    /// Nanoseconds since 1970
    UnixNs,
    /// RFC 3339 only
    Rfc3339,
    /// A pattern of strftime
    Pattern(String),
}

/// Where the samples of a message are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Each {
    /// Keys from the message on.
    pub keys: Vec<String>,
    /// Whether each member there that is an object is a sample.
    pub members: bool,
}

/// The fields of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fields {
    /// All members.
    All,
    /// These, by name.
    Named(BTreeMap<String, Pointer>),
}

/// How the values of a field are read.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldTable {
    /// [default: float]
    #[serde(rename = "type")]
    pub kind: Option<At<ValueKind>>,
    /// Numbers for strings
    #[serde(default)]
    pub map: BTreeMap<String, Number>,
    /// What it is measured in, for those who read it
    pub unit: Option<String>,
    /// Factor of its numbers
    pub scale: Option<At<Number>>,
    /// The least and the largest number, after `scale`; others are dead letters
    pub range: Option<At<[Number; 2]>>,
    /// Numbers in strings have a comma: "20,6"
    #[serde(default)]
    pub decimal_comma: bool,
    /// A unit behind a number in a string is cut off: "20.6 °C"
    #[serde(default)]
    pub strip_unit: bool,
}

/// The type of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ValueKind {
    /// A 64-bit float; booleans are 1 and 0
    #[default]
    Float,
    /// A 64-bit float; booleans can't be used
    Number,
    /// A 64-bit integer
    Integer,
    /// true or false
    Bool,
    /// A string
    String,
}

/// How rows are made of readings.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RowsTable {
    /// [default: pivot where a message holds one reading, otherwise sample]
    pub shape: Option<At<ShapeKind>>,
    /// pivot: times are rounded down to this; 0 keeps them exact [default: 1s]
    pub align: Option<At<Period>>,
    /// pivot: the fields that make a row complete
    pub expected: Option<At<Vec<String>>>,
    /// pivot: a partial row is emitted this long after its last reading arrived [default: 5s]
    pub flush_interval: Option<At<Period>>,
    /// pivot: most open rows [default: 100000]
    #[serde(default, deserialize_with = "plain")]
    #[schemars(with = "Option<Plain<usize>>")]
    pub max_open_rows: Option<At<usize>>,
    /// window: its length
    pub every: Option<At<Period>>,
    /// window: what is computed of each field [default: count, mean, median, min, max]
    pub statistics: Option<At<Statistics>>,
    /// window: the fields' names [default: {field}_{statistic}]
    pub names: Option<At<String>>,
    /// window: how long to wait for late readings [default: 2s]
    pub grace: Option<At<Period>>,
    /// window: readings equal in field, time and value count once
    #[serde(default, deserialize_with = "plain")]
    #[schemars(with = "Option<Plain<bool>>")]
    pub dedupe: Option<At<bool>>,
    /// window: most readings of a field [default: 100000]
    #[serde(default, deserialize_with = "plain")]
    #[schemars(with = "Option<Plain<usize>>")]
    pub max_window_readings: Option<At<usize>>,
}

/// The rule that makes rows of readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ShapeKind {
    /// The readings of a series at one tick
    Pivot,
    /// Statistics of a window of time
    Window,
    /// A row a sample
    Sample,
}

impl ShapeKind {
    /// The name in a pipeline file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pivot => "pivot",
            Self::Window => "window",
            Self::Sample => "sample",
        }
    }
}

/// What a window computes of the readings of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Statistic {
    /// How many
    Count,
    /// Their mean
    Mean,
    /// Their exact median
    Median,
    /// The least
    Min,
    /// The largest
    Max,
    /// Their sum
    Sum,
    /// The sample's standard deviation
    Stddev,
    /// The earliest
    First,
    /// The latest
    Last,
}

/// The statistics of a window: a list, or a table of statistics by the name that they get.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Statistics {
    /// With their own names.
    List(Vec<Statistic>),
    /// By other names: { avg = "mean" }
    Named(BTreeMap<String, Statistic>),
}

/// The tables of fields with their names or patterns: an exact name goes before patterns, and a longer
/// pattern before a shorter one.
#[derive(Debug, Clone, Default)]
pub struct FieldTables(Vec<(NameGlob, FieldTable)>);

impl FieldTables {
    /// How the values of a field are read, if a table says so.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&FieldTable> {
        let found = self.0.iter().find(|(pattern, _)| pattern.is_match(name));
        found.map(|(_, field)| field)
    }
}

impl<'de> Deserialize<'de> for FieldTables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tables;

        impl<'de> Visitor<'de> for Tables {
            type Value = Vec<(NameGlob, FieldTable)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table for each field or pattern")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut tables = Vec::new();
                while let Some(table) = map.next_entry()? {
                    tables.push(table);
                }
                Ok(tables)
            }
        }

        let mut tables = deserializer.deserialize_map(Tables)?;
        tables.sort_by_key(|(pattern, _)| {
            let text = pattern.as_str();
            let is_pattern = text.contains(['*', '?', '[', '{']);
            (is_pattern, std::cmp::Reverse(text.len()), text.to_owned())
        });
        Ok(Self(tables))
    }
}

impl JsonSchema for FieldTables {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Fields".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, FieldTable>::json_schema(generator)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"*\", or a table of pointers: { temperature = \"/t\" }")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Fields, E> {
                match text {
                    "*" => Ok(Fields::All),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Fields, A::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(Fields::Named)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Fields {
    fn schema_name() -> Cow<'static, str> {
        "Fields".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let pointers = BTreeMap::<String, Pointer>::json_schema(generator);
        json_schema!({ "anyOf": [{ "const": "*" }, pointers] })
    }
}
