//! Random secrets.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::secret::Secret;

/// Letters and digits without easily confused ones.
const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const GROUPS: usize = 5;
const GROUP: usize = 5;

/// A token of 32 random bytes, in characters that need no escape in URLs and headers. It doesn't begin
/// with a dash: `influx --token TOKEN`, as most commands, would take it for an option.
pub(super) fn token() -> anyhow::Result<Secret> {
    loop {
        let text = URL_SAFE_NO_PAD.encode(bytes::<32>()?);
        if !text.starts_with('-') {
            return Ok(Secret::new(text));
        }
    }
}

/// A password that is easy to read out and type: more than 140 bits in groups of five, with letters of
/// both cases and a digit.
pub(super) fn password() -> anyhow::Result<Secret> {
    loop {
        let mut text = String::new();
        while text.len() < GROUPS * (GROUP + 1) - 1 {
            if text.len() % (GROUP + 1) == GROUP {
                text.push('-');
            }
            text.push(letter()?);
        }
        let has = |is_it: fn(&char) -> bool| text.chars().any(|c| is_it(&c));
        if has(char::is_ascii_lowercase)
            && has(char::is_ascii_uppercase)
            && has(char::is_ascii_digit)
        {
            return Ok(Secret::new(text));
        }
    }
}

/// A name of eight hexadecimal digits.
pub(super) fn name() -> anyhow::Result<Secret> {
    let number = u32::from_be_bytes(bytes::<4>()?);
    Ok(Secret::new(format!("{number:08x}")))
}

/// A uniformly random letter: bytes beyond a multiple of the alphabet's length are drawn again.
fn letter() -> anyhow::Result<char> {
    loop {
        let [byte] = bytes::<1>()?;
        let byte = usize::from(byte);
        if byte < 256 - 256 % LETTERS.len() {
            return Ok(char::from(LETTERS[byte % LETTERS.len()]));
        }
    }
}

fn bytes<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the system returns no random bytes")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{name, password, token};

    #[test]
    fn secrets_are_long_readable_and_different() {
        for _ in 0..200 {
            let (one, other) = (password().unwrap(), password().unwrap());
            assert!(one != other);
            let text = one.expose();
            assert_eq!(text.len(), 29);
            let groups: Vec<_> = text.split('-').collect();
            assert_eq!(groups.len(), 5);
            assert!(groups.iter().all(|group| group.len() == 5), "{text}");
            assert!(!text.contains(['0', 'O', 'l', 'I', '1', 'o']), "{text}");
            assert!(text.contains(|c: char| c.is_ascii_digit()), "{text}");
        }
        for _ in 0..1000 {
            let token = token().unwrap();
            let text = token.expose();
            assert_eq!(text.len(), 43);
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            assert!(text.chars().all(is_plain), "{text}");
            assert!(!text.starts_with('-'), "{text}");
        }
        assert_eq!(name().unwrap().expose().len(), 8);
    }
}
