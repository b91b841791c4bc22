//! Validates dead letters again, as the stages of their pipeline do.

use ingester::decoder::{Decoder, MappedDecoder};
use ingester::settings::ReadingLimits;
use model::dead_letter::{DeadLetter, Rejection};
use model::pipeline::PipelineFile;
use model::{Layout, Stage, Timestamp};
use queue::list::List;
use queue::{DeadLetterEntry, Replay};
use transformer::element::decode;

/// How the stages of a pipeline validate their inputs.
#[derive(Debug)]
pub(crate) struct Revalidation {
    decoder: Decoder,
    layout: Layout,
}

impl Revalidation {
    /// Of the pipeline `rigs`.
    pub(crate) fn of_rigs(limits: ReadingLimits) -> Self {
        Self {
            decoder: Decoder::Rigs(limits),
            layout: Layout::Rigs,
        }
    }

    /// Of a pipeline of a file.
    pub(crate) fn of_file(file: &PipelineFile) -> Self {
        Self {
            decoder: Decoder::Mapped(Box::new(MappedDecoder::new(file))),
            layout: Layout::Tagged,
        }
    }
}

impl api::StageChecks for Revalidation {
    fn validate(
        &self,
        letter: DeadLetterEntry,
        content: &DeadLetter,
        now: Timestamp,
    ) -> Result<Replay, String> {
        let Self { decoder, layout } = self;
        if let Some(handled) = content.handled() {
            return Err(format!("was {} before", handled.as_str()));
        }
        let input = content.input().map_err(|error| error.to_string())?;
        let arrived = content.arrived().map_err(|error| error.to_string())?;
        let refused = |rejection: Rejection| {
            format!(
                "is refused again: {} ({})",
                rejection.detail, rejection.reason
            )
        };
        let (list, elements) = match content.stage {
            Stage::Alerts => return Err("is of no stage that makes dead letters".to_owned()),
            Stage::Ingester => {
                let (topic, places) = (&content.topic, &content.places);
                let again = decoder.decode_again(topic, &input, arrived, now, places);
                if let Some(rejection) = again.rejection {
                    return Err(refused(rejection));
                }
                if again.elements.is_empty() {
                    return Err("has no reading that the pipeline takes".to_owned());
                }
                (List::Raw, again.elements.into_vec())
            }
            Stage::Transformer => {
                decode(*layout, &input, &decoder.times()).map_err(refused)?;
                (List::Raw, vec![input.into_owned()])
            }
            Stage::Sink => {
                let row = layout
                    .decode_row(&input)
                    .map_err(|error| error.to_string())?;
                let mut element = Vec::with_capacity(192);
                layout.encode_row_for(&row, &content.stores, &mut element);
                (List::Normalized, vec![element])
            }
        };
        Ok(Replay {
            marked: DeadLetter::marked(&letter.element, now),
            entry: letter,
            list,
            elements,
        })
    }

    fn check(&self, topic: &str, payload: &[u8], arrived: Timestamp) -> Option<Rejection> {
        self.decoder.decode(topic, payload, arrived).rejection
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::settings::TimeLimitSettings;
    use ingester::settings::ReadingLimits;
    use model::Stage;
    use model::dead_letter::{DeadLetter, Reason, Rejection, encode};
    use model::time::Timestamp;
    use queue::DeadLetterEntry;
    use queue::list::List;

    use api::StageChecks;

    use super::Revalidation;

    const TOPIC: &str = "rigs/R/measurements/pressure";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis((1_762_093_200 + second) * 1_000)
    }

    /// List and element of a dead letter of second 0, replayed at second 100.
    fn replayed(stage: Stage, reason: Reason, input: &[u8]) -> Result<(List, String), String> {
        let rejection = Rejection::new(reason, "why");
        let element = encode(stage, &rejection, TOPIC, input, at(0));
        let content = DeadLetter::decode(&element).unwrap();
        let limits = ReadingLimits {
            times: TimeLimitSettings {
                max_future: Duration::from_mins(1),
                max_age: Duration::from_hours(1),
            },
            max_payload: 2_000,
        };
        let letter = DeadLetterEntry { place: 0, element };
        let replay = Revalidation::of_rigs(limits).validate(letter, &content, at(100))?;
        let [element] = replay.elements.try_into().unwrap();
        Ok((replay.list, String::from_utf8(element).unwrap()))
    }

    #[test]
    fn reading_from_the_future_is_accepted_once_its_time_has_come() {
        let early = format!(r#"{{"timestamp":"{}","value":7}}"#, at(150));
        let (list, element) = replayed(Stage::Ingester, Reason::Future, early.as_bytes()).unwrap();
        assert_eq!(list, List::Raw);
        assert!(
            element.contains(&format!(r#""timestamp":"{}""#, at(150))),
            "{element}"
        );
        assert!(
            element.contains(&format!(r#""ingest_time":"{}""#, at(100))),
            "{element}"
        );
        let earlier = format!(r#"{{"timestamp":"{}","value":7}}"#, at(200));
        let refused = replayed(Stage::Ingester, Reason::Future, earlier.as_bytes()).unwrap_err();
        assert!(refused.contains("future"), "{refused}");
    }

    #[test]
    fn reading_without_a_timestamp_gets_its_arrival() {
        let (_, element) = replayed(Stage::Ingester, Reason::Poison, br#"{"value":7}"#).unwrap();
        assert!(
            element.contains(&format!(r#""timestamp":"{}""#, at(0))),
            "{element}"
        );
    }

    #[test]
    fn replayed_rows_go_to_the_normalized_list() {
        let row = format!(r#"{{"rig_id":"R","timestamp":"{}","pressure":2.5}}"#, at(0));
        let (list, element) = replayed(Stage::Sink, Reason::StoreRejected, row.as_bytes()).unwrap();
        assert_eq!((list, element), (List::Normalized, row));
        assert!(replayed(Stage::Sink, Reason::BadElement, b"{}").is_err());
        assert!(replayed(Stage::Transformer, Reason::BadElement, b"hello").is_err());
        let element = encode(
            Stage::Sink,
            &Rejection::new(Reason::StoreRejected, "why"),
            TOPIC,
            b"{}",
            at(0),
        );
        let left = DeadLetter::decode(&element).unwrap().discarded(at(1));
        let limits = ReadingLimits {
            times: TimeLimitSettings {
                max_future: Duration::ZERO,
                max_age: Duration::ZERO,
            },
            max_payload: 1,
        };
        let content = DeadLetter::decode(&left).unwrap();
        let entry = DeadLetterEntry {
            place: 0,
            element: left,
        };
        let again = Revalidation::of_rigs(limits).validate(entry, &content, at(1));
        assert_eq!(again, Err("was discarded before".to_owned()));
        let clipped = replayed(Stage::Ingester, Reason::TooLarge, &[b' '; 3_000]).unwrap_err();
        assert!(clipped.contains("first KiB"), "{clipped}");
    }
}
