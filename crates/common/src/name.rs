//! Names of rigs and sensors.

/// The longest name, in bytes.
pub const MAX_NAME: usize = 64;

/// The tag and JSON member that holds a rig's name.
pub const RIG_ID: &str = "rig_id";
/// The JSON member that holds a time; no sensor can be called so.
pub const TIMESTAMP: &str = "timestamp";

/// Why a text can't name a rig or a sensor.
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
    /// A sensor called like a member of the row it would be in.
    #[error("is reserved: no sensor can be called rig_id, timestamp or time")]
    Reserved,
}

/// Whether `name` can name a rig: 1 to 64 of ASCII letters, digits, `-`, `_`, `.`.
pub fn check_rig(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME {
        return Err(NameError::TooLong(name.len()));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.bytes().all(allowed) {
        return Ok(());
    }
    let stray = name.chars().find(|c| !u8::try_from(*c).is_ok_and(allowed));
    Err(NameError::Character(stray.unwrap_or_default()))
}

/// Whether `name` can name a sensor: as a rig's, and none of `rig_id`, `timestamp`, `time`.
pub fn check_sensor(name: &str) -> Result<(), NameError> {
    check_rig(name)?;
    if matches!(name, RIG_ID | TIMESTAMP | "time") {
        return Err(NameError::Reserved);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{NameError, check_rig, check_sensor};

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
            assert_eq!(check_rig(good), Ok(()), "{good}");
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
            assert_eq!(check_rig(bad), Err(error), "{bad:?}");
        }
        assert_eq!(check_rig(&"x".repeat(65)), Err(NameError::TooLong(65)));
    }

    #[test]
    fn a_sensor_cannot_shadow_a_member_of_its_row() {
        for reserved in ["rig_id", "timestamp", "time"] {
            assert_eq!(check_sensor(reserved), Err(NameError::Reserved));
            assert_eq!(
                check_rig(reserved),
                Ok(()),
                "a rig may be called {reserved}"
            );
        }
        assert_eq!(check_sensor("Time"), Ok(()));
    }
}
