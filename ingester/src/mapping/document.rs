//! Finds the samples of a JSON document, and members in it.

use model::dead_letter::{Reason, Rejection};
use model::pipeline::{Each, Pointer};
use serde_json::Value as Json;

/// A part of a document that is one sample.
#[derive(Debug, Clone)]
pub(super) struct Base<'v> {
    pub(super) whole: &'v Json,
    pub(super) value: &'v Json,
    /// The name of the member that it is.
    pub(super) key: Option<&'v str>,
    /// The JSON pointer to it.
    pub(super) place: String,
}

/// What a pointer leads to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found<'v> {
    Value(&'v Json),
    Key(&'v str),
}

/// The samples of a document: what `each` says, otherwise the elements of an array, otherwise the whole.
pub(super) fn bases<'v>(whole: &'v Json, each: Option<&Each>) -> Result<Vec<Base<'v>>, Rejection> {
    let keys = each.map_or(&[][..], |each| &each.keys);
    let place = pointer(keys);
    let value = member(whole, keys).ok_or_else(|| {
        Rejection::new(Reason::MissingValue, format!("the message has no {place}"))
    })?;
    let base = |value, key, place| Base {
        whole,
        value,
        key,
        place,
    };
    match value {
        Json::Object(members) if each.is_some_and(|each| each.members) => {
            let objects = members.iter().filter(|(_, value)| value.is_object());
            let objects = objects.map(|(key, value)| {
                base(
                    value,
                    Some(key.as_str()),
                    format!("{place}/{}", escaped(key)),
                )
            });
            Ok(objects.collect())
        }
        Json::Array(elements) => {
            let elements = elements.iter().enumerate();
            let elements =
                elements.map(|(index, value)| base(value, None, format!("{place}/{index}")));
            Ok(elements.collect())
        }
        Json::Object(_) => Ok(vec![base(value, None, place)]),
        _ if each.is_none() => Ok(vec![base(value, None, place)]),
        _ => Err(Rejection::new(
            Reason::NotObject,
            format!("{place} is neither an array nor an object"),
        )),
    }
}

impl<'v> Base<'v> {
    /// What a pointer leads to; nothing if a member is absent or null.
    pub(super) fn find(&self, pointer: &Pointer) -> Option<Found<'v>> {
        let value = match pointer {
            Pointer::Sample(keys) => member(self.value, keys)?,
            Pointer::Message(keys) => member(self.whole, keys)?,
            Pointer::Key => return self.key.map(Found::Key),
        };
        (!value.is_null()).then_some(Found::Value(value))
    }

    /// The string that a pointer leads to; numbers and booleans as they are written.
    pub(super) fn string(&self, pointer: &Pointer) -> Option<String> {
        match self.find(pointer)? {
            Found::Key(key) => Some(key.to_owned()),
            Found::Value(Json::String(text)) => Some(text.clone()),
            Found::Value(Json::Number(number)) => Some(number.to_string()),
            Found::Value(Json::Bool(value)) => Some(value.to_string()),
            Found::Value(_) => None,
        }
    }

    /// The JSON pointer from the whole document on to where a pointer leads.
    pub(super) fn place_of(&self, at: &Pointer) -> String {
        match at {
            Pointer::Sample(keys) => format!("{}{}", self.place, pointer(keys)),
            Pointer::Message(keys) => pointer(keys),
            Pointer::Key => self.place.clone(),
        }
    }
}

fn member<'v>(value: &'v Json, keys: &[String]) -> Option<&'v Json> {
    keys.iter().try_fold(value, |value, key| match value {
        Json::Object(members) => members.get(key),
        Json::Array(elements) => elements.get(key.parse::<usize>().ok()?),
        _ => None,
    })
}

fn pointer(keys: &[String]) -> String {
    keys.iter().fold(String::new(), |place, key| {
        format!("{place}/{}", escaped(key))
    })
}

/// A key in a JSON pointer (RFC 6901).
pub(super) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
