//! The whole pipeline in tests: real servers, real processes, and what became of every reading.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "only tests use it, and a test that can't be set up has to fail"
)]

pub mod chain;
pub mod rows;

pub use self::chain::{Chain, Role};
