//! The values of a pipeline file, each validated while it is read, so that an error points at it.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, Range};
use std::str::FromStr;
use std::time::Duration;

use glob::{MatchOptions, Pattern, PatternError};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, de};

use super::template::TopicTemplate;
use crate::units;

/// Reads a type from a string of the file with its `FromStr`, and describes it as a string in the schema.
macro_rules! read_from_string {
    ($type:ty, $name:literal, $accepted:literal) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(|error| {
                    serde::de::Error::custom(format!("{text:?}: {error}; accepted: {}", $accepted))
                })
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $accepted })
            }
        }
    };
}
pub(super) use read_from_string;

read_from_string!(
    TopicTemplate,
    "Topic",
    "an MQTT topic in which a level can be {name}, {name...}, + or #: sensors/{room}/{field}"
);

/// A value with its place in the file.
#[derive(Debug, Clone)]
pub struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

impl<T> At<T> {
    /// The value.
    pub fn into_inner(self) -> T {
        self.value
    }

    pub(super) const fn span(&self) -> &Range<usize> {
        &self.span
    }
}

/// A string of a file, unless it is empty: a variable that isn't set is an empty string.
#[must_use]
pub fn given(value: Option<&At<String>>) -> Option<&str> {
    let value = value.map(|value| value.as_str());
    value.filter(|value| !value.is_empty())
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = toml::Spanned::<T>::deserialize(deserializer)?;
        Ok(Self {
            span: spanned.span(),
            value: spanned.into_inner(),
        })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// One value, or an array of them.
#[derive(Debug, Clone, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes OneOrMore in the schema")]
enum OneOrMoreSchema<T> {
    One(T),
    More(Vec<T>),
}

/// One value, or an array of at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct OneOrMore<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Values<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one value or an array of them")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
                T::deserialize(de::value::StrDeserializer::new(text)).map(|value| vec![value])
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                if values.is_empty() {
                    return Err(A::Error::invalid_length(0, &"at least one value"));
                }
                Ok(values)
            }
        }

        deserializer
            .deserialize_any(Values(std::marker::PhantomData))
            .map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMore<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "OneOrMore".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        OneOrMoreSchema::<T>::json_schema(generator)
    }
}

/// A finite number, also as a string, so that it can be a variable.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Number(pub f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;

        impl Visitor<'_> for Numbers {
            type Value = f64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a finite number")
            }

            #[expect(
                clippy::cast_precision_loss,
                reason = "above 2^53, the nearest double is meant"
            )]
            fn visit_i64<E: Error>(self, number: i64) -> Result<f64, E> {
                Ok(number as f64)
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<f64, E> {
                if number.is_finite() {
                    Ok(number)
                } else {
                    Err(E::invalid_value(Unexpected::Float(number), &self))
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
                let number = text.trim().parse();
                let number = number.map_err(|_| E::invalid_value(Unexpected::Str(text), &self))?;
                self.visit_f64(number)
            }
        }

        deserializer.deserialize_any(Numbers).map(Self)
    }
}

impl JsonSchema for Number {
    fn schema_name() -> Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["number", "string"] })
    }
}

/// A duration: `5s`, `250ms`, `10m`, or a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Periods;

        impl Visitor<'_> for Periods {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration: 250ms, 5s, 10m, 29d, or a number of seconds")
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Duration, E> {
                self.visit_str(&seconds.to_string())
            }

            fn visit_f64<E: Error>(self, seconds: f64) -> Result<Duration, E> {
                self.visit_str(&seconds.to_string())
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
                units::duration(text).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Periods).map(Self)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"] })
    }
}

/// A pattern for topics: `*` and `?` stay within a level, `**` stands for any levels.
#[derive(Debug, Clone)]
pub struct TopicGlob(Pattern);

/// A pattern for names: `*` stands for any characters, `?` for one.
#[derive(Debug, Clone)]
pub struct NameGlob(Pattern);

impl TopicGlob {
    /// Whether a topic fits.
    #[must_use]
    pub fn is_match(&self, topic: &str) -> bool {
        self.0.matches_with(topic, options(true))
    }
}

impl NameGlob {
    /// Whether a name fits.
    #[must_use]
    pub fn is_match(&self, name: &str) -> bool {
        self.0.matches_with(name, options(false))
    }

