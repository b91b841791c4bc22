//! How far a partition was read, as the queue stores it.

use std::fmt;
use std::str::FromStr;

/// The id that a broker gives a topic when it is made. A topic that is deleted and made again has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicId(pub [u8; 16]);

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A position: `TOPIC_ID:OFFSET`, the id in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The topic that the offset belongs to.
    pub topic: TopicId,
    /// The offset of the next record to read.
    pub next: i64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.topic, self.next)
    }
}

/// A string that isn't a position of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAPosition;

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let (topic, next) = text.split_once(':').ok_or(NotAPosition)?;
        let id = u128::from_str_radix(topic, 16).map_err(|_| NotAPosition)?;
        let next: i64 = next.parse().map_err(|_| NotAPosition)?;
        if topic.len() != 32 || next < 0 {
            return Err(NotAPosition);
        }
        let topic = TopicId(id.to_be_bytes());
        Ok(Self { topic, next })
    }
}

#[cfg(test)]
mod tests {
    use super::{NotAPosition, Position, TopicId};

    #[test]
    fn position_survives_the_queue() {
        let position = Position {
            topic: TopicId(*b"0123456789abcdef"),
            next: 4711,
        };
        let text = position.to_string();
        assert_eq!(text, "30313233343536373839616263646566:4711");
        assert_eq!(text.parse(), Ok(position));
    }

    #[test]
    fn other_strings_are_no_positions() {
        for text in [
            "",
            "4711",
            ":",
            "30:1",
            "30313233343536373839616263646566:-1",
            "x:y",
        ] {
            assert_eq!(text.parse::<Position>(), Err(NotAPosition), "{text}");
        }
    }
}
