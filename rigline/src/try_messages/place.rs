//! Finds the place of a problem in a payload.

use std::collections::HashMap;
use std::ops::Range;

use ingester::mapping::RejectedPart;
use model::dead_letter::Reason;
use serde_json::value::RawValue;

/// Characters that are shown around a place.
const AROUND: usize = 30;

/// The part of a payload around a rejected place, and a line with a mark under it; nothing if the place
/// isn't in the payload.
pub(super) fn excerpt(payload: &str, part: &RejectedPart) -> Vec<String> {
    let found = if part.rejection.reason == Reason::NotJson {
        syntax_error(payload)
    } else {
        part.place
            .strip_prefix('/')
            .and_then(|_| value_at(payload, &part.place))
    };
    let Some(place) = found else {
        return Vec::new();
    };
    let start = payload.floor_char_boundary(place.start.saturating_sub(AROUND));
    let end = payload.ceil_char_boundary(
        (place.start + AROUND)
            .max(place.end.min(place.start + 2 * AROUND))
            .min(payload.len()),
    );
    let before = payload[start..place.start].chars().count();
    let width = payload[place.start..place.end.min(end)]
        .chars()
        .count()
        .max(1);
    let shown = payload[start..end].replace(['\n', '\r', '\t'], " ");
    vec![
        shown,
        format!("{}{}", " ".repeat(before), "^".repeat(width)),
    ]
}

/// Where a payload of one line stops being JSON.
fn syntax_error(payload: &str) -> Option<Range<usize>> {
    let error = serde_json::from_str::<&RawValue>(payload).err()?;
    let line: usize = payload
        .split_inclusive('\n')
        .take(error.line().checked_sub(1)?)
        .map(str::len)
        .sum();
    let at =
        payload.floor_char_boundary((line + error.column().saturating_sub(1)).min(payload.len()));
    Some(at..at)
}

/// The bytes of the value that a JSON pointer leads to.
fn value_at(payload: &str, pointer: &str) -> Option<Range<usize>> {
    let mut value: &RawValue = serde_json::from_str(payload).ok()?;
    for key in pointer.split('/').skip(1) {
        let key = key.replace("~1", "/").replace("~0", "~");
        value = if value.get().starts_with('{') {
            let members: HashMap<String, &RawValue> = serde_json::from_str(value.get()).ok()?;
            members.get(&key).copied()?
        } else {
            let elements: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
            elements.get(key.parse::<usize>().ok()?).copied()?
        };
    }
    // A raw value borrows from the payload.
    let start = (value.get().as_ptr() as usize).checked_sub(payload.as_ptr() as usize)?;
    let range = start..start + value.get().len();
    payload.get(range.clone()).map(|_| range)
}

#[cfg(test)]
mod tests {
    use ingester::mapping::RejectedPart;
    use model::dead_letter::{Reason, Rejection};

    use super::excerpt;

    fn marked(payload: &str, reason: Reason, place: &str) -> Vec<String> {
        let part = RejectedPart {
            place: place.into(),
            rejection: Rejection::new(reason, "x"),
        };
        excerpt(payload, &part)
    }

    #[test]
    fn the_place_of_a_problem_is_marked() {
        assert_eq!(
            marked(r#"{"r":[1,{"é":"x"}]}"#, Reason::BadValue, "/r/1"),
            [r#"{"r":[1,{"é":"x"}]}"#, "        ^^^^^^^^^"]
        );
        assert_eq!(
            marked("{\"x\":nan}", Reason::NotJson, ""),
            ["{\"x\":nan}", "      ^"]
        );
        assert_eq!(marked("{}", Reason::BadTopic, ""), [""; 0]);
        assert_eq!(marked("{}", Reason::BadValue, "/absent"), [""; 0]);
        let long = format!("{{\"a\":\"{}\",\"b\":[]}}", "y".repeat(200));
        let shown = marked(&long, Reason::BadValue, "/b");
        assert!(
            shown[0].len() < 70 && shown[0].contains("\"b\":[]"),
            "{shown:?}"
        );
        assert_eq!(shown[1].find('^'), shown[0].find("[]"));
    }
}
