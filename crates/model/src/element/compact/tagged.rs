//! Elements of the pipelines beside `rigs`.

use super::Rest;
use crate::element::tagged::Members;
use crate::name::Name;
use crate::sample::{Tags, Value};

/// The members of an element; `None` if it isn't written in this form, or is invalid.
pub(in crate::element) fn decode(element: &[u8]) -> Option<Members<'_>> {
    let mut rest = Rest(str::from_utf8(element).ok()?);
    rest.skip("{\"tags\":{")?;
    let tags = tags(&mut rest)?;
    rest.skip(",\"timestamp\":")?;
    let timestamp = rest.time()?;
    rest.skip(",\"values\":{")?;
    let values = values(&mut rest)?;
    let ingest_time = match rest.skip(",\"ingest_time\":") {
        Some(()) => Some(rest.time()?),
        None => None,
    };
    (rest.0 == "}").then_some(Members {
        tags,
        timestamp,
        ingest_time,
        values,
    })
}

/// The tags, which are in ascending order, and the brace behind them.
fn tags<'a>(rest: &mut Rest<'a>) -> Option<Tags<'a>> {
    let mut tags = Tags::new();
    if rest.skip("}").is_some() {
        return Some(tags);
    }
    loop {
        let name = rest.name()?;
        if tags.last().is_some_and(|(last, _)| *last >= name) {
            return None;
        }
        rest.skip(":")?;
        tags.push((name, rest.name()?));
        if rest.ends_object()? {
            return Some(tags);
        }
    }
}

/// The values, at least one, and the brace behind them.
fn values<'a>(rest: &mut Rest<'a>) -> Option<Vec<(Name<'a>, Value)>> {
    let mut values = Vec::new();
    loop {
        let name = rest.name()?;
        if values.iter().any(|(other, _)| *other == name) {
            return None;
        }
        rest.skip(":")?;
        values.push((name, rest.value()?));
        if rest.ends_object()? {
            return Some(values);
        }
    }
}
