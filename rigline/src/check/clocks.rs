//! The difference between this machine's clock and a server's.

use std::time::Duration;

use model::Timestamp;

use super::line::Line;

/// A larger difference is worth a warning.
const NOTABLE: Duration = Duration::from_secs(1);
const NEXT: &str = "synchronise both clocks, for instance with NTP";

/// Compares a server's clock with ours. `resolution` is how coarse the server's time is. Above half of
/// `max_future` the ingester takes nothing from a Redis with another time.
pub(super) fn line(
    check: &'static str,
    (before, after): (Timestamp, Timestamp),
    server: Timestamp,
    resolution: Duration,
    max_future: Duration,
) -> Line {
    // The server read its clock between the two.
    let (latest, earliest) = (server.plus(resolution), server);
    let (ahead, by) = if earliest > after {
        ("ahead of", earliest.since(after))
    } else {
        ("behind", before.since(latest))
    };
    if by == Duration::ZERO {
        return Line::ok(check, "agrees with this machine's");
    }
    let by_ms = Duration::from_millis(u64::try_from(by.as_millis()).unwrap_or(u64::MAX));
    let detail = format!("{by_ms:?} {ahead} this machine's");
    if by > max_future / 2 {
        Line::bad(check, detail, NEXT)
    } else if by > NOTABLE {
        Line::warn(check, detail, NEXT)
    } else {
        Line::ok(check, detail)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::Timestamp;

    use super::super::line::Status;
    use super::line;

    #[test]
    fn only_a_difference_that_is_certain_counts() {
        let second = Duration::from_secs(1);
        let start = Timestamp::parse("2027-01-01T00:00:10Z").unwrap();
        let asked = (start, start.plus(second / 10));
        let of = |server, resolution| line("clock", asked, server, resolution, second * 60);
        let exact = Duration::ZERO;
        assert_eq!(of(start.plus(second / 20), exact).status, Status::Ok);
        // A time that was rounded down to a second may be ours.
        let agrees = of(start.minus(second / 2), second);
        assert_eq!(agrees.detail, "agrees with this machine's");
        let behind = of(start.minus(second * 5), exact);
        assert_eq!(behind.detail, "5s behind this machine's");
        assert_eq!(behind.status, Status::Warn);
        let ahead = of(start.plus(second * 40), second);
        assert_eq!(ahead.detail, "39.9s ahead of this machine's");
        assert_eq!(ahead.status, Status::Bad);
    }
}
