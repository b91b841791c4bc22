//! Lines of a stream.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The most bytes of a cursor, which is stored as the position.
const MAX_CURSOR: usize = 512;
/// The most bytes of a line besides the item.
const AROUND: usize = 1 << 10;
/// How much of a line is shown in an error.
const SHOWN: usize = 200;

/// An item, and the cursor behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) cursor: Arc<str>,
    pub(super) payload: Bytes,
}

/// A line that ends the session.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LineError {
    #[error("a line isn't an object with a cursor and an item: {0:?}")]
    Unusable(String),
    #[error("a line's cursor is empty, or has more than {MAX_CURSOR} bytes")]
    Cursor,
    #[error("the server says: {0}")]
    Server(String),
}

/// Puts lines together. Of a long one, only the beginning is kept.
#[derive(Debug)]
pub(super) struct Lines {
    limit: usize,
    line: Line,
}

/// A line, or its beginning.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    kept: Vec<u8>,
    is_cut: bool,
}

impl Lines {
    /// For items of up to `max_payload` bytes. Of longer ones more than that is kept, so that they are recognized.
    pub(super) fn new(max_payload: usize) -> Self {
        Self {
            limit: max_payload.saturating_add(AROUND),
            line: Line::default(),
        }
    }

    /// Takes bytes from `piece` until a line has ended. `None`: all were taken.
    pub(super) fn next(&mut self, piece: &mut &[u8]) -> Option<Line> {
        let end = piece.iter().position(|byte| *byte == b'\n');
        let length = end.unwrap_or(piece.len());
        let free = self.limit - self.line.kept.len();
        self.line.kept.extend_from_slice(&piece[..length.min(free)]);
        self.line.is_cut |= length > free;
        *piece = &piece[end.map_or(length, |end| end + 1)..];
        end.map(|_| std::mem::take(&mut self.line))
    }

    /// What came after the last end of a line.
    pub(super) fn rest(self) -> Line {
        self.line
    }
}

#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    cursor: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    invalid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
}

/// A value that is there, also if it is `null`.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// The payload of an item that can't be used. Its text may be JSON where the item wasn't: in place of bytes that aren't
/// UTF-8, it has other characters.
fn never_json(text: String) -> Bytes {
    let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
    Bytes::from(if is_json {
        format!("invalid: {text}")
    } else {
        text
    })
}

impl Line {
    /// The message in it; `None` if it is empty, which shows that the connection is open.
    pub(super) fn message(&self) -> Result<Option<Message>, LineError> {
        let line = self.kept.trim_ascii();
        if line.is_empty() {
            return Ok(None);
        }
        if self.is_cut {
            return self.cut_message().map(Some);
        }
        let parts: Parts = serde_json::from_slice(line).map_err(|_| self.unusable())?;
        if let Some(error) = parts.error {
            return Err(LineError::Server(error.into_owned()));
        }
        let payload = match (parts.item, parts.invalid) {
            (Some(item), _) => Bytes::copy_from_slice(item.get().as_bytes()),
            (None, Some(text)) => never_json(text.into_owned()),
            (None, None) => return Err(self.unusable()),
        };
        let cursor = parts.cursor.ok_or_else(|| self.unusable())?;
        message(&cursor, payload).map(Some)
    }

    /// The beginning of an item that is too large. Its line has to begin with the cursor.
    fn cut_message(&self) -> Result<Message, LineError> {
        let behind = self.kept.strip_prefix(b"{\"cursor\":\"");
        let found = behind.and_then(|rest| {
            let end = rest.iter().position(|byte| *byte == b'"')?;
            let (cursor, rest) = rest.split_at(end);
            let names: [&[u8]; 2] = [b"\",\"item\":", b"\",\"invalid\":"];
            let item = names.iter().find_map(|name| rest.strip_prefix(*name))?;
            Some((str::from_utf8(cursor).ok()?, item))
        });
        let (cursor, item) = found
            .filter(|(cursor, _)| !cursor.contains('\\'))
            .ok_or_else(|| self.unusable())?;
        message(cursor, Bytes::copy_from_slice(item))
    }

    fn unusable(&self) -> LineError {
        let shown = &self.kept[..self.kept.len().min(SHOWN)];
        LineError::Unusable(String::from_utf8_lossy(shown).into_owned())
    }
}

