//! Composes the messages of a sample: the inverse of what the ingester's mapping does.

use std::collections::BTreeMap;

use model::Timestamp;
use model::pipeline::{
    Each, FIELD, FieldTable, FieldTables, Fields, Format, MessageTable, PipelineFile, Pointer,
    Scalar, SourceKind, TimeFormat, TopicTemplate, ValueKind,
};
use serde_json::{Map, Value as Json, json};

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic of MQTT, or the channel of Redis.
    pub topic: String,
    /// Its content.
    pub payload: Vec<u8>,
}

/// How a pipeline's messages are composed.
#[derive(Debug)]
pub(super) struct Composer {
    topic: Topic,
    message: MessageTable,
    fields: FieldTables,
}

#[derive(Debug)]
enum Topic {
    Template(TopicTemplate),
    Channel(String),
}

/// The names of a sample's tags and its field, with what stands for them.
type Parts<'a> = BTreeMap<&'a str, &'a str>;

impl Composer {
    pub(super) fn new(file: &PipelineFile) -> Result<Self, String> {
        let source = &file.source;
        let topic = match (source.kind(), &source.topic, &source.channel) {
            (SourceKind::Mqtt, Some(template), _) if template.has_unnamed() => {
                return Err(format!("its topic {} has + or #", template.as_str()));
            }
            (SourceKind::Mqtt, Some(template), _) => Topic::Template((**template).clone()),
            (_, _, Some(channel)) => Topic::Channel(channel.to_string()),
            _ => return Err("its source is a pattern of channels".to_owned()),
        };
        Ok(Self {
            topic,
            message: file.message.clone(),
            fields: file.fields.clone(),
        })
    }

    /// The names of the tags that a message has.
    pub(super) fn tags(&self) -> impl Iterator<Item = &str> {
        let template = match &self.topic {
            Topic::Template(template) => Some(template),
            Topic::Channel(_) => None,
        };
        let of_topic = template.into_iter().flat_map(TopicTemplate::tags);
        let of_name = self.message.split.iter().flat_map(|split| split.tags());
        let of_sample = self.message.tags.keys().map(String::as_str);
        of_topic.chain(of_name).chain(of_sample)
    }

    /// The messages of a sample: one, or one for each value where a message holds one.
    pub(super) fn compose(
        &self,
        tags: &BTreeMap<String, String>,
        values: &[(&str, Scalar)],
        time: Timestamp,
    ) -> Vec<Message> {
        let tags: Parts<'_> = tags
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        if !self.has_one_value() {
            return vec![self.one(&tags, values, time)];
        }
        let values = values.iter();
        values
            .map(|value| {
                let mut parts = tags.clone();
                parts.insert(FIELD, value.0);
                self.one(&parts, std::slice::from_ref(value), time)
            })
            .collect()
    }

    /// Whether a message, or a sample of it, holds one value.
    fn has_one_value(&self) -> bool {
        let message = &self.message;
        let in_topic = matches!(&self.topic, Topic::Template(template) if template.names_field());
        let in_sample =
            message.fields.is_none() && (message.name.is_some() || message.value.is_some());
        in_topic || in_sample || matches!(message.format, Format::Text | Format::Senml)
    }

    fn one(&self, parts: &Parts<'_>, values: &[(&str, Scalar)], time: Timestamp) -> Message {
        let topic = match &self.topic {
            Topic::Template(template) => template.fill(|name| parts.get(name).copied()),
            Topic::Channel(channel) => channel.clone(),
        };
        let payload = match self.message.format {
            // The file's check refuses Protocol Buffers.
            Format::Json | Format::Ndjson | Format::Protobuf => {
                self.document(parts, values, time).to_string()
            }
            Format::Text => match values.first().map(|(name, value)| self.raw(name, value)) {
                Some(Json::String(text)) => text,
                other => other.unwrap_or_default().to_string(),
            },
            Format::Senml => self.senml(parts, values, time).to_string(),
        };
        Message {
            topic,
            payload: payload.into_bytes(),
        }
    }

