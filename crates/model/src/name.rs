//! Names of rigs and sensors, validated once: a `Name` needs no further check or escape.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;

/// The longest name, in bytes.
pub const MAX_NAME: usize = 64;

/// The tag and JSON member that holds a rig's name.
pub const RIG_ID: &str = "rig_id";
/// The JSON member that holds a row's or a reading's time; no sensor can have this name.
pub const TIMESTAMP: &str = "timestamp";

/// Why a string can't name a rig or a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty.
    #[error("is empty")]
    Empty,
    /// Longer than [`MAX_NAME`].
    #[error("has {0} bytes, 64 are allowed")]
    TooLong(usize),
    /// A character outside of letters, digits, `-`, `_` and `.`.
    #[error("has {0:?}; letters, digits, '-', '_' and '.' are allowed")]
    Character(char),
    /// A sensor with the name of another member of its row.
    #[error("is reserved: a sensor can't be named rig_id, timestamp or time")]
    Reserved,
}

/// A rig's name, or another tag's name or value: 1 to 64 of ASCII letters, digits, `-`, `_`, `.`.
///
/// None of these characters has to be escaped in JSON, line protocol, SQL or an MQTT topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a>(Cow<'a, str>);

/// A sensor's name: a [`Name`] other than `rig_id`, `timestamp` and `time`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SensorName<'a>(Name<'a>);

impl Name<'static> {
    /// The name of the tag that holds a rig's name.
    pub const RIG_ID: Self = Self(Cow::Borrowed(RIG_ID));
}

impl<'a> Name<'a> {
    /// Validates a string.
    pub fn new(name: impl Into<Cow<'a, str>>) -> Result<Self, NameError> {
        let name = name.into();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > MAX_NAME {
            return Err(NameError::TooLong(name.len()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match name.chars().find(|c| !allowed(*c)) {
            None => Ok(Self(name)),
            Some(refused) => Err(NameError::Character(refused)),
        }
    }

    /// The name as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same name, borrowed from this one.
    #[must_use]
    pub fn borrowed(&self) -> Name<'_> {
        Name(Cow::Borrowed(&self.0))
    }

    /// The same name with storage of its own.
    #[must_use]
    pub fn into_owned(self) -> Name<'static> {
        Name(Cow::Owned(self.0.into_owned()))
    }
}

impl<'a> SensorName<'a> {
    /// Validates a string.
    pub fn new(name: impl Into<Cow<'a, str>>) -> Result<Self, NameError> {
        let name = Name::new(name)?;
        if matches!(name.as_str(), RIG_ID | TIMESTAMP | "time") {
            return Err(NameError::Reserved);
        }
        Ok(Self(name))
    }

    /// The name as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The same name, borrowed from this one.
    #[must_use]
    pub fn borrowed(&self) -> SensorName<'_> {
        SensorName(self.0.borrowed())
    }

    /// The same name with storage of its own.
    #[must_use]
    pub fn into_owned(self) -> SensorName<'static> {
        SensorName(self.0.into_owned())
    }
}

impl Deref for Name<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Deref for SensorName<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

// Names hash and compare as their strings do, so maps of names can be asked with a string.
impl Borrow<str> for Name<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for SensorName<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Name<'_> {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<str> for SensorName<'_> {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Display for SensorName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Name, NameError, SensorName};

    fn check(name: &str) -> Result<(), NameError> {
        Name::new(name).map(|valid| assert_eq!(valid.as_str(), name))
    }

    #[test]
    fn names_are_letters_digits_and_three_marks() {
        for good in [
            "RIG-42",
            "a",
            "7",
            ".",
            "..",
            "temp_inlet",
            "A.b-c_9",
            &"x".repeat(64),
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, error) in [
            ("", NameError::Empty),
            (" ", NameError::Character(' ')),
            ("a b", NameError::Character(' ')),
            ("a,b", NameError::Character(',')),
            ("a=b", NameError::Character('=')),
            ("a\nb", NameError::Character('\n')),
            ("a\\", NameError::Character('\\')),
            ("rig\u{0}", NameError::Character('\u{0}')),
            ("t\u{0435}mp", NameError::Character('\u{0435}')),
            ("\u{1F600}", NameError::Character('\u{1F600}')),
        ] {
            assert_eq!(check(bad), Err(error), "{bad:?}");
        }
        assert_eq!(check(&"x".repeat(65)), Err(NameError::TooLong(65)));
    }

    #[test]
    fn a_sensor_cannot_have_the_name_of_another_member_of_its_row() {
        for reserved in ["rig_id", "timestamp", "time"] {
            assert_eq!(SensorName::new(reserved), Err(NameError::Reserved));
            assert_eq!(
                check(reserved),
                Ok(()),
                "a rig may have the name {reserved}"
            );
        }
        assert_eq!(SensorName::new("Time").unwrap().as_str(), "Time");
    }
}
