//! Topic templates: `zigbee2mqtt/{device...}/availability`.

use std::fmt;
use std::str::FromStr;

/// A topic with names in the place of levels. `{name}` stands for one level and `{name...}` for one or
/// more; each becomes a tag, but `{field}` names the field. `+` and `#` match without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicTemplate {
    text: String,
    levels: Vec<Level>,
}

/// The name that stands for the field in a template.
pub const FIELD: &str = "field";

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Literal(String),
    /// One level, with the name of its tag.
    One(Option<String>),
    /// Several levels: with a name one or more, otherwise any number.
    Several(Option<String>),
}

/// Why a string is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Empty, too long for MQTT, or with the character 0.
    #[error("a topic has 1 to 65535 bytes, none of them 0")]
    Length,
    /// A level such as `a{b}c`, `{b`, `a+` or `{}`.
    #[error("the level {0:?} isn't a plain one, {{name}}, {{name...}}, + or #")]
    Level(String),
    /// Two names for any number of levels.
    #[error("only one level of a topic can be # or {{name...}}")]
    TwoOpen,
    /// A name that stands for two levels.
    #[error("the name {0:?} occurs twice")]
    Twice(String),
    /// A shared subscription.
    #[error(
        "a shared subscription ($share/…) would split the messages of a device, and change their order"
    )]
    Shared,
}

impl TopicTemplate {
    /// The template as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The MQTT filter that covers all topics of the template, and perhaps others.
    #[must_use]
    pub fn filter(&self) -> String {
        let mut filter = String::with_capacity(self.text.len());
        for (place, level) in self.levels.iter().enumerate() {
            if place > 0 {
                filter.push('/');
            }
            match level {
                Level::Literal(text) => filter.push_str(text),
                Level::One(_) => filter.push('+'),
                Level::Several(_) => {
                    filter.push('#');
                    break;
                }
            }
        }
        filter
    }

    /// The names of the levels, without [`FIELD`].
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.levels
            .iter()
            .filter_map(Level::name)
            .filter(|name| *name != FIELD)
    }

    /// Whether a level names the field.
    #[must_use]
    pub fn names_field(&self) -> bool {
        self.levels.iter().any(|level| level.name() == Some(FIELD))
    }

    /// Whether a level is + or #, which name nothing.
    #[must_use]
    pub fn has_unnamed(&self) -> bool {
        let unnamed = |level: &Level| matches!(level, Level::One(None) | Level::Several(None));
        self.levels.iter().any(unnamed)
    }

    /// Whether it is a name that a topic of Kafka can have: 1 to 249 letters, digits, `.`, `_` and `-`, but not
    /// `.` or `..`.
    #[must_use]
    pub fn is_kafka_topic(&self) -> bool {
        is_kafka_topic(&self.text)
    }

    /// Whether a value can stand for a name: the topic is then one that the template matches.
    #[must_use]
    pub fn takes(&self, name: &str, value: &str) -> bool {
        let mut levels = self.levels.iter();
        levels.all(|level| {
            let is_one = !matches!(level, Level::Several(_));
            level.name() != Some(name)
                || !(value.is_empty()
                    || value.contains(['+', '#'])
                    || is_one && value.contains('/'))
        })
    }

    /// The topic in which these values stand for the names; a name without a value leaves its level empty.
    #[must_use]
    pub fn fill<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> String {
        let levels = self.levels.iter().map(|level| match level {
            Level::Literal(text) => text.as_str(),
            _ => level.name().and_then(&value).unwrap_or_default(),
        });
        levels.collect::<Vec<_>>().join("/")
    }

    /// The names and what stands for them in a topic, in the order of the levels; `None` if the topic
    /// doesn't fit.
    #[must_use]
    pub fn matches<'a, 't>(&'a self, topic: &'t str) -> Option<Vec<(&'a str, &'t str)>> {
        let mut found = Vec::with_capacity(self.levels.len());
        let mut rest = Some(topic);
        for (place, level) in self.levels.iter().enumerate() {
            if let Level::Several(name) = level {
                let after = &self.levels[place + 1..];
                return several(name.as_deref(), rest, after, found);
            }
            let (this, behind) = first_level(rest?);
            if !level.fits(this) {
                return None;
            }
            found.extend(level.name().map(|name| (name, this)));
            rest = behind;
        }
        rest.is_none().then_some(found)
    }
}

/// Matches what an open level and the levels `after` it stand for. `rest` is `None` if the topic has ended
/// before the open level.
fn several<'a, 't>(
    name: Option<&'a str>,
    rest: Option<&'t str>,
    after: &'a [Level],
    mut found: Vec<(&'a str, &'t str)>,
) -> Option<Vec<(&'a str, &'t str)>> {
    let mut open = rest;
    let mut behind = Vec::with_capacity(after.len());
    for level in after.iter().rev() {
        let (before, this) = last_level(open?);
        if !level.fits(this) {
            return None;
        }
        behind.extend(level.name().map(|name| (name, this)));
        open = before;
    }
    if let Some(name) = name {
        found.push((name, open?));
    }
    behind.reverse();
    found.extend(behind);
    Some(found)
}

fn first_level(topic: &str) -> (&str, Option<&str>) {
    match topic.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (topic, None),
    }
}

fn last_level(topic: &str) -> (Option<&str>, &str) {
    match topic.rsplit_once('/') {
        Some((rest, last)) => (Some(rest), last),
        None => (None, topic),
    }
}

