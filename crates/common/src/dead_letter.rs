//! Dead letters: inputs that can't be used, kept with reason, origin and original bytes.

mod letter;

use std::fmt::{self, Write as _};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use metrics::counter;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::letter::{Letter, LetterError};
use crate::metric;
use crate::time::Timestamp;

/// How much of a payload that is too large is kept, in bytes.
const KEPT_OF_TOO_LARGE: usize = 1024;
/// How much of a topic and of a detail is kept, in bytes; both may come from outside.
const KEPT_OF_TEXT: usize = 2048;

/// Why an input can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The payload isn't JSON.
    NotJson,
    /// It is JSON, but no object.
    NotObject,
    /// The topic isn't that of a sensor of a rig.
    BadTopic,
    /// The rig or the sensor has no proper name.
    BadName,
    /// The timestamp can't be read.
    BadTimestamp,
    /// The value is no finite number.
    BadValue,
    /// There is no value.
    MissingValue,
    /// The timestamp is too far ahead of its arrival.
    Future,
    /// The timestamp is too old.
    Past,
    /// The payload is larger than `MAX_PAYLOAD`.
    TooLarge,
    /// An element of a list that isn't one of Rigline's.
    BadElement,
    /// Handling it panicked.
    Poison,
    /// The store refused the row.
    StoreRejected,
}

impl Reason {
    /// The name used on the wire and as a metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotObject => "not_object",
            Self::BadTopic => "bad_topic",
            Self::BadName => "bad_name",
            Self::BadTimestamp => "bad_timestamp",
            Self::BadValue => "bad_value",
            Self::MissingValue => "missing_value",
            Self::Future => "future",
            Self::Past => "past",
            Self::TooLarge => "too_large",
            Self::BadElement => "bad_element",
            Self::Poison => "poison",
            Self::StoreRejected => "store_rejected",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The kind of fault.
    pub reason: Reason,
    /// What exactly, for people.
    pub detail: String,
}

impl Fault {
    /// A fault with its detail.
    #[must_use]
    pub fn new(reason: Reason, detail: impl fmt::Display) -> Self {
        Self {
            reason,
            detail: detail.to_string(),
        }
    }
}

#[derive(Serialize)]
struct Wire<'a> {
    id: String,
    time: String,
    stage: &'a str,
    reason: Reason,
    detail: &'a str,
    topic: &'a str,
    payload: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'a str>,
}

/// The element of `dead_letters` for an input that `stage` can't use. `topic` is the MQTT topic,
/// or the name of the list that a foreign element was found in. Counts it in the metrics.
#[must_use]
pub fn encode(stage: &str, fault: &Fault, topic: &str, payload: &[u8], time: Timestamp) -> Vec<u8> {
    counter!(metric::DEAD_LETTERS, "reason" => fault.reason.as_str()).increment(1);
    tracing::debug!(reason = %fault.reason, detail = fault.detail, topic, "dead letter");
    let mut detail = clipped(&fault.detail).to_owned();
    let mut kept = payload;
    if fault.reason == Reason::TooLarge {
        kept = &payload[..payload.len().min(KEPT_OF_TOO_LARGE)];
        detail = format!(
            "{detail}; length {}, sha256 {}",
            payload.len(),
            hex_digest(payload)
        );
    }
    let (payload, encoding) = match std::str::from_utf8(kept) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (STANDARD.encode(kept), Some("base64")),
    };
    let wire = Wire {
        id: format!("{:x}-{:08x}", time.nanos(), fastrand::u32(..)),
        time: time.to_string(),
        stage,
        reason: fault.reason,
        detail: &detail,
        topic: clipped(topic),
        payload: &payload,
        encoding,
    };
    serde_json::to_vec(&wire).unwrap_or_default()
}

fn clipped(text: &str) -> &str {
    &text[..text.floor_char_boundary(KEPT_OF_TEXT)]
}

fn hex_digest(payload: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(payload) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{Fault, Reason, encode};
    use crate::time::Timestamp;

    fn letter(reason: Reason, topic: &str, payload: &[u8]) -> Value {
        let time = Timestamp::from_millis(1_762_093_293_512);
        let bytes = encode("ingester", &Fault::new(reason, "why"), topic, payload, time);
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn keeps_origin_reason_and_bytes() {
        let letter = letter(Reason::NotJson, "rigs/R/measurements/a", b"{\"val");
        assert_eq!(letter["stage"], "ingester");
        assert_eq!(letter["reason"], "not_json");
        assert_eq!(letter["detail"], "why");
        assert_eq!(letter["topic"], "rigs/R/measurements/a");
        assert_eq!(letter["payload"], "{\"val");
        assert_eq!(letter["time"], "2025-11-02T14:21:33.512Z");
        assert!(letter["id"].as_str().is_some_and(|id| !id.is_empty()));
        assert!(letter.get("encoding").is_none());
    }

    #[test]
    fn bytes_that_are_no_text_are_kept_as_base64() {
        let letter = letter(Reason::NotJson, "t", &[0xff, 0x00, 0xfe]);
        assert_eq!(letter["encoding"], "base64");
        assert_eq!(letter["payload"], "/wD+");
    }

    #[test]
    fn of_a_payload_too_large_the_first_kibibyte_length_and_hash_are_kept() {
        let letter = letter(Reason::TooLarge, "t", &vec![b'a'; 70_000]);
        assert_eq!(letter["payload"].as_str().unwrap().len(), 1024);
        let detail = letter["detail"].as_str().unwrap();
        assert!(detail.contains("length 70000, sha256 "), "{detail}");
    }

    #[test]
    fn a_huge_topic_is_clipped() {
        let letter = letter(Reason::BadTopic, &"\u{e9}".repeat(30_000), b"");
        assert_eq!(letter["topic"].as_str().unwrap().len(), 2048);
    }
}
