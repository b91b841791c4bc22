//! Names of tags and fields, and values of tags.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;

/// The longest name, in bytes.
pub const MAX_NAME: usize = 256;
/// The longest name of a rig or a sensor, in bytes.
pub const MAX_STRICT_NAME: usize = 64;

/// The tag and JSON member that holds a rig's name.
pub const RIG_ID: &str = "rig_id";
/// The JSON member that holds a row's or a reading's time; no sensor can have this name.
pub const TIMESTAMP: &str = "timestamp";

/// Why a string can't be a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty.
    #[error("is empty")]
    Empty,
    /// Longer than [`MAX_NAME`] or [`MAX_STRICT_NAME`].
    #[error("has {length} bytes, {limit} are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The longest allowed, in bytes.
        limit: usize,
    },
    /// A control character.
    #[error("has the control character {0:?}")]
    Control(char),
    /// A character outside of letters, digits, `-`, `_` and `.`.
    #[error("has {0:?}; letters, digits, '-', '_' and '.' are allowed")]
    Character(char),
    /// A sensor with the name of another member of its row.
    #[error("is reserved: a sensor can't be named rig_id, timestamp or time")]
    Reserved,
}

/// A name of a tag or a field, or the value of a tag: 1 to 256 bytes of UTF-8 without control characters.
///
/// Whatever writes it into another format has to escape what that format requires.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a>(Cow<'a, str>);

impl Name<'static> {
    /// The name of the tag that holds a rig's name.
    pub const RIG_ID: Self = Self(Cow::Borrowed(RIG_ID));
}

impl<'a> Name<'a> {
    /// Validates a string.
    pub fn new(name: impl Into<Cow<'a, str>>) -> Result<Self, NameError> {
        let name = name.into();
        check_length(&name, MAX_NAME)?;
        // Most names are ASCII, whose control characters are found without decoding.
        let control = if name.is_ascii() {
            let byte = name.bytes().find(u8::is_ascii_control);
            byte.map(char::from)
        } else {
            name.chars().find(|c| c.is_control())
        };
        match control {
            None => Ok(Self(name)),
            Some(control) => Err(NameError::Control(control)),
        }
    }

    /// Validates a string as a name of a rig: 1 to 64 of ASCII letters, digits, `-`, `_` and `.`.
    pub fn strict(name: impl Into<Cow<'a, str>>) -> Result<Self, NameError> {
        let name = name.into();
        check_length(&name, MAX_STRICT_NAME)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match name.chars().find(|c| !allowed(*c)) {
            None => Ok(Self(name)),
            Some(refused) => Err(NameError::Character(refused)),
        }
    }

    /// Validates a string as a name of a rig's sensor: strict, and other than `rig_id`, `timestamp` and
    /// `time`.
    pub fn sensor(name: impl Into<Cow<'a, str>>) -> Result<Self, NameError> {
        let name = Self::strict(name)?;
        if matches!(name.as_str(), RIG_ID | TIMESTAMP | "time") {
            return Err(NameError::Reserved);
        }
        Ok(name)
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

    /// The string of the name.
    #[must_use]
    pub fn into_inner(self) -> Cow<'a, str> {
        self.0
    }

    /// The same name with storage of its own.
    #[must_use]
    pub fn into_owned(self) -> Name<'static> {
        Name(Cow::Owned(self.0.into_owned()))
    }
}

const fn check_length(name: &str, limit: usize) -> Result<(), NameError> {
    match name.len() {
        0 => Err(NameError::Empty),
        length if length > limit => Err(NameError::TooLong { length, limit }),
        _ => Ok(()),
    }
}

impl Deref for Name<'_> {
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

impl PartialEq<str> for Name<'_> {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Name, NameError};

    fn strict(name: &str) -> Result<(), NameError> {
        Name::strict(name).map(|valid| assert_eq!(valid.as_str(), name))
    }

    #[test]
    fn strict_names_are_letters_digits_and_three_marks() {
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
            assert_eq!(strict(good), Ok(()), "{good}");
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
            assert_eq!(strict(bad), Err(error), "{bad:?}");
        }
        let (length, limit) = (65, 64);
        let too_long = NameError::TooLong { length, limit };
        assert_eq!(strict(&"x".repeat(length)), Err(too_long));
    }

    #[test]
    fn other_names_are_anything_without_control_characters() {
        let check = |name: &str| Name::new(name).map(|valid| assert_eq!(valid.as_str(), name));
        for good in [
            " ",
            "a b,c=d\"\\",
            "t\u{0435}mp",
            "\u{1F600}",
            &"x".repeat(256),
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, error) in [
            ("", NameError::Empty),
            ("a\nb", NameError::Control('\n')),
            ("\u{7f}", NameError::Control('\u{7f}')),
            ("\u{e9}\u{85}", NameError::Control('\u{85}')),
        ] {
            assert_eq!(check(bad), Err(error), "{bad:?}");
        }
        let (length, limit) = (257, 256);
        let too_long = NameError::TooLong { length, limit };
        assert_eq!(check(&"x".repeat(length)), Err(too_long));
    }

    #[test]
    fn a_sensor_cannot_have_the_name_of_another_member_of_its_row() {
        for reserved in ["rig_id", "timestamp", "time"] {
            assert_eq!(Name::sensor(reserved), Err(NameError::Reserved));
            let as_rig = strict(reserved);
            assert_eq!(as_rig, Ok(()), "a rig may have the name {reserved}");
        }
        assert_eq!(Name::sensor("Time").unwrap().as_str(), "Time");
    }
}
