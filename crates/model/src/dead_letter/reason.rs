//! Why an input can't be used.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why an input can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The payload isn't JSON.
    NotJson,
    /// The payload is JSON, but not an object.
    NotObject,
    /// The topic isn't that of a sensor of a rig.
    BadTopic,
    /// The name of the rig or of the sensor is invalid.
    BadName,
    /// The timestamp can't be parsed.
    BadTimestamp,
    /// The value isn't a finite number.
    BadValue,
    /// There is no value.
    MissingValue,
    /// The timestamp is too far ahead of its arrival.
    Future,
    /// The timestamp is too old.
    Past,
    /// The payload is larger than `MAX_PAYLOAD`.
    TooLarge,
    /// An element of a list that isn't in Rigline's format.
    BadElement,
    /// Processing the input panicked.
    Poison,
    /// The store refused the row.
    StoreRejected,
    /// As many rigs as `MAX_SERIES` are known, and this is another one.
    TooManySeries,
    /// As many sensors as `MAX_FIELDS` are in use, and this is another one.
    TooManyFields,
    /// The row has `MAX_ROW_FIELDS` fields, and this is another one.
    RowTooWide,
    /// A tag that the pipeline asks for is absent.
    MissingTag,
    /// The value is outside of its field's range.
    OutOfRange,
    /// The row of its window is final.
    TooLate,
    /// Its window has `MAX_WINDOW_READINGS` readings of the field.
    WindowFull,
    /// The publisher may not publish to the topic, by the listener's rules.
    NotAllowed,
}

/// A string that isn't the name of a [`Reason`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such reason: {0:?}; the reasons are {list}", list = Reason::ALL.map(Reason::as_str).join(", "))]
pub struct UnknownReason(pub String);

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 21] = [
        Self::NotJson,
        Self::NotObject,
        Self::BadTopic,
        Self::BadName,
        Self::BadTimestamp,
        Self::BadValue,
        Self::MissingValue,
        Self::Future,
        Self::Past,
        Self::TooLarge,
        Self::BadElement,
        Self::Poison,
        Self::StoreRejected,
        Self::TooManySeries,
        Self::TooManyFields,
        Self::RowTooWide,
        Self::MissingTag,
        Self::OutOfRange,
        Self::TooLate,
        Self::WindowFull,
        Self::NotAllowed,
    ];

    /// The name in a dead letter's JSON and in metric labels.
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
            Self::TooManySeries => "too_many_series",
            Self::TooManyFields => "too_many_fields",
            Self::RowTooWide => "row_too_wide",
            Self::MissingTag => "missing_tag",
            Self::OutOfRange => "out_of_range",
            Self::TooLate => "too_late",
            Self::WindowFull => "window_full",
            Self::NotAllowed => "not_allowed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(name: &str) -> Result<Self, UnknownReason> {
        let found = Self::ALL.into_iter().find(|reason| reason.as_str() == name);
        found.ok_or_else(|| UnknownReason(name.to_owned()))
    }
}

/// An input was rejected: the reason, and a detail for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The kind of error.
    pub reason: Reason,
    /// What exactly is wrong, for people.
    pub detail: String,
    /// If only parts of the input are rejected: the JSON pointers to them, in NDJSON behind the numbers of
    /// their lines.
    pub places: Vec<String>,
    /// The stores that refuse a row, if its pipeline has others that take it.
    pub stores: Vec<String>,
}

impl Rejection {
    /// A rejection with its detail.
    #[must_use]
    pub fn new(reason: Reason, detail: impl fmt::Display) -> Self {
        Self {
            reason,
            detail: detail.to_string(),
            places: Vec::new(),
            stores: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn names_parse_and_unknown_names_list_the_valid_ones() {
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
            let json = serde_json::to_string(&reason).unwrap();
            assert_eq!(json, format!("{:?}", reason.as_str()));
        }
        let error = "not_jsn".parse::<Reason>().unwrap_err().to_string();
        assert!(
            error.starts_with("no such reason: \"not_jsn\"; the reasons are not_json, not_object"),
            "{error}"
        );
    }
}