impl Level {
    fn parse(text: &str) -> Result<Self, TemplateError> {
        let refused = || TemplateError::Level(text.to_owned());
        let plain = |part: &str| !part.contains(['{', '}', '+', '#']);
        match text {
            "+" => return Ok(Self::One(None)),
            "#" => return Ok(Self::Several(None)),
            _ if plain(text) => return Ok(Self::Literal(text.to_owned())),
            _ => {}
        }
        let inner = text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'));
        let inner = inner.ok_or_else(refused)?;
        let (name, is_several) = match inner.strip_suffix("...") {
            Some(name) => (name, true),
            None => (inner, false),
        };
        if name.is_empty() || !plain(name) {
            return Err(refused());
        }
        let name = Some(name.to_owned());
        Ok(if is_several {
            Self::Several(name)
        } else {
            Self::One(name)
        })
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::One(name) | Self::Several(name) => name.as_deref(),
        }
    }

    /// Whether it stands for this one level.
    fn fits(&self, level: &str) -> bool {
        match self {
            Self::Literal(text) => text == level,
            Self::One(_) | Self::Several(_) => true,
        }
    }
}

impl FromStr for TopicTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() || text.len() > usize::from(u16::MAX) || text.contains('\0') {
            return Err(TemplateError::Length);
        }
        if text.starts_with("$share/") {
            return Err(TemplateError::Shared);
        }
        let levels = text.split('/').map(Level::parse);
        let levels: Vec<Level> = levels.collect::<Result<_, _>>()?;
        let open = |level: &&Level| matches!(level, Level::Several(_));
        if levels.iter().filter(open).count() > 1 {
            return Err(TemplateError::TwoOpen);
        }
        for (place, level) in levels.iter().enumerate() {
            let name = level.name();
            if name.is_some() && levels[..place].iter().any(|other| other.name() == name) {
                return Err(TemplateError::Twice(name.unwrap_or_default().to_owned()));
            }
        }
        Ok(Self {
            text: text.to_owned(),
            levels,
        })
    }
}

impl fmt::Display for TopicTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether a topic of Kafka can have this name.
pub(super) fn is_kafka_topic(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && !matches!(name, "." | "..") && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::{TemplateError, TopicTemplate};

    fn template(text: &str) -> TopicTemplate {
        text.parse().unwrap()
    }

    #[test]
    fn topics_are_taken_apart() {
        // Template, filter, topic, what is found.
        type Case<'a> = (&'a str, &'a str, &'a str, Option<&'a [(&'a str, &'a str)]>);
        let cases: [Case<'_>; 16] = [
            ("a/b", "a/b", "a/b", Some(&[])),
            ("a/b", "a/b", "a/b/c", None),
            ("a/b", "a/b", "a", None),
            (
                "tele/{device}/SENSOR",
                "tele/+/SENSOR",
                "tele/d 1/SENSOR",
                Some(&[("device", "d 1")]),
            ),
            (
                "tele/{device}/SENSOR",
                "tele/+/SENSOR",
                "tele//SENSOR",
                Some(&[("device", "")]),
            ),
            (
                "tele/{device}/SENSOR",
                "tele/+/SENSOR",
                "tele/d/STATE",
                None,
            ),
            (
                "home/{room}/{field}",
                "home/+/+",
                "home/k/t",
                Some(&[("room", "k"), ("field", "t")]),
            ),
            ("z/{d...}", "z/#", "z/a/b/c", Some(&[("d", "a/b/c")])),
            ("z/{d...}", "z/#", "z", None),
            ("z/#", "z/#", "z", Some(&[])),
            ("z/#", "z/#", "z/a/b", Some(&[])),
            (
                "z/{d...}/set/{x}",
                "z/#",
                "z/a/b/set/1",
                Some(&[("d", "a/b"), ("x", "1")]),
            ),
            ("z/{d...}/set/{x}", "z/#", "z/set/1", None),
            ("+/{d}", "+/+", "any/one", Some(&[("d", "one")])),
            ("#", "#", "a/b", Some(&[])),
            ("{d...}", "#", "/a", Some(&[("d", "/a")])),
        ];
        for (text, filter, topic, found) in cases {
            let template = template(text);
            assert_eq!(template.filter(), filter, "{text}");
            assert_eq!(template.matches(topic).as_deref(), found, "{text} {topic}");
        }
    }

    #[test]
    fn templates_that_cannot_work_are_refused() {
        let level = |text: &str| TemplateError::Level(text.to_owned());
        for (text, error) in [
            ("", TemplateError::Length),
            ("a/{b", level("{b")),
            ("a/x{b}", level("x{b}")),
            ("a/{}", level("{}")),
            ("a/{...}", level("{...}")),
            ("a+/b", level("a+")),
            ("{a...}/#", TemplateError::TwoOpen),
            ("{a}/{a}", TemplateError::Twice("a".into())),
            ("$share/g/a", TemplateError::Shared),
        ] {
            assert_eq!(text.parse::<TopicTemplate>(), Err(error), "{text}");
        }
    }

    #[test]
    fn names_are_tags_except_field() {
        let template = template("a/{site}/+/{field}/{path...}");
        assert_eq!(template.tags().collect::<Vec<_>>(), ["site", "path"]);
        assert!(template.names_field());
    }
}
