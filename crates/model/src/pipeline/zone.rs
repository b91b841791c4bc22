//! Time zones, for times that are written without one.

use std::str::FromStr;

use chrono::{LocalResult, NaiveDateTime, TimeZone};
use chrono_tz::Tz;

use super::value::read_from_string;
use crate::time::Timestamp;

/// A time zone of the IANA database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(Tz);

/// The name isn't in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such time zone")]
pub struct NoSuchZone;

impl Zone {
    /// Universal time.
    pub const UTC: Self = Self(Tz::UTC);

    /// The instant of a local time. Of one that occurs twice in autumn, it is the first; one that is left
    /// out in spring has none, and neither has one that a [`Timestamp`] can't hold.
    #[must_use]
    pub fn instant(self, local: NaiveDateTime) -> Option<Timestamp> {
        let time = match self.0.from_local_datetime(&local) {
            LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => time,
            LocalResult::None => return None,
        };
        time.timestamp_nanos_opt().map(Timestamp::from_nanos)
    }
}

impl FromStr for Zone {
    type Err = NoSuchZone;

    fn from_str(name: &str) -> Result<Self, NoSuchZone> {
        name.parse().map(Self).map_err(|_| NoSuchZone)
    }
}

read_from_string!(
    Zone,
    "TimeZone",
    "a name of the IANA database: Europe/Berlin"
);

#[cfg(test)]
mod tests {
    use chrono::NaiveDateTime;

    use super::Zone;

    #[test]
    fn local_times_become_instants() {
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        for (local, utc) in [
            ("2026-07-01T12:00:00", Some("2026-07-01T10:00:00Z")),
            ("2026-01-01T12:00:00", Some("2026-01-01T11:00:00Z")),
            // Twice: the first is summer time.
            ("2026-10-25T02:30:00", Some("2026-10-25T00:30:00Z")),
            // Left out.
            ("2026-03-29T02:30:00", None),
        ] {
            let local: NaiveDateTime = local.parse().unwrap();
            let instant = berlin.instant(local).map(|time| time.to_string());
            assert_eq!(instant.as_deref(), utc, "{local}");
        }
        assert!("Europe/Nowhere".parse::<Zone>().is_err());
    }
}