    fn document(&self, parts: &Parts<'_>, values: &[(&str, Scalar)], time: Timestamp) -> Json {
        let message = &self.message;
        let mut whole = Json::Object(Map::new());
        let mut sample = Json::Object(Map::new());
        let mut key = "0";
        let mut set = |pointer: &Pointer, value: Json| match pointer {
            Pointer::Sample(keys) => insert(&mut sample, keys, value),
            Pointer::Message(keys) => insert(&mut whole, keys, value),
            Pointer::Key => {}
        };
        for (pointer, wanted) in &message.conditions {
            set(pointer, json_of(wanted));
        }
        for (name, pointer) in &message.tags {
            let value = parts.get(name.as_str()).copied().unwrap_or_default();
            set(pointer, json!(value));
            if **pointer == Pointer::Key {
                key = value;
            }
        }
        let pointer_of = |name: &str| Pointer::Sample(vec![name.to_owned()]);
        if let Some(time) = self.time(time) {
            let own = message
                .time
                .as_ref()
                .and_then(|pointers| pointers.0.first().cloned());
            set(&own.unwrap_or_else(|| pointer_of("timestamp")), time);
        }
        let named = match message.fields.as_deref() {
            Some(Fields::Named(named)) => Some(named),
            _ => None,
        };
        for (field, value) in values {
            let raw = self.raw(field, value);
            let pointer = match named {
                Some(named) => named.get(*field).cloned(),
                None if self.has_one_value() => {
                    let value = message.value.as_deref().cloned();
                    Some(value.unwrap_or_else(|| pointer_of("value")))
                }
                None => Some(pointer_of(field)),
            };
            if let Some(pointer) = pointer {
                set(&pointer, raw);
            }
            if let Some(name) = &message.name {
                set(name, json!(self.name(field, parts)));
            }
        }
        match message.each.as_deref() {
            None => {
                merge(&mut whole, sample);
                whole
            }
            Some(Each {
                keys,
                members: true,
            }) => {
                let mut keys = keys.clone();
                keys.push(key.to_owned());
                insert(&mut whole, &keys, sample);
                whole
            }
            Some(Each { keys, .. }) if keys.is_empty() => json!([sample]),
            Some(Each { keys, .. }) => {
                insert(&mut whole, keys, json!([sample]));
                whole
            }
        }
    }

    fn senml(&self, parts: &Parts<'_>, values: &[(&str, Scalar)], time: Timestamp) -> Json {
        let records = values.iter().map(|(field, value)| {
            let name = self.name(field, parts);
            let seconds = seconds(time);
            match self.raw(field, value) {
                Json::Bool(value) => json!({ "n": name, "t": seconds, "vb": value }),
                Json::String(text) => json!({ "n": name, "t": seconds, "vs": text }),
                number => json!({ "n": name, "t": seconds, "v": number }),
            }
        });
        records.collect()
    }

    /// The name of a reading, from which the mapping takes tags and field.
    fn name(&self, field: &str, parts: &Parts<'_>) -> String {
        match &self.message.split {
            Some(split) => split.fill(|name| parts.get(name).copied()),
            None => field.to_owned(),
        }
    }

    /// The time as the pipeline reads it; `None` where that is a pattern: then the time of arrival counts.
    fn time(&self, time: Timestamp) -> Option<Json> {
        let nanos = time.nanos();
        Some(match self.message.time_format.as_deref() {
            None | Some(TimeFormat::Auto | TimeFormat::Rfc3339) => json!(time.to_string()),
            Some(TimeFormat::UnixS) => json!(seconds(time)),
            Some(TimeFormat::UnixMs) => json!(nanos / 1_000_000),
            Some(TimeFormat::UnixUs) => json!(nanos / 1_000),
            Some(TimeFormat::UnixNs) => json!(nanos),
            Some(TimeFormat::Pattern(_)) => return None,
        })
    }

    /// A value as the device sends it, before it is scaled.
    fn raw(&self, field: &str, value: &Scalar) -> Json {
        let table = self.fields.of(field);
        let Scalar::Number(number) = value else {
            return json_of(value);
        };
        let mut number = *number;
        let Some(FieldTable {
            kind,
            unit,
            scale,
            decimal_comma,
            strip_unit,
            ..
        }) = table
        else {
            return json!(number);
        };
        if let Some(scale) = scale {
            number /= scale.0;
        }
        match kind.as_deref() {
            Some(ValueKind::Bool) => return json!(number != 0.0),
            Some(ValueKind::String) => return json!(number.to_string()),
            Some(ValueKind::Integer) => number = number.round(),
            Some(ValueKind::Float | ValueKind::Number) | None => {}
        }
        let mut text = number.to_string();
        if *decimal_comma {
            text = text.replace('.', ",");
        }
        match unit.as_deref().filter(|_| *strip_unit) {
            Some(unit) => json!(format!("{text} {unit}")),
            None if *decimal_comma => json!(text),
            #[expect(clippy::cast_possible_truncation, reason = "it is rounded")]
            None if kind.as_deref() == Some(&ValueKind::Integer) => json!(number as i64),
            None => json!(number),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds are kept")]
fn seconds(time: Timestamp) -> f64 {
    (time.nanos() / 1_000_000) as f64 / 1_000.0
}

fn json_of(scalar: &Scalar) -> Json {
    match scalar {
        Scalar::Bool(value) => json!(value),
        Scalar::Number(number) => json!(number),
        Scalar::String(text) => json!(text),
    }
}

/// Sets the value at these keys, and makes the objects on the way.
fn insert(target: &mut Json, keys: &[String], value: Json) {
    let mut place = target;
    for key in keys {
        if !place.is_object() {
            *place = Json::Object(Map::new());
        }
        place = &mut place[key.as_str()];
    }
    *place = value;
}

/// Adds the members of an object, and of those in it.
fn merge(target: &mut Json, other: Json) {
    match (target, other) {
        (Json::Object(target), Json::Object(other)) => {
            for (key, value) in other {
                merge(target.entry(key).or_insert(Json::Null), value);
            }
        }
        (target, other) => *target = other,
    }
}
