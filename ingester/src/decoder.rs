//! Turns messages into elements of the raw list.

use common::guard::guarded;
use model::Timestamp;
use model::dead_letter::{Reason, Rejection};
use model::element::{encode_reading, encode_sample};
use model::limits::TimeLimits;
use model::pipeline::{LimitsTable, PipelineFile};
use model::topic;
use smallvec::SmallVec;

use crate::decode::decode_again;
use crate::mapping::{Mapped, Mapping, RejectedPart};
use crate::settings::ReadingLimits;

/// The most parts of a message that the detail of a dead letter describes.
const SHOWN_PARTS: usize = 5;

/// How a pipeline's messages become elements of the raw list.
#[derive(Debug, Clone)]
pub enum Decoder {
    /// The pipeline `rigs`.
    Rigs(ReadingLimits),
    /// A pipeline that a file describes.
    Mapped(Box<MappedDecoder>),
}

/// The mapping and the limits of a pipeline that a file describes.
#[derive(Debug, Clone)]
pub struct MappedDecoder {
    /// What is taken from a message.
    pub mapping: Mapping,
    /// Limits of a sample's timestamp.
    pub times: TimeLimits,
    /// A larger payload is a dead letter.
    pub max_payload: usize,
}

/// What became of a message.
#[derive(Debug, Default, PartialEq)]
pub struct Decoded {
    /// Elements for the raw list, mostly one.
    pub elements: SmallVec<[Vec<u8>; 1]>,
    /// What can't be used.
    pub rejection: Option<Rejection>,
    /// What was left out on purpose.
    pub left_out: LeftOut,
}

/// Counts of what was left out of messages on purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Members that should hold the time, and hold no date.
    pub ignored_times: u64,
    /// Samples, or messages, that the pipeline doesn't want.
    pub filtered: u64,
    /// Samples without any reading.
    pub empty: u64,
    /// Members that aren't taken because of their type.
    pub skipped: u64,
}

impl std::ops::AddAssign for LeftOut {
    fn add_assign(&mut self, other: Self) {
        self.ignored_times += other.ignored_times;
        self.filtered += other.filtered;
        self.empty += other.empty;
        self.skipped += other.skipped;
    }
}

impl Decoder {
    /// The limits of a timestamp.
    #[must_use]
    pub const fn times(&self) -> TimeLimits {
        match self {
            Self::Rigs(limits) => limits.times.limits(),
            Self::Mapped(mapped) => mapped.times,
        }
    }

    /// What dead letters of this topic share a quota by: the rig, or the topic.
    #[must_use]
    pub fn series<'a>(&self, topic: &'a str) -> &'a str {
        match self {
            Self::Rigs(_) => topic::rig_level(topic),
            Self::Mapped(_) => topic,
        }
    }

    /// Decodes a message that arrived at `arrived`. A panic becomes a rejection.
    #[must_use]
    pub fn decode(&self, topic: &str, payload: &[u8], arrived: Timestamp) -> Decoded {
        self.decode_again(topic, payload, arrived, arrived, &[])
    }

    /// Decodes a message that arrived at `arrived` and is replayed `now`; only these places of it, unless
    /// there are none. The default timestamp is the arrival; the limits are relative to `now`.
    #[must_use]
    pub fn decode_again(
        &self,
        topic: &str,
        payload: &[u8],
        arrived: Timestamp,
        now: Timestamp,
        places: &[String],
    ) -> Decoded {
        let decoded = guarded(|| match self {
            Self::Rigs(limits) => rigs(topic, payload, arrived, now, limits),
            Self::Mapped(mapped) => mapped.decode(topic, payload, arrived, now, places),
        });
        let poison = |panic| Err(Rejection::new(Reason::Poison, panic));
        decoded.unwrap_or_else(poison).unwrap_or_else(rejected)
    }
}

fn rejected(rejection: Rejection) -> Decoded {
    Decoded {
        rejection: Some(rejection),
        ..Decoded::default()
    }
}