fn message(cursor: &str, payload: Bytes) -> Result<Message, LineError> {
    if cursor.is_empty() || cursor.len() > MAX_CURSOR {
        return Err(LineError::Cursor);
    }
    Ok(Message {
        cursor: cursor.into(),
        payload,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Line, LineError, Lines, MAX_CURSOR};

    fn line(text: &str) -> Line {
        let mut piece = &*format!("{text}\n").into_bytes();
        Lines::new(100).next(&mut piece).unwrap()
    }

    fn payload(text: &str) -> String {
        let message = line(text).message().unwrap().unwrap();
        assert_eq!(&*message.cursor, "a-1");
        String::from_utf8(message.payload.to_vec()).unwrap()
    }

    #[test]
    fn items_are_taken_as_they_are_written() {
        for item in [
            r#"{ "v": 1.0e2 }"#,
            "null",
            "\"\\u0041\"",
            "[]",
            "12345678901234567890.1",
        ] {
            assert_eq!(
                payload(&format!("{{\"cursor\":\"a-1\",\"item\":{item}}}")),
                item
            );
            assert_eq!(
                payload(&format!(
                    " {{\"item\": {item}, \"x\":1, \"cursor\":\"a-1\"}}\r"
                )),
                item
            );
        }
        assert_eq!(
            payload("{\"cursor\":\"a-1\",\"invalid\":\"[\\\"\u{fffd}\\\"]\"}"),
            "invalid: [\"\u{fffd}\"]"
        );
        assert_eq!(
            payload(r#"{"cursor":"a-1","invalid":"{\"a\" nö"}"#),
            "{\"a\" nö"
        );
        assert_eq!(line("").message(), Ok(None));
        assert_eq!(line("\r").message(), Ok(None));
    }

    #[test]
    fn lines_that_cannot_be_used_are_errors() {
        let long = "c".repeat(MAX_CURSOR + 1);
        for (text, is_cursor) in [
            ("hello", false),
            ("{\"item\":1}", false),
            ("{\"cursor\":\"a-1\"}", false),
            ("{\"cursor\":7,\"item\":1}", false),
            ("[1]", false),
            ("{\"cursor\":\"a-1\",\"item\":", false),
            ("{\"cursor\":\"\",\"item\":1}", true),
            (&format!("{{\"cursor\":\"{long}\",\"item\":1}}"), true),
        ] {
            let error = line(text).message().unwrap_err();
            assert_eq!(error == LineError::Cursor, is_cursor, "{text}");
            assert_eq!(
                matches!(error, LineError::Unusable(_)),
                !is_cursor,
                "{text}"
            );
        }
        let error = line("{\"error\":\"it ends early\"}").message().unwrap_err();
        assert_eq!(error.to_string(), "the server says: it ends early");
    }

    #[test]
    fn long_items_are_kept_in_part() {
        for name in ["item", "invalid"] {
            let text = format!(
                "{{\"cursor\":\"a-1\",\"{name}\":\"{}\"}}",
                "x".repeat(5_000)
            );
            let kept = payload(&text);
            assert!(kept.len() > 100 && kept.len() < 2_000, "{}", kept.len());
            assert!(kept.starts_with("\"xxx"));
        }
        for beginning in ["{\"item\":", "{\"cursor\":\"a\\\"1\",\"item\":"] {
            let text = format!("{beginning}\"{}\"}}", "x".repeat(5_000));
            assert!(line(&text).message().is_err(), "{beginning}");
        }
    }

    proptest! {
        #[test]
        fn lines_are_put_together(
            lines in prop::collection::vec("[a-c]{0,9}", 0..9),
            sizes in prop::collection::vec(1_usize..9, 1..4),
        ) {
            let text = [&lines[..], &["rest".to_owned()]].concat().join("\n");
            let (mut found, mut rest, mut put) = (Vec::new(), text.as_bytes(), Lines::new(9));
            for size in sizes.iter().cycle() {
                let (mut piece, behind) = rest.split_at((*size).min(rest.len()));
                while let Some(line) = put.next(&mut piece) {
                    found.push(String::from_utf8(line.kept).unwrap());
                }
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, lines);
            prop_assert_eq!(put.rest().kept, b"rest");
        }
    }
}