    /// The pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// Why a string is no pattern.
#[derive(Debug, thiserror::Error)]
pub enum GlobError {
    /// It isn't complete, or `**` isn't a level of its own.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// It has alternatives, as other programs take them.
    #[error("alternatives in braces aren't taken, a list of patterns is")]
    Braces,
}

const fn options(is_topic: bool) -> MatchOptions {
    MatchOptions {
        case_sensitive: true,
        require_literal_separator: is_topic,
        require_literal_leading_dot: false,
    }
}

fn pattern(text: &str) -> Result<Pattern, GlobError> {
    // They would be characters like any other, and the pattern would never fit.
    if text.contains(['{', '}']) {
        return Err(GlobError::Braces);
    }
    Ok(Pattern::new(text)?)
}

impl FromStr for TopicGlob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        pattern(text).map(Self)
    }
}

impl FromStr for NameGlob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        pattern(text).map(Self)
    }
}

read_from_string!(
    TopicGlob,
    "TopicGlob",
    "a pattern of topics: * for one level, ** for any: zigbee2mqtt/bridge/**"
);
read_from_string!(
    NameGlob,
    "NameGlob",
    "a pattern of names, with * and ?: temp_*"
);

/// Where a value is in a message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pointer {
    /// Keys from the sample on.
    Sample(Vec<String>),
    /// Keys from the whole message on: `^/meta/site`.
    Message(Vec<String>),
    /// The name of the member that is the sample: `$key`.
    Key,
}

/// Why a string is no [`Pointer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it doesn't start with / or ^/, and isn't $key")]
pub struct PointerError;

impl FromStr for Pointer {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Self, PointerError> {
        if text == "$key" {
            return Ok(Self::Key);
        }
        let (keys, is_whole) = match text.strip_prefix('^') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        // As in RFC 6901, "" and "/" are different.
        let keys = match keys.strip_prefix('/') {
            Some(keys) => keys.split('/').map(unescaped).collect(),
            None if is_whole && keys.is_empty() => Vec::new(),
            None => return Err(PointerError),
        };
        // "^/" alone is the whole message, as a pointer without a key would be hard to tell from it.
        let keys = if keys == [""] { Vec::new() } else { keys };
        Ok(if is_whole {
            Self::Message(keys)
        } else {
            Self::Sample(keys)
        })
    }
}

/// A key of RFC 6901, in which `~1` stands for `/` and `~0` for `~`.
fn unescaped(key: &str) -> String {
    key.replace("~1", "/").replace("~0", "~")
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, keys) = match self {
            Self::Key => return f.write_str("$key"),
            Self::Sample(keys) => ("", keys),
            Self::Message(keys) => ("^", keys),
        };
        f.write_str(start)?;
        if keys.is_empty() {
            return f.write_str("/");
        }
        for key in keys {
            write!(f, "/{}", key.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}

read_from_string!(
    Pointer,
    "Pointer",
    "a JSON pointer from the sample on (/value), from the whole message on (^/meta/site), or $key"
);

#[cfg(test)]
mod tests {
    use super::{NameGlob, Pointer, TopicGlob};

    #[test]
    fn pointers_are_those_of_rfc_6901_from_two_places() {
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        for (text, pointer) in [
            ("/a/b", Pointer::Sample(keys(&["a", "b"]))),
            ("/", Pointer::Sample(keys(&[]))),
            ("/a~1b/~0", Pointer::Sample(keys(&["a/b", "~"]))),
            ("^/a", Pointer::Message(keys(&["a"]))),
            ("^/", Pointer::Message(keys(&[]))),
            ("$key", Pointer::Key),
        ] {
            let parsed: Pointer = text.parse().unwrap();
            assert_eq!(parsed, pointer, "{text}");
            assert_eq!(parsed.to_string(), text);
        }
        for bad in ["", "a", "a/b", "$other", "^a"] {
            assert!(bad.parse::<Pointer>().is_err(), "{bad}");
        }
    }

    #[test]
    fn globs_of_topics_know_levels() {
        let topic = |glob: &str, topic: &str| glob.parse::<TopicGlob>().unwrap().is_match(topic);
        assert!(topic("z/bridge/**", "z/bridge/a/b"));
        assert!(topic("**/availability", "z/a/availability"));
        assert!(topic("z/*/get", "z/a/get"));
        assert!(!topic("z/*/get", "z/a/b/get"));
        let name = |glob: &str, name: &str| glob.parse::<NameGlob>().unwrap().is_match(name);
        assert!(name("temp_*", "temp_a/b"));
        assert!(!name("temp_*", "hum"));
        assert!(name("t[ab]", "tb") && name("a?", "a/") && name("[*]", "*"));
        for bad in ["[", "{a,b}", "***"] {
            assert!(bad.parse::<NameGlob>().is_err(), "{bad}");
        }
    }
}
