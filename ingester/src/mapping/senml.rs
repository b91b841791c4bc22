//! Sensor measurement lists (SenML, RFC 8428) in JSON: an array of records, in which base values hold for the records behind.

use model::dead_letter::{Reason, Rejection};
use model::pipeline::FIELD;
use model::{Sample, Timestamp};
use serde_json::{Map, Number, Value as Json};

use super::document::Base;
use super::sample::Readings;
use super::{Context, Mapped, MappedSample, RejectedPart};

/// A time below this is relative to the arrival, in seconds (RFC 8428, section 4.5.3).
const RELATIVE_BELOW: f64 = 268_435_456.0;
/// The version of the format that is read, and those before it.
const VERSION: i64 = 10;

/// What the records before have set.
#[derive(Default)]
struct Bases {
    name: String,
    time: f64,
    value: f64,
}

/// Adds a sample for each record with a value.
pub(super) fn map(
    context: &Context<'_>,
    whole: &Json,
    mapped: &mut Mapped,
) -> Result<(), Rejection> {
    let Json::Array(records) = whole else {
        return Err(Rejection::new(
            Reason::NotObject,
            "a SenML message is an array of records",
        ));
    };
    let mut bases = Bases::default();
    for (index, value) in records.iter().enumerate() {
        let place = format!("/{index}");
        let Json::Object(record) = value else {
            let rejection = Rejection::new(Reason::NotObject, "a SenML record is an object");
            mapped.rejected.push(RejectedPart { place, rejection });
            continue;
        };
        let base = Base {
            whole,
            value,
            key: None,
            place: place.clone(),
        };
        let sample = bases
            .set(record)
            .and_then(|()| bases.sample(context, &base, record, mapped));
        match sample {
            Ok(()) => {}
            Err(rejection) => mapped.rejected.push(RejectedPart { place, rejection }),
        }
    }
    Ok(())
}

impl Bases {
    fn set(&mut self, record: &Map<String, Json>) -> Result<(), Rejection> {
        if let Some(version) = record.get("bver").and_then(Json::as_i64)
            && version > VERSION
        {
            return Err(bad(&format!("version {version} of SenML isn't known")));
        }
        if let Some(must) = record.keys().find(|key| key.ends_with('_')) {
            return Err(bad(&format!(
                "the extension {must:?} has to be understood, and isn't"
            )));
        }
        if let Some(name) = string(record, "bn")? {
            name.clone_into(&mut self.name);
        }
        if let Some(time) = number(record, "bt")? {
            self.time = time;
        }
        if let Some(value) = number(record, "bv")? {
            self.value = value;
        }
        Ok(())
    }

    fn sample(
        &self,
        context: &Context<'_>,
        base: &Base<'_>,
        record: &Map<String, Json>,
        mapped: &mut Mapped,
    ) -> Result<(), Rejection> {
        let value = match (record.get("v"), record.get("vb").or(record.get("vs"))) {
            (Some(Json::Number(value)), None) => self.with_base(value),
            (Some(other), None) | (None, Some(other)) => other.clone(),
            (Some(_), Some(_)) => return Err(bad("a record has one value")),
            (None, None) if record.contains_key("s") || record.contains_key("vd") => {
                return Err(bad(
                    "sums (s) and data (vd) aren't taken, only v, vb and vs",
                ));
            }
            (None, None) => return Ok(()),
        };
        let name = format!("{}{}", self.name, string(record, "n")?.unwrap_or_default());
        let parts = match context.mapping.message.split.as_deref() {
            Some(split) => split.matches(&name).ok_or_else(|| {
                Rejection::new(Reason::BadName, format!("the name {name:?} can't be split"))
            })?,
            None => vec![(FIELD, name.as_str())],
        };
        let tags = context.tags(base, &parts)?;
        let field = parts.iter().find(|(part, _)| *part == FIELD);
        let field = field.map_or("", |(_, field)| field);
        let mut readings = Readings::default();
        context.add(field, &value, true, &tags, &mut readings)?;
        let (timestamp, is_own) = self.time(record, context.arrived)?;
        if let Some((_, rejection)) = readings.bad.pop() {
            return Err(rejection);
        }
        if readings.values.is_empty() {
            mapped.empty += 1;
            return Ok(());
        }
        let time_from = if record.contains_key("t") {
            is_own.then(|| format!("{}/t", base.place))
        } else {
            is_own.then(|| "bt".to_owned())
        };
        mapped.samples.push(MappedSample {
            sample: Sample {
                tags,
                timestamp,
                values: readings.values.into_iter().collect(),
            },
            time_from,
            has_ignored_time: false,
            place: base.place.clone(),
        });
        Ok(())
    }

    /// A value with the base value added, if there is one: otherwise it is kept exact.
    fn with_base(&self, value: &Number) -> Json {
        let sum = value.as_f64().filter(|_| self.value != 0.0);
        let sum = sum.and_then(|value| Number::from_f64(value + self.value));
        Json::Number(sum.unwrap_or_else(|| value.clone()))
    }

    /// The record's time, and whether it says so itself.
    fn time(
        &self,
        record: &Map<String, Json>,
        arrived: Timestamp,
    ) -> Result<(Timestamp, bool), Rejection> {
        let seconds = self.time + number(record, "t")?.unwrap_or_default();
        let has_time = self.time != 0.0 || record.contains_key("t");
        // Doubles of today have the precision of microseconds.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the cast saturates, and then fails"
        )]
        let micros = (seconds * 1e6).round() as i64;
        let nanos = micros.checked_mul(1_000);
        let nanos = if seconds < RELATIVE_BELOW {
            nanos.and_then(|nanos| arrived.nanos().checked_add(nanos))
        } else {
            nanos
        };
        let nanos = nanos.ok_or_else(|| {
            Rejection::new(
                Reason::BadTimestamp,
                format!("the time {seconds} is out of range"),
            )
        })?;
        Ok((Timestamp::from_nanos(nanos), has_time))
    }
}

fn string<'r>(record: &'r Map<String, Json>, key: &str) -> Result<Option<&'r str>, Rejection> {
    match record.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(_) => Err(bad(&format!("{key} is no string"))),
    }
}

fn number(record: &Map<String, Json>, key: &str) -> Result<Option<f64>, Rejection> {
    match record.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Number(number)) => Ok(number.as_f64()),
        Some(_) => Err(bad(&format!("{key} is no number"))),
    }
}

fn bad(what: &str) -> Rejection {
    Rejection::new(Reason::BadValue, what)
}
