//! Decoding dead letters.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::{Handled, Reason};
use crate::stage::Stage;
use crate::time::Timestamp;

/// Why an element of `dead_letters` can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeadLetterError {
    /// The element isn't in Rigline's format.
    #[error("not a dead letter of Rigline: {0}")]
    Foreign(String),
    /// Only a part of the payload was kept.
    #[error("the payload was too large, and only its first KiB was kept")]
    Clipped,
    /// The payload wasn't kept.
    #[error("it was discarded")]
    Discarded,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DeadLetter {
    /// Identifies it.
    pub id: String,
    /// When it was created, RFC 3339.
    pub time: String,
    /// The stage that rejected the input.
    pub stage: Stage,
    /// Why the input can't be used.
    pub reason: Reason,
    /// What exactly is wrong, for people.
    pub detail: String,
    /// Where the input came from: an MQTT topic, or the name of a list.
    pub topic: String,
    /// The input, as it is or, if `encoding` says so, as base64.
    pub payload: String,
    /// `base64` for bytes that are not UTF-8.
    pub encoding: Option<String>,
    /// If only parts of the input can't be used: the pointers to them.
    #[serde(default)]
    pub places: Vec<String>,
    /// The stores that refused a row, if its pipeline has several; a replay goes to these only.
    #[serde(default)]
    pub stores: Vec<String>,
    /// When it was replayed, RFC 3339.
    pub replayed: Option<String>,
    /// When it was discarded, RFC 3339. Its payload is gone then.
    pub discarded: Option<String>,
}

impl DeadLetter {
    /// Decodes an element of the list.
    pub fn decode(element: &[u8]) -> Result<Self, DeadLetterError> {
        let letter: Self = serde_json::from_slice(element)
            .map_err(|error| DeadLetterError::Foreign(error.to_string()))?;
        letter.arrived()?;
        Ok(letter)
    }

    /// When it was created, which is when its input arrived at the stage.
    pub fn arrived(&self) -> Result<Timestamp, DeadLetterError> {
        Timestamp::parse(&self.time).map_err(|error| DeadLetterError::Foreign(error.to_string()))
    }

    /// The input's original bytes.
    pub fn input(&self) -> Result<Cow<'_, [u8]>, DeadLetterError> {
        if self.discarded.is_some() {
            return Err(DeadLetterError::Discarded);
        }
        if self.reason == Reason::TooLarge {
            return Err(DeadLetterError::Clipped);
        }
        match self.encoding.as_deref() {
            None => Ok(Cow::Borrowed(self.payload.as_bytes())),
            Some("base64") => STANDARD
                .decode(&self.payload)
                .map(Cow::Owned)
                .map_err(|error| DeadLetterError::Foreign(error.to_string())),
            Some(other) => Err(DeadLetterError::Foreign(format!("encoding {other:?}"))),
        }
    }

    /// What was done about it, if anything.
    #[must_use]
    pub const fn handled(&self) -> Option<Handled> {
        match (&self.discarded, &self.replayed) {
            (Some(_), _) => Some(Handled::Discarded),
            (None, Some(_)) => Some(Handled::Replayed),
            (None, None) => None,
        }
    }

    /// The element that is left of it if it is discarded at this time: everything but its payload.
    #[must_use]
    pub fn discarded(&self, time: Timestamp) -> Vec<u8> {
        let text = |text: &str| Value::from(text).to_string();
        let (id, created, detail, topic) = (
            text(&self.id),
            text(&self.time),
            text(&self.detail),
            text(&self.topic),
        );
        let (stage, reason) = (self.stage, self.reason);
        let element = format!(
            r#"{{"id":{id},"time":{created},"stage":"{stage}","reason":"{reason}","detail":{detail},"topic":{topic},"payload":"","discarded":"{time}"}}"#
        );
        element.into_bytes()
    }

    /// The element with a mark that it was replayed at this time. Everything else in it stays as it
    /// was, byte for byte.
    #[must_use]
    pub fn marked(element: &[u8], time: Timestamp) -> Vec<u8> {
        let mut marked = element.trim_ascii_end().to_vec();
        marked.pop();
        marked.extend_from_slice(format!(r#","replayed":"{time}"}}"#).as_bytes());
        marked
    }
}

#[cfg(test)]
mod tests {
    use super::{DeadLetter, DeadLetterError, Handled};
    use crate::dead_letter::{Reason, Rejection, encode};
    use crate::stage::Stage;
    use crate::time::Timestamp;

    fn now() -> Timestamp {
        Timestamp::from_millis(1_762_093_293_512)
    }

    fn letter(reason: Reason, payload: &[u8]) -> Vec<u8> {
        let rejection = Rejection::new(reason, "why");
        encode(Stage::Ingester, &rejection, "topic", payload, now())
    }

    #[test]
    fn encoded_letters_decode() {
        for payload in [&b"{\"value\":\"}\"}"[..], b"", &[0xff, 0x00], b"\n\t{"] {
            let element = letter(Reason::NotJson, payload);
            let read = DeadLetter::decode(&element).unwrap();
            assert_eq!(&*read.input().unwrap(), payload);
            assert_eq!((read.arrived(), read.replayed.clone()), (Ok(now()), None));
            let marked = DeadLetter::marked(&element, now());
            let again = DeadLetter::decode(&marked).unwrap();
            assert_eq!(again.replayed.as_deref(), Some("2025-11-02T14:21:33.512Z"));
            let without = DeadLetter {
                replayed: None,
                ..again
            };
            assert_eq!(without, read);
        }
    }

    #[test]
    fn refusing_stores_are_kept() {
        let mut rejection = Rejection::new(Reason::StoreRejected, "why");
        rejection.stores = vec!["mongodb".to_owned(), "influx-2".to_owned()];
        let element = encode(Stage::Sink, &rejection, "t", b"{}", now());
        let letter = DeadLetter::decode(&element).unwrap();
        assert_eq!(
            (letter.stores, letter.places),
            (rejection.stores, Vec::new())
        );
    }

    #[test]
    fn discarded_letters_keep_everything_but_the_payload() {
        let rejection = Rejection::new(Reason::BadValue, "wh\"y\n");
        for payload in [&b"{\"value\":\"x\"}"[..], &[0xff], b""] {
            let element = encode(Stage::Sink, &rejection, "t\"\u{1}", payload, now());
            let before = DeadLetter::decode(&element).unwrap();
            let left = DeadLetter::decode(&before.discarded(now())).unwrap();
            assert_eq!(left.handled(), Some(Handled::Discarded));
            assert_eq!(left.input(), Err(DeadLetterError::Discarded));
            let expected = DeadLetter {
                payload: String::new(),
                encoding: None,
                discarded: Some("2025-11-02T14:21:33.512Z".to_owned()),
                ..before
            };
            assert_eq!(left, expected);
        }
    }

    #[test]
    fn clipped_and_foreign_letters_are_errors() {
        let read = DeadLetter::decode(&letter(Reason::TooLarge, &[b'a'; 5_000])).unwrap();
        assert_eq!(read.input(), Err(DeadLetterError::Clipped));
        for foreign in [&b"hello"[..], b"{}", b"[1]"] {
            let read = DeadLetter::decode(foreign);
            assert!(matches!(read, Err(DeadLetterError::Foreign(_))), "{read:?}");
        }
    }
}
