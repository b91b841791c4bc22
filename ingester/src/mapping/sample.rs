//! Makes a sample of a part of a document.

use std::borrow::Cow;
use std::collections::BTreeMap;

use model::dead_letter::{Reason, Rejection};
use model::pipeline::{FIELD, Fields, NameGlob, Names, OneOrMore, Pointer};
use model::time::TimeError;
use model::{Name, Sample, Tags, Timestamp, Value};
use serde_json::Value as Json;

use super::document::{Base, Found, escaped};
use super::value::{Read, equals, read};
use super::{Context, Mapped, MappedSample, Naming, RejectedPart, time};

/// The name of a reading that nothing names.
const VALUE: &str = "value";
/// Members that may hold the time where the pipeline doesn't say which, in any case, best first.
const TIMES: [&str; 4] = ["timestamp", "ts", "time", "datetime"];
/// Below this a number of a member that isn't called `timestamp` is no date, in seconds since 1970.
const EARLIEST: i64 = 1_000_000_000;

/// A sample's fields while they are read.
#[derive(Default)]
pub(super) struct Readings {
    pub(super) values: BTreeMap<Name<'static>, Value>,
    /// What is wrong with each field that can't be used.
    pub(super) bad: Vec<(String, Rejection)>,
    skipped: usize,
}

/// A sample's time.
struct Time {
    timestamp: Timestamp,
    from: Option<String>,
    has_ignored: bool,
}