fn rigs(
    topic: &str,
    payload: &[u8],
    arrived: Timestamp,
    now: Timestamp,
    limits: &ReadingLimits,
) -> Result<Decoded, Rejection> {
    let decoded = decode_again(topic, payload, arrived, now, limits)?;
    let mut element = Vec::with_capacity(192);
    encode_reading(&decoded.reading, &mut element);
    Ok(Decoded {
        elements: [element].into(),
        left_out: LeftOut {
            ignored_times: u64::from(decoded.has_ignored_time),
            ..LeftOut::default()
        },
        ..Decoded::default()
    })
}

impl MappedDecoder {
    /// The decoder of the pipeline of a file.
    #[must_use]
    pub fn new(file: &PipelineFile) -> Self {
        let max_payload = file.limits.max_payload.as_deref().copied();
        Self {
            mapping: Mapping::new(file),
            times: file.limits.times(),
            max_payload: max_payload.unwrap_or(LimitsTable::MAX_PAYLOAD),
        }
    }

    /// What a message that arrived at `arrived` holds; the limits are relative to `now`.
    pub fn map(
        &self,
        topic: &str,
        payload: &[u8],
        arrived: Timestamp,
        now: Timestamp,
    ) -> Result<Mapped, Rejection> {
        if payload.len() > self.max_payload {
            let detail = format!("the payload has more than {} bytes", self.max_payload);
            return Err(Rejection::new(Reason::TooLarge, detail));
        }
        let mut mapped = self.mapping.map(topic, payload, arrived)?;
        let mut rejected = Vec::new();
        mapped.samples.retain_mut(|part| {
            let Err(rejection) = self.times.check(part.sample.timestamp, now) else {
                return true;
            };
            let place = std::mem::take(&mut part.place);
            rejected.push(RejectedPart { place, rejection });
            false
        });
        mapped.rejected.append(&mut rejected);
        Ok(mapped)
    }

    /// See [`Decoder::decode_again`].
    fn decode(
        &self,
        topic: &str,
        payload: &[u8],
        arrived: Timestamp,
        now: Timestamp,
        places: &[String],
    ) -> Result<Decoded, Rejection> {
        let mapped = self.map(topic, payload, arrived, now)?;
        let is_wanted = |place: &String| places.is_empty() || places.contains(place);
        let mut rejected = mapped.rejected;
        rejected.retain(|part| is_wanted(&part.place));
        let mut decoded = Decoded {
            left_out: LeftOut {
                filtered: mapped.filtered as u64,
                empty: mapped.empty as u64,
                skipped: mapped.skipped as u64,
                ignored_times: 0,
            },
            ..Decoded::default()
        };
        for mapped in mapped.samples {
            if !is_wanted(&mapped.place) {
                continue;
            }
            decoded.left_out.ignored_times += u64::from(mapped.has_ignored_time);
            let mut element = Vec::with_capacity(256);
            encode_sample(&mapped.sample, now, &mut element);
            decoded.elements.push(element);
        }
        decoded.rejection = one_rejection(rejected, decoded.elements.is_empty());
        Ok(decoded)
    }
}

