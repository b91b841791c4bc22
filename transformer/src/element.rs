//! Reading an element of the raw list.

use std::time::Duration;

use common::dead_letter::{Fault, Reason};
use common::reading::Reading;
use common::wire;

/// The reading in an element. Foreign elements are judged by their own `ingest_time`, never by a
/// clock, so that the same list always gives the same rows.
pub fn decode(
    element: &[u8],
    max_future: Duration,
    max_age: Duration,
) -> Result<Reading<'_>, Fault> {
    let reading =
        wire::decode_reading(element).map_err(|error| Fault::new(Reason::BadElement, error))?;
    check_time(&reading, max_future, max_age)?;
    Ok(reading)
}

fn check_time(reading: &Reading<'_>, max_future: Duration, max_age: Duration) -> Result<(), Fault> {
    let (taken, arrived) = (reading.timestamp, reading.ingest_time);
    if taken > arrived.plus(max_future) {
        let detail = format!("{taken} is more than {max_future:?} ahead of its arrival {arrived}");
        return Err(Fault::new(Reason::Future, detail));
    }
    if taken < arrived.minus(max_age) {
        let detail = format!("{taken} was more than {max_age:?} old at its arrival {arrived}");
        return Err(Fault::new(Reason::Past, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::dead_letter::Reason;

    use super::decode;

    fn reason(timestamp: &str) -> Option<Reason> {
        let element = format!(
            r#"{{"rig_id":"R","sensor":"a","timestamp":"{timestamp}","value":1,"ingest_time":"2025-11-02T14:00:00Z"}}"#
        );
        let (future, age) = (Duration::from_mins(1), Duration::from_hours(24));
        decode(element.as_bytes(), future, age)
            .err()
            .map(|fault| fault.reason)
    }

    #[test]
    fn elements_are_judged_by_their_arrival() {
        assert_eq!(reason("2025-11-02T14:00:00Z"), None);
        assert_eq!(reason("2025-11-02T14:01:00Z"), None);
        assert_eq!(reason("2025-11-02T14:01:00.001Z"), Some(Reason::Future));
        assert_eq!(reason("2025-11-01T14:00:00Z"), None);
        assert_eq!(reason("2025-11-01T13:59:59.999Z"), Some(Reason::Past));
        assert_eq!(reason("today"), Some(Reason::BadElement));
    }
}
