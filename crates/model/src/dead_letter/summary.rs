//! Id, stage and reason of a dead letter, read without the rest of it.

use std::borrow::Cow;

use super::{DeadLetter, Reason};
use crate::stage::Stage;

/// The start of an element.
const ID: &[u8] = b"{\"id\":\"";
/// The marks of dead letters: a mark is the last member, and inside a string its quotes would be escaped.
const MARKS: [(&[u8], Handled); 2] = [
    (b",\"replayed\":\"", Handled::Replayed),
    (b",\"discarded\":\"", Handled::Discarded),
];
/// The end of a marked element, behind the mark's time.
const AFTER_TIME: &[u8] = b"\"}";
/// Lengths of a time: with 0, 3, 6 or 9 digits of a fraction.
const TIMES: [usize; 4] = [20, 24, 27, 30];

/// What was done about a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Handled {
    /// Its input was appended to its list again.
    Replayed,
    /// Its payload was deleted.
    Discarded,
}

impl Handled {
    /// The name of its mark.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }
}

/// What a list of dead letters is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The stage that rejected the input.
    pub stage: Stage,
    /// Why the input can't be used.
    pub reason: Reason,
    /// What was done about it, if anything.
    pub handled: Option<Handled>,
}

impl Summary {
    /// Reads an element. `None` if it isn't a dead letter of Rigline.
    ///
    /// The members are in a fixed order, with stage and reason in front of what the device sent, so that
    /// most of the element needn't be read. An element in another order is decoded as a whole.
    #[must_use]
    pub fn of(element: &[u8]) -> Option<Self> {
        Self::at_start(element).or_else(|| {
            let letter = DeadLetter::decode(element).ok()?;
            Some(Self {
                stage: letter.stage,
                reason: letter.reason,
                handled: letter.handled(),
            })
        })
    }

    fn at_start(element: &[u8]) -> Option<Self> {
        let (_, rest) = string(element.strip_prefix(ID)?)?;
        let (_, rest) = string(rest.strip_prefix(b",\"time\":\"")?)?;
        let (stage, rest) = string(rest.strip_prefix(b",\"stage\":\"")?)?;
        let (reason, _) = string(rest.strip_prefix(b",\"reason\":\"")?)?;
        Some(Self {
            stage: stage.parse().ok()?,
            reason: reason.parse().ok()?,
            handled: mark_of(element),
        })
    }
}

/// The id of a dead letter. `None` if the element isn't a dead letter of Rigline.
#[must_use]
pub fn id_of(element: &[u8]) -> Option<Cow<'_, str>> {
    if let Some((id, _)) = element.strip_prefix(ID).and_then(string) {
        return Some(Cow::Borrowed(id));
    }
    let letter = DeadLetter::decode(element).ok()?;
    Some(Cow::Owned(letter.id))
}

fn mark_of(element: &[u8]) -> Option<Handled> {
    let rest = element.trim_ascii_end().strip_suffix(AFTER_TIME)?;
    let is_mark = |mark: &[u8]| {
        TIMES.iter().any(|length| {
            let before = rest.len().checked_sub(*length);
            before.is_some_and(|before| rest[..before].ends_with(mark))
        })
    };
    let found = MARKS.into_iter().find(|(mark, _)| is_mark(mark));
    found.map(|(_, handled)| handled)
}

/// A string without escapes, up to its quote, and what follows.
fn string(json: &[u8]) -> Option<(&str, &[u8])> {
    let end = json.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    let (text, rest) = json.split_at(end);
    Some((std::str::from_utf8(text).ok()?, rest.strip_prefix(b"\"")?))
}

#[cfg(test)]
mod tests {
    use super::{Handled, Summary, id_of};
    use crate::dead_letter::{DeadLetter, Reason, Rejection, encode};
    use crate::stage::Stage;
    use crate::time::Timestamp;

    #[test]
    fn summaries_are_those_of_the_whole_letters() {
        let now = Timestamp::from_nanos(1_762_093_293_512_345_678);
        for payload in [
            &b"{\"value\":\"}\"}"[..],
            b"",
            &[0xff],
            br#"{"stage":"sink","reason":"future"}"#,
            br#"","stage":"sink","replayed":""#,
        ] {
            for stage in [Stage::Ingester, Stage::Transformer, Stage::Sink] {
                let rejection = Rejection::new(Reason::BadValue, "\"stage\":\"sink\"");
                let letter = encode(stage, &rejection, "\",\"replayed\":\"", payload, now);
                let expected = |handled| Summary {
                    stage,
                    reason: Reason::BadValue,
                    handled,
                };
                assert_eq!(Summary::at_start(&letter), Some(expected(None)));
                let whole = DeadLetter::decode(&letter).unwrap();
                let marked = DeadLetter::marked(&letter, now);
                let discarded = whole.discarded(now);
                for (element, handled) in
                    [(marked, Handled::Replayed), (discarded, Handled::Discarded)]
                {
                    assert_eq!(Summary::at_start(&element), Some(expected(Some(handled))));
                    assert_eq!(id_of(&element).as_deref(), Some(&*whole.id));
                }
            }
        }
    }

    #[test]
    fn letters_in_another_order_are_read_and_other_elements_are_not() {
        let element = br#"{"reason":"past","stage":"sink","id":"7","time":"2025-11-02T14:21:33Z","detail":"","topic":"t","payload":"","replayed":"2025-11-02T14:21:33Z"}"#;
        assert_eq!(id_of(element).as_deref(), Some("7"));
        let found = Summary::of(element).unwrap();
        let Summary {
            stage,
            reason,
            handled,
        } = found;
        assert_eq!(
            (stage, reason, handled),
            (Stage::Sink, Reason::Past, Some(Handled::Replayed))
        );
        for element in [
            &b"hello"[..],
            b"",
            b"{}",
            b"{\"id\":\"",
            br#"{"id":"1","time":"2"}"#,
        ] {
            assert_eq!(Summary::of(element), None);
        }
    }
}