impl Context<'_> {
    /// Adds the sample of a part of a document, or what is wrong with it.
    pub(super) fn sample(&self, base: &Base<'_>, place: String, mapped: &mut Mapped) {
        match self.judge(base) {
            Ok(None) => mapped.filtered += 1,
            Ok(Some((tags, time, readings))) => {
                mapped.skipped += readings.skipped;
                let has_bad = !readings.bad.is_empty();
                if has_bad {
                    mapped.rejected.push(RejectedPart {
                        place: place.clone(),
                        rejection: of_fields(readings.bad),
                    });
                }
                if !readings.values.is_empty() {
                    mapped.samples.push(MappedSample {
                        sample: Sample {
                            tags,
                            timestamp: time.timestamp,
                            values: readings.values.into_iter().collect(),
                        },
                        time_from: time.from,
                        has_ignored_time: time.has_ignored,
                        place,
                    });
                } else if !has_bad {
                    mapped.empty += 1;
                }
            }
            Err(rejection) => mapped.rejected.push(RejectedPart { place, rejection }),
        }
    }

    /// `None` if the pipeline doesn't want the sample.
    fn judge(&self, base: &Base<'_>) -> Result<Option<(Tags<'static>, Time, Readings)>, Rejection> {
        let message = &self.mapping.message;
        let is_wanted = message.conditions.iter().all(|(pointer, expected)| {
            let found = base.find(pointer);
            found.is_some_and(|found| match found {
                Found::Value(value) => equals(expected, value),
                Found::Key(key) => equals(expected, &Json::String(key.to_owned())),
            })
        });
        if !is_wanted {
            return Ok(None);
        }
        self.check_required(base)?;
        let name = match (&message.name, self.mapping.naming) {
            (Some(pointer), Naming::Member) => Some(base.string(pointer).ok_or_else(|| {
                let detail = format!("there is no name at {}", **pointer);
                Rejection::new(Reason::BadName, detail)
            })?),
            _ => None,
        };
        let parts = match (&message.split, &name) {
            (Some(split), Some(name)) => split.matches(name).ok_or_else(|| {
                Rejection::new(Reason::BadName, format!("the name {name:?} can't be split"))
            })?,
            _ => Vec::new(),
        };
        let tags = self.tags(base, &parts)?;
        let field = part(&parts).map(str::to_owned).or(name);
        let readings = self.readings(base, field, &tags)?;
        let time = self.time(base)?;
        Ok(Some((tags, time, readings)))
    }

    fn check_required(&self, base: &Base<'_>) -> Result<(), Rejection> {
        let required = self.mapping.message.required.as_deref();
        for pointer in required.into_iter().flat_map(|pointers| &pointers.0) {
            let is_there = match base.find(pointer) {
                Some(Found::Value(value)) => !value.is_null(),
                Some(Found::Key(_)) => true,
                None => false,
            };
            if !is_there {
                let detail = format!("there is nothing at {pointer}");
                return Err(Rejection::new(Reason::MissingValue, detail));
            }
        }
        Ok(())
    }

    /// The sample's tags, in the order of their names.
    pub(super) fn tags(
        &self,
        base: &Base<'_>,
        parts: &[(&str, &str)],
    ) -> Result<Tags<'static>, Rejection> {
        let mut tags = BTreeMap::new();
        for (name, value) in self.levels.iter().chain(parts) {
            if *name != FIELD {
                tags.insert((*name).to_owned(), (*value).to_owned());
            }
        }
        for (name, pointer) in &self.mapping.message.tags {
            let value = base.string(pointer).ok_or_else(|| missing_tag(name))?;
            tags.insert(name.clone(), value);
        }
        let mut checked = Tags::new();
        for (name, value) in tags {
            if value.is_empty() {
                return Err(missing_tag(&name));
            }
            let value = check_name(
                &format!("the tag {name}"),
                value,
                self.mapping.message.names,
            )?;
            checked.push((check_name("the tag's name", name, Names::Any)?, value));
        }
        Ok(checked)
    }

    fn readings(
        &self,
        base: &Base<'_>,
        field: Option<String>,
        tags: &Tags<'_>,
    ) -> Result<Readings, Rejection> {
        let mapping = self.mapping;
        let mut readings = Readings::default();
        let is_scalar = !base.value.is_object() && !base.value.is_array();
        let one = match mapping.naming {
            Naming::Topic => part(self.levels).map(Cow::from),
            Naming::Member => field.map(Cow::from),
            Naming::Nothing => Some(Cow::from(VALUE)),
            Naming::All if is_scalar => Some(Cow::from(VALUE)),
            Naming::All | Naming::Table => None,
        };
        if let Some(name) = one {
            let value = self.value_of(base, is_scalar);
            self.add(&name, &value, true, tags, &mut readings)?;
            return Ok(readings);
        }
        match (mapping.message.fields.as_deref(), base.value) {
            (Some(Fields::Named(fields)), _) => {
                for (name, pointer) in fields {
                    let value = match base.find(pointer) {
                        Some(Found::Value(value)) => value.clone(),
                        Some(Found::Key(key)) => Json::String(key.to_owned()),
                        None => Json::Null,
                    };
                    self.add(name, &value, true, tags, &mut readings)?;
                }
            }
            (_, Json::Object(_)) => self.members(base, tags, &mut readings)?,
            _ => {
                return Err(Rejection::new(
                    Reason::NotObject,
                    "the sample is an array in an array",
                ));
            }
        }
        Ok(readings)
    }

    /// The value of a sample that holds one; null if there is none.
    fn value_of(&self, base: &Base<'_>, is_scalar: bool) -> Json {
        let default = Pointer::Sample(vec![VALUE.to_owned()]);
        match self.mapping.message.value.as_deref() {
            None if is_scalar => base.value.clone(),
            pointer => match base.find(pointer.unwrap_or(&default)) {
                Some(Found::Value(value)) => value.clone(),
                Some(Found::Key(key)) => Json::String(key.to_owned()),
                None => Json::Null,
            },
        }
    }

    /// Adds all members of a sample, the nested ones under joined names.
    fn members(
        &self,
        base: &Base<'_>,
        tags: &Tags<'_>,
        readings: &mut Readings,
    ) -> Result<(), Rejection> {
        let message = &self.mapping.message;
        let used = message.tags.values().map(|pointer| &**pointer);
        let times = message.time.iter().flat_map(|times| &times.0);
        let used: Vec<String> = used.chain(times).map(|at| base.place_of(at)).collect();
        let mut open = vec![(base.place.clone(), String::new(), base.value)];
        while let Some((place, prefix, value)) = open.pop() {
            let Json::Object(members) = value else {
                continue;
            };
            // The stack returns the last first.
            for (key, value) in members.iter().rev() {
                let place = format!("{place}/{}", escaped(key));
                let is_time = message.time.is_none() && prefix.is_empty() && is_time_name(key);
                if is_time || used.contains(&place) {
                    continue;
                }
                let name = match prefix.as_str() {
                    "" => key.clone(),
                    prefix => format!("{prefix}_{key}"),
                };
                if value.is_object() {
                    open.push((place, name, value));
                } else if fits(
                    &name,
                    message.include.as_deref(),
                    message.exclude.as_deref(),
                ) {
                    self.add(&name, value, false, tags, readings)?;
                }
            }
        }
        Ok(())
    }

    /// Adds a reading, or notes what is wrong with it. The error is one of the whole sample.
    pub(super) fn add(
        &self,
        name: &str,
        json: &Json,
        is_named: bool,
        tags: &Tags<'_>,
        readings: &mut Readings,
    ) -> Result<(), Rejection> {
        let message = &self.mapping.message;
        let field = self.mapping.fields.of(name);
        let value = match read(json, field, &message.missing, is_named) {
            Ok(Read::Value(value)) => value,
            Ok(Read::Absent) => return Ok(()),
            Ok(Read::Skipped) => {
                readings.skipped += 1;
                return Ok(());
            }
            Err(rejection) => {
                readings.bad.push((name.to_owned(), rejection));
                return Ok(());
            }
        };
        let renamed = message.rename.get(name).map_or(name, String::as_str);
        let name = if message.snake {
            snake(renamed)
        } else {
            renamed.to_owned()
        };
        let name = check_name("the field's name", name, message.names)?;
        let is_taken = tags.iter().any(|(tag, _)| *tag == name);
        if is_taken || matches!(name.as_str(), "time" | "timestamp") {
            let detail = format!("a field can't be called {name:?}: a row has its own {name}");
            return Err(Rejection::new(Reason::BadName, detail));
        }
        if readings.values.insert(name.clone(), value).is_some() {
            let detail = format!("two members give a field {name:?}");
            return Err(Rejection::new(Reason::BadName, detail));
        }
        Ok(())
    }

    fn time(&self, base: &Base<'_>) -> Result<Time, Rejection> {
        let mapping = self.mapping;
        let arrival = Time {
            timestamp: self.arrived,
            from: None,
            has_ignored: false,
        };
        let Some(pointers) = mapping.message.time.as_deref() else {
            return self.default_time(base, arrival);
        };
        for pointer in &pointers.0 {
            let value = match base.find(pointer) {
                Some(Found::Value(value)) => Cow::Borrowed(value),
                Some(Found::Key(key)) => Cow::Owned(Json::String(key.to_owned())),
                None => continue,
            };
            return Ok(Time {
                timestamp: time::read(&value, &mapping.time_format, mapping.zone)?,
                from: Some(base.place_of(pointer)),
                has_ignored: false,
            });
        }
        Ok(arrival)
    }

    /// The time of the usual members. All but `timestamp` are ignored if they hold no date.
    fn default_time(&self, base: &Base<'_>, mut time: Time) -> Result<Time, Rejection> {
        let mapping = self.mapping;
        let Json::Object(members) = base.value else {
            return Ok(time);
        };
        for name in TIMES {
            let found = members
                .iter()
                .find(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_null());
            let Some((key, value)) = found else { continue };
            let from = Some(format!("{}/{}", base.place, escaped(key)));
            if key == "timestamp" || mapping.time_format != model::pipeline::TimeFormat::Auto {
                time.timestamp = time::read(value, &mapping.time_format, mapping.zone)?;
                time.from = from;
                return Ok(time);
            }
            match time::auto(value, mapping.zone) {
                Ok(timestamp) if value.is_string() || timestamp.seconds() >= EARLIEST => {
                    time.timestamp = timestamp;
                    time.from = from;
                    return Ok(time);
                }
                Ok(_) | Err(TimeError::Syntax) => time.has_ignored = true,
                // A proper time that is out of range.
                Err(_) => {
                    return time::read(value, &mapping.time_format, mapping.zone).map(|_| time);
                }
            }
        }
        Ok(time)
    }
}

