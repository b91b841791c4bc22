//! When reports are made.

use std::time::Duration;

use model::Timestamp;

/// When the next report is due: now, if there is none of the present interval, otherwise at the start of the next one.
/// Intervals are multiples of `every` since 1970 in UTC. Of several that were missed, one report is made.
pub(super) fn due(now: Timestamp, last: Option<Timestamp>, every: Duration) -> Timestamp {
    let interval = now.tick(every);
    match last {
        Some(last) if last >= interval => interval.plus(every),
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::Timestamp;

    use super::due;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(time: &str) -> Timestamp {
        Timestamp::parse(&format!("2026-01-05T{time}Z")).unwrap()
    }

    #[test]
    fn report_is_due_at_full_hours_and_at_once_if_one_was_missed() {
        let cases = [
            // There is none yet.
            ("10:20:30", None, "10:20:30"),
            ("10:00:00", None, "10:00:00"),
            // There is one of this hour.
            ("10:20:30", Some("10:00:00"), "11:00:00"),
            ("10:20:30", Some("10:20:30"), "11:00:00"),
            ("10:59:59.999", Some("10:00:07"), "11:00:00"),
            // It was missed, once or many times.
            ("10:20:30", Some("09:59:59"), "10:20:30"),
            ("10:20:30", Some("02:00:00"), "10:20:30"),
            // The hour begins.
            ("11:00:00", Some("10:00:00"), "11:00:00"),
            // The clock was set back.
            ("10:20:30", Some("15:00:00"), "11:00:00"),
        ];
        for (now, last, expected) in cases {
            let found = due(at(now), last.map(at), HOUR);
            assert_eq!(found, at(expected), "{now} {last:?}");
        }
    }

    #[test]
    fn each_interval_of_a_day_has_one_report() {
        for every in [HOUR, Duration::from_secs(1_700)] {
            let (mut now, end) = (at("00:00:01"), at("23:59:59"));
            let mut last = None;
            let mut count = 0;
            loop {
                now = due(now, last, every);
                if now > end {
                    break;
                }
                assert!(last.is_none_or(|last: Timestamp| last.tick(every) < now.tick(every)));
                last = Some(now);
                count += 1;
                // It takes a while to make it.
                now = now.plus(Duration::from_secs(2));
            }
            let intervals = end.since(at("00:00:00")).as_secs() / every.as_secs() + 1;
            assert!((intervals..=intervals + 1).contains(&count), "{count}");
        }
    }
}
