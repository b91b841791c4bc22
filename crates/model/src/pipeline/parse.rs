//! Values of a pipeline file that are written as strings of a form of their own.

use std::str::FromStr;

use chrono::format::{Fixed, Item, Numeric, StrftimeItems};

use super::file::{Each, TimeFormat};
use super::limits::MaxAge;
use super::value::{Period, Pointer, PointerError, read_from_string};

/// A time format that isn't one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeFormatError {
    /// It is neither.
    #[error("it is no known format, and no pattern of strftime")]
    Unknown,
    /// Times of this form happen twice a day.
    #[error("hours from 1 to 12 (%I, %l) need AM or PM (%p, %P)")]
    HalfOfDay,
}

impl FromStr for TimeFormat {
    type Err = TimeFormatError;

    fn from_str(text: &str) -> Result<Self, TimeFormatError> {
        Ok(match text {
            "auto" => Self::Auto,
            "unix_s" => Self::UnixS,
            "unix_ms" => Self::UnixMs,
            "unix_us" => Self::UnixUs,
            "unix_ns" => Self::UnixNs,
            "rfc3339" => Self::Rfc3339,
            _ => {
                let items: Vec<_> = StrftimeItems::new(text).collect();
                if !text.contains('%') || items.contains(&Item::Error) {
                    return Err(TimeFormatError::Unknown);
                }
                let is_half = |item| matches!(item, &Item::Numeric(Numeric::Hour12, _));
                let says_which =
                    |item| matches!(item, &Item::Fixed(Fixed::LowerAmPm | Fixed::UpperAmPm));
                if items.iter().any(is_half) && !items.iter().any(says_which) {
                    return Err(TimeFormatError::HalfOfDay);
                }
                Self::Pattern(text.to_owned())
            }
        })
    }
}

read_from_string!(
    TimeFormat,
    "TimeFormat",
    "auto, unix_s, unix_ms, unix_us, unix_ns, rfc3339, or a pattern of strftime: %d.%m.%Y %H:%M"
);

impl FromStr for Each {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Self, PointerError> {
        match text.parse()? {
            Pointer::Sample(mut keys) => {
                let members = keys.last().is_some_and(|key| key == "*");
                if members {
                    keys.pop();
                }
                Ok(Self { keys, members })
            }
            Pointer::Message(_) | Pointer::Key => Err(PointerError),
        }
    }
}

read_from_string!(
    Each,
    "Each",
    "a JSON pointer, with /* for each member that is an object: /readings, /*"
);

/// A greatest age that isn't one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no duration")]
pub struct MaxAgeError;

impl FromStr for MaxAge {
    type Err = MaxAgeError;

    fn from_str(text: &str) -> Result<Self, MaxAgeError> {
        match text {
            "none" => Ok(Self::None),
            _ => crate::units::positive_duration(text)
                .map(|period| Self::Period(Period(period)))
                .map_err(|_| MaxAgeError),
        }
    }
}

read_from_string!(MaxAge, "MaxAge", "a duration, or none for history: 29d");

#[cfg(test)]
mod tests {
    use super::{Each, MaxAge, TimeFormat, TimeFormatError};

    #[test]
    fn forms_are_read() {
        let pattern = TimeFormat::Pattern("%d.%m.%Y".into());
        assert_eq!("%d.%m.%Y".parse(), Ok(pattern));
        assert_eq!("unix_ms".parse(), Ok(TimeFormat::UnixMs));
        for bad in ["unix", "%Q", ""] {
            assert!(bad.parse::<TimeFormat>().is_err(), "{bad}");
        }
        let half = "%m/%d/%Y %I:%M".parse::<TimeFormat>();
        assert_eq!(half, Err(TimeFormatError::HalfOfDay));
        for whole in ["%m/%d/%Y %I:%M %p", "%d.%m.%Y %r", "%l %P %F"] {
            assert!(whole.parse::<TimeFormat>().is_ok(), "{whole}");
        }
        let each: Each = "/a/*".parse().unwrap();
        assert_eq!((each.keys, each.members), (vec!["a".to_owned()], true));
        let each: Each = "/*".parse().unwrap();
        assert_eq!((each.keys.len(), each.members), (0, true));
        for bad in ["a", "^/a", "$key"] {
            assert!(bad.parse::<Each>().is_err(), "{bad}");
        }
        assert_eq!("none".parse(), Ok(MaxAge::None));
        assert!("0".parse::<MaxAge>().is_err());
    }
}
