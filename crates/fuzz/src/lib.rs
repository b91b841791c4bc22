//! What is run on generated inputs: `make fuzz` (cargo-fuzz) finds them, and a test replays `corpus/`.
//!
//! Each function takes any bytes. It panics if Rigline does, or if a property doesn't hold.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "these are tests, which another program runs"
)]

mod devices;
mod files;
mod lists;
mod requests;

pub use self::devices::{message, mqtt, topic, websocket};
pub use self::files::{passwords, pipeline, rules};
pub use self::lists::element;
pub use self::requests::http;

/// A target: what it is called, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 9] = [
    ("mqtt", mqtt),
    ("websocket", websocket),
    ("topic", topic),
    ("message", message),
    ("element", element),
    ("pipeline", pipeline),
    ("passwords", passwords),
    ("rules", rules),
    ("http", http),
];

/// Splits off the first byte, a choice.
fn choice(data: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((usize::from(*first), rest))
}
