//! Opaque positions in a series' rows.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Timestamp;

/// The first byte of a cursor, in front of a time.
const VERSION: u8 = 1;

/// Writes the time at which the next page begins.
pub(crate) fn encode(time: Timestamp) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&time.nanos().to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode(text: &str) -> Option<Timestamp> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (version, time) = bytes.split_first()?;
    let time = <[u8; 8]>::try_from(time).ok()?;
    (*version == VERSION).then(|| Timestamp::from_nanos(i64::from_be_bytes(time)))
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use model::Timestamp;

    #[test]
    fn cursors_are_read_back_and_others_refused() {
        for nanos in [0, -1, i64::MAX, i64::MIN, 1_762_093_293_123_456_789] {
            let time = Timestamp::from_nanos(nanos);
            assert_eq!(decode(&encode(time)), Some(time));
        }
        for other in ["", "AA", "not a cursor", "AgAAAAAAAAAA", "AQAAAAAAAAAAAA"] {
            assert_eq!(decode(other), None, "{other}");
        }
    }
}
