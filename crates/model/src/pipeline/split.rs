//! Takes tags and the field out of a name: `{line}.{device}.{field}`.

use std::str::FromStr;

use super::template::FIELD;
use super::value::read_from_string;

/// A pattern of a name. A part ends where the string behind it first occurs; the last part is the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// What precedes the first part.
    start: String,
    /// Each part's name, and the string behind it.
    parts: Vec<(String, String)>,
}

/// Why a string is no [`Split`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A brace without its other one, or nothing between.
    #[error("the braces don't enclose names")]
    Braces,
    /// Nothing tells where the first of these two ends.
    #[error("nothing separates {{{0}}} from the next part")]
    NotSeparated(String),
    /// A name that stands for two parts.
    #[error("the name {0:?} occurs twice")]
    Twice(String),
    /// No part names the field.
    #[error("no part is {{field}}")]
    NoField,
}

impl Split {
    /// The names of the parts, without the field's.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        let names = self.parts.iter().map(|(name, _)| name.as_str());
        names.filter(|name| *name != FIELD)
    }

    /// The name in which these values stand for the parts; a part without a value is empty.
    #[must_use]
    pub fn fill<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> String {
        let mut name = self.start.clone();
        for (part, behind) in &self.parts {
            name.push_str(value(part).unwrap_or_default());
            name.push_str(behind);
        }
        name
    }

    /// The parts' names and what stands for them; `None` if the name doesn't fit. No part is empty.
    #[must_use]
    pub fn matches<'a, 'n>(&'a self, name: &'n str) -> Option<Vec<(&'a str, &'n str)>> {
        let mut rest = name.strip_prefix(self.start.as_str())?;
        let mut found = Vec::with_capacity(self.parts.len());
        for (place, (part, behind)) in self.parts.iter().enumerate() {
            let is_last = place + 1 == self.parts.len();
            let (this, after) = if is_last {
                (rest.strip_suffix(behind.as_str())?, "")
            } else {
                rest.split_once(behind.as_str())?
            };
            if this.is_empty() {
                return None;
            }
            found.push((part.as_str(), this));
            rest = after;
        }
        Some(found)
    }
}

impl FromStr for Split {
    type Err = SplitError;

    fn from_str(text: &str) -> Result<Self, SplitError> {
        let mut pieces = text.split('{');
        let start = pieces.next().unwrap_or_default().to_owned();
        let mut parts: Vec<(String, String)> = Vec::new();
        for piece in pieces {
            let (name, behind) = piece.split_once('}').ok_or(SplitError::Braces)?;
            if name.is_empty() || behind.contains('}') {
                return Err(SplitError::Braces);
            }
            if let Some((before, separator)) = parts.last()
                && separator.is_empty()
            {
                return Err(SplitError::NotSeparated(before.clone()));
            }
            if parts.iter().any(|(other, _)| other == name) {
                return Err(SplitError::Twice(name.to_owned()));
            }
            parts.push((name.to_owned(), behind.to_owned()));
        }
        if start.contains('}') {
            return Err(SplitError::Braces);
        }
        if !parts.iter().any(|(name, _)| name == FIELD) {
            return Err(SplitError::NoField);
        }
        Ok(Self { start, parts })
    }
}

read_from_string!(
    Split,
    "Split",
    "names in braces with strings between them, one of them {field}: {line}.{device}.{field}"
);

#[cfg(test)]
mod tests {
    use super::{Split, SplitError};

    #[test]
    fn names_are_taken_apart() {
        type Case<'a> = (&'a str, &'a str, Option<&'a [(&'a str, &'a str)]>);
        let cases: [Case<'_>; 7] = [
            (
                "{a}.{b}.{field}",
                "x.y.z",
                Some(&[("a", "x"), ("b", "y"), ("field", "z")]),
            ),
            (
                "{a}.{b}.{field}",
                "x.y.z.w",
                Some(&[("a", "x"), ("b", "y"), ("field", "z.w")]),
            ),
            ("{a}.{field}", "x", None),
            ("{a}.{field}", ".x", None),
            (
                "ns=2;s={d}/{field}!",
                "ns=2;s=p/t!",
                Some(&[("d", "p"), ("field", "t")]),
            ),
            ("ns=2;s={d}/{field}!", "ns=3;s=p/t!", None),
            ("{field}", "x.y", Some(&[("field", "x.y")])),
        ];
        for (split, name, found) in cases {
            let split: Split = split.parse().unwrap();
            assert_eq!(split.matches(name).as_deref(), found, "{name}");
        }
        let split: Split = "{a}.{field}.{b}".parse().unwrap();
        assert_eq!(split.tags().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn splits_that_cannot_work_are_refused() {
        for (text, error) in [
            ("{a}{field}", SplitError::NotSeparated("a".into())),
            ("{a}.{a}.{field}", SplitError::Twice("a".into())),
            ("{a}", SplitError::NoField),
            ("a", SplitError::NoField),
            ("{field", SplitError::Braces),
            ("{}.{field}", SplitError::Braces),
            ("a}.{field}", SplitError::Braces),
        ] {
            assert_eq!(text.parse::<Split>(), Err(error), "{text}");
        }
    }
}
