//! The members of a payload that Rigline reads.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members are kept as raw JSON, so that a number too large for a double has another reason than
/// invalid JSON.
#[derive(Debug, Default)]
pub(super) struct Payload<'a> {
    pub(super) timestamp: Option<&'a RawValue>,
    pub(super) value: Option<&'a RawValue>,
    /// The members of [`OTHER_TIMES`].
    pub(super) other_times: [Option<&'a RawValue>; OTHER_TIMES.len()],
}

/// Names of members besides `timestamp` that may hold a time, in any case.
const OTHER_TIMES: [&str; 4] = ["timestamp", "ts", "time", "datetime"];

impl<'de> Deserialize<'de> for Payload<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PayloadVisitor)
    }
}

struct PayloadVisitor;

impl<'de> Visitor<'de> for PayloadVisitor {
    type Value = Payload<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut payload = Payload::default();
        while let Some(Key(member)) = members.next_key()? {
            let place = match member {
                Member::Value => &mut payload.value,
                Member::Timestamp => &mut payload.timestamp,
                Member::OtherTime(index) => &mut payload.other_times[index],
                Member::Unknown => {
                    members.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if place.is_some() {
                return Err(A::Error::custom(format_args!(
                    "two members {}",
                    member.name()
                )));
            }
            *place = Some(members.next_value()?);
        }
        Ok(payload)
    }
}

#[derive(Clone, Copy)]
enum Member {
    Value,
    Timestamp,
    /// The index in [`OTHER_TIMES`].
    OtherTime(usize),
    Unknown,
}

impl Member {
    fn of(name: &str) -> Self {
        match name {
            "value" => Self::Value,
            "timestamp" => Self::Timestamp,
            _ => {
                let is_it = |other: &&str| name.eq_ignore_ascii_case(other);
                let index = OTHER_TIMES.iter().position(is_it);
                index.map_or(Self::Unknown, Self::OtherTime)
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Timestamp => "timestamp",
            Self::OtherTime(index) => OTHER_TIMES[index],
            Self::Unknown => "unknown",
        }
    }
}

/// A key, read without a copy even if it has escapes.
struct Key(Member);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
                Ok(Key(Member::of(name)))
            }
        }
        deserializer.deserialize_identifier(KeyVisitor)
    }
}
