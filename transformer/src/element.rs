//! Decodes an element of the raw list.

use model::Layout;
use model::dead_letter::{Reason, Rejection};
use model::element::RawSample;
use model::limits::TimeLimits;

/// Decodes an element. Timestamps of external elements are checked against their own `ingest_time`, not
/// against a clock, so that the same list always gives the same rows.
pub fn decode<'a>(
    layout: Layout,
    element: &'a [u8],
    times: &TimeLimits,
) -> Result<RawSample<'a>, Rejection> {
    let sample = layout
        .decode_sample(element)
        .map_err(|error| Rejection::new(Reason::BadElement, error))?;
    times.check(sample.timestamp, sample.ingest_time)?;
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::Layout;
    use model::dead_letter::Reason;
    use model::limits::TimeLimits;

    use super::decode;

    fn reason(timestamp: &str) -> Option<Reason> {
        let element = format!(
            r#"{{"rig_id":"R","sensor":"a","timestamp":"{timestamp}","value":1,"ingest_time":"2025-11-02T14:00:00Z"}}"#
        );
        let times = TimeLimits {
            max_future: Duration::from_mins(1),
            max_age: Duration::from_hours(24),
        };
        let read = decode(Layout::Rigs, element.as_bytes(), &times);
        read.err().map(|rejection| rejection.reason)
    }

    #[test]
    fn elements_are_checked_against_their_arrival() {
        assert_eq!(reason("2025-11-02T14:00:00Z"), None);
        assert_eq!(reason("2025-11-02T14:01:00Z"), None);
        assert_eq!(reason("2025-11-02T14:01:00.001Z"), Some(Reason::Future));
        assert_eq!(reason("2025-11-01T14:00:00Z"), None);
        assert_eq!(reason("2025-11-01T13:59:59.999Z"), Some(Reason::Past));
        assert_eq!(reason("today"), Some(Reason::BadElement));
    }
}