/// One rejection for the parts of a message that can't be used; the first gives the reason. It names the
/// places unless all of the message is rejected.
fn one_rejection(parts: Vec<RejectedPart>, is_all: bool) -> Option<Rejection> {
    let first = parts.first()?;
    let is_whole = is_all && parts.len() == 1 && first.place.is_empty();
    let mut details: Vec<String> = parts
        .iter()
        .take(SHOWN_PARTS)
        .map(|part| match part.place.as_str() {
            "" => part.rejection.detail.clone(),
            place => format!("{place}: {}", part.rejection.detail),
        })
        .collect();
    if parts.len() > SHOWN_PARTS {
        details.push(format!("and {} more parts", parts.len() - SHOWN_PARTS));
    }
    let mut rejection = Rejection::new(first.rejection.reason, details.join("; "));
    if !is_whole {
        rejection.places = parts.into_iter().map(|part| part.place).collect();
        rejection.places.dedup();
    }
    Some(rejection)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::dead_letter::Reason;
    use model::limits::TimeLimits;
    use model::pipeline::PipelineFile;
    use model::{Layout, Timestamp};

    use super::{Decoded, Decoder, LeftOut, MappedDecoder};
    use crate::mapping::Mapping;

    const ARRIVED: i64 = 1_762_093_293;

    fn decoder(file: &str) -> MappedDecoder {
        let file = PipelineFile::parse("test.toml", file, &|_| None).unwrap();
        MappedDecoder {
            mapping: Mapping::new(&file),
            times: TimeLimits {
                max_future: Duration::from_mins(1),
                max_age: Duration::from_hours(1),
            },
            max_payload: 200,
        }
    }

    fn decode(decoder: &MappedDecoder, payload: &str) -> Decoded {
        let arrived = Timestamp::from_millis(ARRIVED * 1_000);
        let decoder = Decoder::Mapped(Box::new(decoder.clone()));
        decoder.decode("plant/a", payload.as_bytes(), arrived)
    }

    /// The values of the elements.
    fn values(decoded: &Decoded) -> Vec<String> {
        let decode = |element: &Vec<u8>| {
            let sample = Layout::Tagged.decode_sample(element).unwrap();
            sample.values[0].1.to_string()
        };
        decoded.elements.iter().map(decode).collect()
    }

    const LIST: &str = "name = \"plant\"\n[source]\ntopic = \"plant/{line}\"\n[message]\neach = \"/r\"\n\
                        fields = { x = \"/v\" }\nwhere = { \"/ok\" = true }\ntime = \"/t\"";

    #[test]
    fn good_parts_of_a_message_go_on_and_one_dead_letter_names_the_others() {
        let decoder = decoder(LIST);
        let payload = format!(
            r#"{{"r":[{{"ok":true,"v":1,"t":{ARRIVED}}},{{"ok":true,"v":[],"t":{ARRIVED}}},{{"ok":false,"v":2}},{{"ok":true,"v":3,"t":{}}},{{"ok":true}}]}}"#,
            ARRIVED + 61
        );
        let outcome = decode(&decoder, &payload);
        assert_eq!(values(&outcome), ["1.0"]);
        let rejection = outcome.rejection.unwrap();
        assert_eq!(rejection.reason, Reason::BadValue);
        assert_eq!(rejection.places, ["/r/1", "/r/3"]);
        assert!(rejection.detail.contains("/r/3: "), "{}", rejection.detail);
        let left_out = LeftOut {
            filtered: 1,
            empty: 1,
            ..LeftOut::default()
        };
        assert_eq!(outcome.left_out, left_out);
    }

    #[test]
    fn replay_takes_only_the_places_that_were_rejected() {
        let decoder = decoder(LIST);
        let arrived = Timestamp::from_millis(ARRIVED * 1_000);
        let payload = format!(
            r#"{{"r":[{{"ok":true,"v":1,"t":{ARRIVED}}},{{"ok":true,"v":2,"t":{ARRIVED}}}]}}"#
        );
        let places = ["/r/1".to_owned()];
        let again = decoder.decode("plant/a", payload.as_bytes(), arrived, arrived, &places);
        assert_eq!(values(&again.unwrap()), ["2.0"]);
    }

    #[test]
    fn message_that_is_rejected_as_a_whole_has_no_places() {
        let decoder = decoder("name = \"plant\"\n[source]\ntopic = \"plant/{line}\"");
        for (payload, reason) in [
            ("{", Reason::NotJson),
            (r#"{"ts":"2000-01-01T00:00:00Z","v":1}"#, Reason::Past),
            (&"1".repeat(201), Reason::TooLarge),
        ] {
            let outcome = decode(&decoder, payload);
            let rejection = outcome.rejection.unwrap();
            assert_eq!((rejection.reason, outcome.elements.len()), (reason, 0));
            assert_eq!(rejection.places, Vec::<String>::new(), "{payload}");
        }
    }
}
