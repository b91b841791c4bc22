//! Turns messages into samples, as a pipeline file says.

pub(crate) mod binary;
mod document;
mod sample;
mod senml;
mod time;
mod value;

#[cfg(test)]
mod tests;

use std::fmt::Display;

use model::dead_letter::{Reason, Rejection};
use model::pipeline::{
    FieldTables, Fields, Format, MessageTable, PipelineFile, TimeFormat, TopicGlob, TopicTemplate,
    Zone,
};
use model::{Sample, Timestamp};
use serde_json::Value as Json;

use self::binary::BinaryType;
use self::document::bases;
use self::sample::{fits, part};

/// What a pipeline takes from its messages.
#[derive(Debug, Clone)]
pub struct Mapping {
    topic: Option<TopicTemplate>,
    ignore: Vec<TopicGlob>,
    message: MessageTable,
    binary: Option<BinaryType>,
    naming: Naming,
    fields: FieldTables,
    time_format: TimeFormat,
    zone: Zone,
}

/// Where the names of a sample's fields come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// A level of the topic.
    Topic,
    /// A member of the sample.
    Member,
    /// Nothing names the one value.
    Nothing,
    /// Every member is a field.
    All,
    /// The pipeline file has a table of them.
    Table,
}

/// What a message held.
#[derive(Debug, Default, PartialEq)]
pub struct Mapped {
    /// The good samples.
    pub samples: Vec<MappedSample>,
    /// The parts that can't be used.
    pub rejected: Vec<RejectedPart>,
    /// Samples that the pipeline doesn't want, or 1 if it doesn't want the topic.
    pub filtered: usize,
    /// Samples without any reading.
    pub empty: usize,
    /// Members that aren't taken because of their type, where the pipeline doesn't name fields.
    pub skipped: usize,
}

/// A sample with its origin.
#[derive(Debug, PartialEq)]
pub struct MappedSample {
    /// The sample.
    pub sample: Sample<'static>,
    /// The JSON pointer to its time; `None` if that is its arrival.
    pub time_from: Option<String>,
    /// A member that should hold the time was ignored, because it holds no date.
    pub has_ignored_time: bool,
    /// The JSON pointer to the sample; in NDJSON behind the number of its line.
    pub place: String,
}

/// A part of a message that can't be used.
#[derive(Debug, PartialEq)]
pub struct RejectedPart {
    /// The JSON pointer to it; in NDJSON behind the number of its line.
    pub place: String,
    /// Why.
    pub rejection: Rejection,
}

impl Mapping {
    /// The mapping that a pipeline file describes.
    #[must_use]
    pub fn new(file: &PipelineFile) -> Self {
        let message = &file.message;
        let topic = file.source.template().map(|topic| &**topic);
        let naming = match message.fields.as_deref() {
            Some(Fields::Named(_)) => Naming::Table,
            None if topic.is_some_and(TopicTemplate::names_field) => Naming::Topic,
            None if message.name.is_some() => Naming::Member,
            None if message.value.is_some() || message.format == Format::Text => Naming::Nothing,
            Some(Fields::All) | None => Naming::All,
        };
        let ignore = file.source.ignore.as_deref();
        Self {
            topic: topic.cloned(),
            ignore: ignore.map_or_else(Vec::new, |globs| globs.0.clone()),
            naming,
            fields: file.fields.clone(),
            time_format: message
                .time_format
                .as_deref()
                .map_or(TimeFormat::Auto, Clone::clone),
            zone: message.time_zone.as_deref().copied().unwrap_or(Zone::UTC),
            message: message.clone(),
            binary: BinaryType::of_file(file),
        }
    }

    /// Maps a message that arrived at `arrived`. The error is that of a message of which nothing can be
    /// used. Limits of times are checked by the caller.
    pub fn map(
        &self,
        topic: &str,
        payload: &[u8],
        arrived: Timestamp,
    ) -> Result<Mapped, Rejection> {
        let mut mapped = Mapped::default();
        if self.ignore.iter().any(|glob| glob.is_match(topic)) {
            mapped.filtered = 1;
            return Ok(mapped);
        }
        let levels = match &self.topic {
            Some(template) => template.matches(topic).ok_or_else(|| {
                Rejection::new(Reason::BadTopic, format!("the topic isn't {template}"))
            })?,
            None => Vec::new(),
        };
        if self.naming == Naming::Topic && !self.takes(&levels) {
            mapped.filtered = 1;
            return Ok(mapped);
        }
        let context = Context {
            mapping: self,
            levels: &levels,
            arrived,
        };
        if let Some(binary) = &self.binary {
            context.document(&binary.to_json(payload)?, "", &mut mapped)?;
            return Ok(mapped);
        }
        let text = std::str::from_utf8(payload).map_err(|error| not_json(&error))?;
        match self.message.format {
            Format::Json | Format::Protobuf => {
                let whole = parse(text)?;
                context.document(&whole, "", &mut mapped)?;
            }
            Format::Ndjson => context.lines(text, &mut mapped),
            Format::Text => {
                // Not as a number, which would lose the zeros of the text 1.10.
                let value = Json::String(text.trim().to_owned());
                context.document(&value, "", &mut mapped)?;
            }
            Format::Senml => senml::map(&context, &parse(text)?, &mut mapped)?,
        }
        Ok(mapped)
    }

    /// Whether the pipeline wants the field that the topic names.
    fn takes(&self, levels: &[(&str, &str)]) -> bool {
        let (include, exclude) = (&self.message.include, &self.message.exclude);
        part(levels).is_none_or(|name| fits(name, include.as_deref(), exclude.as_deref()))
    }
}

/// What the samples of a message have in common.
struct Context<'a> {
    mapping: &'a Mapping,
    /// What the topic names.
    levels: &'a [(&'a str, &'a str)],
    arrived: Timestamp,
}

impl Context<'_> {
    fn lines(&self, text: &str, mapped: &mut Mapped) {
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let place = format!("line {}", index + 1);
            let result = parse(line).and_then(|whole| self.document(&whole, &place, mapped));
            if let Err(rejection) = result {
                mapped.rejected.push(RejectedPart { place, rejection });
            }
        }
    }

    /// Adds the samples of a document, which is at `place`.
    fn document(&self, whole: &Json, place: &str, mapped: &mut Mapped) -> Result<(), Rejection> {
        let each = self.mapping.message.each.as_deref();
        for base in bases(whole, each)? {
            let place = format!("{place}{}", base.place);
            self.sample(&base, place, mapped);
        }
        Ok(())
    }
}

fn parse(text: &str) -> Result<Json, Rejection> {
    serde_json::from_str(text).map_err(|error| not_json(&error))
}

fn not_json(error: &dyn Display) -> Rejection {
    Rejection::new(Reason::NotJson, error)
}