/// What names the field among parts of a topic or a name.
pub(super) fn part<'a>(parts: &[(&str, &'a str)]) -> Option<&'a str> {
    let found = parts.iter().find(|(name, _)| *name == FIELD);
    found.map(|(_, part)| *part)
}

fn is_time_name(key: &str) -> bool {
    TIMES.iter().any(|name| key.eq_ignore_ascii_case(name))
}

pub(super) fn fits(
    name: &str,
    include: Option<&OneOrMore<NameGlob>>,
    exclude: Option<&OneOrMore<NameGlob>>,
) -> bool {
    let any = |globs: &OneOrMore<NameGlob>| globs.0.iter().any(|glob| glob.is_match(name));
    include.is_none_or(any) && !exclude.is_some_and(any)
}

fn missing_tag(name: &str) -> Rejection {
    Rejection::new(Reason::MissingTag, format!("there is no tag {name}"))
}

/// One rejection for the fields of a sample that can't be used; the first gives the reason.
fn of_fields(bad: Vec<(String, Rejection)>) -> Rejection {
    let reason = bad
        .first()
        .map_or(Reason::BadValue, |(_, first)| first.reason);
    let parts: Vec<_> = bad
        .into_iter()
        .map(|(name, rejection)| format!("{name}: {}", rejection.detail))
        .collect();
    Rejection::new(reason, parts.join("; "))
}

/// A name of letters, digits, `-`, `.` and `_`: each other character becomes `_`.
fn snake(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    name.chars()
        .map(|c| if allowed(c) { c } else { '_' })
        .collect()
}

fn check_name(what: &str, name: String, names: Names) -> Result<Name<'static>, Rejection> {
    let checked = match names {
        Names::Strict => Name::strict(name),
        Names::Any => Name::new(name),
    };
    checked.map_err(|error| Rejection::new(Reason::BadName, format!("{what} {error}")))
}
