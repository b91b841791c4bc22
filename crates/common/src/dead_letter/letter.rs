//! Reading dead letters back.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Reason;
use crate::time::Timestamp;

/// Why an element of `dead_letters` can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LetterError {
    /// Not one of ours.
    #[error("no dead letter of Rigline's: {0}")]
    Foreign(String),
    /// Its payload isn't there as a whole.
    #[error("the payload was too large, and only its first KiB was kept")]
    Clipped,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Letter {
    /// Names it.
    pub id: String,
    /// When it was made, RFC 3339.
    pub time: String,
    /// The stage that couldn't use it.
    pub stage: String,
    /// Why.
    pub reason: Reason,
    /// What exactly, for people.
    pub detail: String,
    /// Where it came from: an MQTT topic, or the name of a list.
    pub topic: String,
    /// What it was, as text or, if `encoding` says so, as base64.
    pub payload: String,
    /// `base64` for bytes that are no text.
    pub encoding: Option<String>,
    /// When it was put through once more, RFC 3339.
    pub replayed: Option<String>,
}

impl Letter {
    /// Reads an element of the list.
    pub fn read(element: &[u8]) -> Result<Self, LetterError> {
        let letter: Self = serde_json::from_slice(element)
            .map_err(|error| LetterError::Foreign(error.to_string()))?;
        letter.arrived()?;
        Ok(letter)
    }

    /// When it was made, which is when its input arrived at the stage.
    pub fn arrived(&self) -> Result<Timestamp, LetterError> {
        Timestamp::parse(&self.time).map_err(|error| LetterError::Foreign(error.to_string()))
    }

    /// The input that it was made of.
    pub fn input(&self) -> Result<Cow<'_, [u8]>, LetterError> {
        if self.reason == Reason::TooLarge {
            return Err(LetterError::Clipped);
        }
        match self.encoding.as_deref() {
            None => Ok(Cow::Borrowed(self.payload.as_bytes())),
            Some("base64") => STANDARD
                .decode(&self.payload)
                .map(Cow::Owned)
                .map_err(|error| LetterError::Foreign(error.to_string())),
            Some(other) => Err(LetterError::Foreign(format!("encoding {other:?}"))),
        }
    }

    /// The element with a mark that it was put through once more at this time. Everything else in it
    /// stays as it was, byte for byte.
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
    use super::{Letter, LetterError};
    use crate::dead_letter::{Fault, Reason, encode};
    use crate::time::Timestamp;

    fn now() -> Timestamp {
        Timestamp::from_millis(1_762_093_293_512)
    }

    fn letter(reason: Reason, payload: &[u8]) -> Vec<u8> {
        let fault = Fault::new(reason, "why");
        encode("ingester", &fault, "topic", payload, now())
    }

    #[test]
    fn what_was_written_is_read() {
        for payload in [&b"{\"value\":\"}\"}"[..], b"", &[0xff, 0x00], b"\n\t{"] {
            let element = letter(Reason::NotJson, payload);
            let read = Letter::read(&element).unwrap();
            assert_eq!(&*read.input().unwrap(), payload);
            assert_eq!((read.arrived(), read.replayed.clone()), (Ok(now()), None));
            let marked = Letter::marked(&element, now());
            let again = Letter::read(&marked).unwrap();
            assert_eq!(again.replayed.as_deref(), Some("2025-11-02T14:21:33.512Z"));
            let without = Letter {
                replayed: None,
                ..again
            };
            assert_eq!(without, read);
        }
    }

    #[test]
    fn what_is_not_whole_or_not_ours_is_said() {
        let read = Letter::read(&letter(Reason::TooLarge, &[b'a'; 5_000])).unwrap();
        assert_eq!(read.input(), Err(LetterError::Clipped));
        for foreign in [&b"hello"[..], b"{}", b"[1]"] {
            let read = Letter::read(foreign);
            assert!(matches!(read, Err(LetterError::Foreign(_))), "{read:?}");
        }
    }
}
