//! Encoding dead letters as list elements.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Reason, Rejection};
use crate::stage::Stage;
use crate::time::Timestamp;

/// How much of a payload that is too large is kept, in bytes.
pub const KEPT_OF_TOO_LARGE: usize = 1024;
/// How much of a topic and of a detail is kept, in bytes; both may hold what a device sent.
const KEPT_OF_TEXT: usize = 2048;

/// Length and hash of a payload of which only the beginning is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadDigest {
    /// Length of the whole payload, in bytes.
    pub length: usize,
    /// SHA-256 of the whole payload.
    pub sha256: [u8; 32],
}

impl PayloadDigest {
    /// Length and hash of this payload.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        Self {
            length: payload.len(),
            sha256: Sha256::digest(payload).into(),
        }
    }
}

/// Encodes an input that `stage` rejected as an element of the list of dead letters (JSON). `topic` is
/// the MQTT topic, or the name of the list that a foreign element was found in. `time` is when the input
/// arrived at the stage.
#[must_use]
pub fn encode(
    stage: Stage,
    rejection: &Rejection,
    topic: &str,
    payload: &[u8],
    time: Timestamp,
) -> Vec<u8> {
    let detail = clipped(&rejection.detail);
    if rejection.reason == Reason::TooLarge {
        let kept = &payload[..payload.len().min(KEPT_OF_TOO_LARGE)];
        return encode_truncated(
            stage,
            detail,
            topic,
            kept,
            &PayloadDigest::of(payload),
            time,
        );
    }
    let list = |name: &str, items: &[String]| match items {
        [] => String::new(),
        items => format!(r#","{name}":{}"#, Value::from(items)),
    };
    let lists = list("places", &rejection.places) + &list("stores", &rejection.stores);
    element(
        stage,
        rejection.reason,
        detail,
        topic,
        payload,
        &lists,
        time,
    )
}

/// Encodes an input that `stage` rejected as [`Reason::TooLarge`] and of whose payload only the
/// beginning is there; `whole` describes all of it.
#[must_use]
pub fn encode_truncated(
    stage: Stage,
    detail: &str,
    topic: &str,
    kept: &[u8],
    whole: &PayloadDigest,
    time: Timestamp,
) -> Vec<u8> {
    let mut detail = format!("{detail}; length {}, sha256 ", whole.length);
    for byte in whole.sha256 {
        let _ = write!(detail, "{byte:02x}");
    }
    element(stage, Reason::TooLarge, &detail, topic, kept, "", time)
}

fn element(
    stage: Stage,
    reason: Reason,
    detail: &str,
    topic: &str,
    payload: &[u8],
    lists: &str,
    time: Timestamp,
) -> Vec<u8> {
    let (payload, encoding) = match std::str::from_utf8(payload) {
        Ok(text) => (json_string(text), ""),
        Err(_) => (
            json_string(&STANDARD.encode(payload)),
            r#","encoding":"base64""#,
        ),
    };
    let (detail, topic) = (json_string(detail), json_string(clipped(topic)));
    let (nanos, random) = (time.nanos(), fastrand::u32(..));
    let element = format!(
        r#"{{"id":"{nanos:x}-{random:08x}","time":"{time}","stage":"{stage}","reason":"{reason}","detail":{detail},"topic":{topic},"payload":{payload}{encoding}{lists}}}"#
    );
    element.into_bytes()
}

fn json_string(text: &str) -> String {
    Value::from(text).to_string()
}

fn clipped(text: &str) -> &str {
    &text[..text.floor_char_boundary(KEPT_OF_TEXT)]
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{PayloadDigest, Reason, Rejection, encode, encode_truncated};
    use crate::stage::Stage;
    use crate::time::Timestamp;

    fn letter(reason: Reason, topic: &str, payload: &[u8]) -> Value {
        let time = Timestamp::from_millis(1_762_093_293_512);
        let rejection = Rejection::new(reason, "wh\"y");
        let letter = encode(Stage::Ingester, &rejection, topic, payload, time);
        serde_json::from_slice(&letter).unwrap()
    }

    #[test]
    fn origin_reason_and_bytes_are_kept() {
        let letter = letter(Reason::NotJson, "rigs/R/measurements/a\n", b"{\"val");
        assert_eq!(letter["stage"], "ingester");
        assert_eq!(letter["reason"], "not_json");
        assert_eq!(letter["detail"], "wh\"y");
        assert_eq!(letter["topic"], "rigs/R/measurements/a\n");
        assert_eq!(letter["payload"], "{\"val");
        assert_eq!(letter["time"], "2025-11-02T14:21:33.512Z");
        assert!(letter["id"].as_str().is_some_and(|id| !id.is_empty()));
        assert!(letter.get("encoding").is_none());
    }

    #[test]
    fn members_are_in_the_documented_order() {
        let time = Timestamp::from_millis(0);
        let rejection = Rejection::new(Reason::NotJson, "d");
        let letter = encode(Stage::Sink, &rejection, "t", &[0xff], time);
        let element = String::from_utf8(letter).unwrap();
        let (id, rest) = element.split_once(r#"","time""#).unwrap();
        assert!(id.starts_with(r#"{"id":"0-"#), "{element}");
        assert_eq!(
            rest,
            r#":"1970-01-01T00:00:00Z","stage":"sink","reason":"not_json","detail":"d","topic":"t","payload":"/w==","encoding":"base64"}"#
        );
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_kept_as_base64() {
        let letter = letter(Reason::NotJson, "t", &[0xff, 0x00, 0xfe]);
        assert_eq!(letter["encoding"], "base64");
        assert_eq!(letter["payload"], "/wD+");
    }

    #[test]
    fn too_large_payload_is_kept_as_its_first_kibibyte_length_and_hash() {
        let letter = letter(Reason::TooLarge, "t", &vec![b'a'; 70_000]);
        assert_eq!(letter["payload"].as_str().unwrap().len(), 1024);
        let detail = letter["detail"].as_str().unwrap();
        assert!(detail.contains("length 70000, sha256 "), "{detail}");
    }

    #[test]
    fn payload_that_was_never_held_as_a_whole_has_its_length_and_hash() {
        let time = Timestamp::from_millis(0);
        let whole = PayloadDigest::of(b"abc");
        let letter = encode_truncated(Stage::Ingester, "d", "t", b"a", &whole, time);
        let letter: Value = serde_json::from_slice(&letter).unwrap();
        assert_eq!(letter["payload"], "a");
        assert_eq!(letter["reason"], "too_large");
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(letter["detail"], format!("d; length 3, sha256 {sha256}"));
    }

    #[test]
    fn huge_topic_is_clipped() {
        let letter = letter(Reason::BadTopic, &"\u{e9}".repeat(30_000), b"");
        assert_eq!(letter["topic"].as_str().unwrap().len(), 2048);
    }
}
