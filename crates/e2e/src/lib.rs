//! The whole pipeline in tests: real servers, real processes, and what became of every reading.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "only tests use it, and a test that can't be set up has to fail"
)]

pub mod alone;
pub mod chain;
pub mod ground;
pub mod pipeline;
pub mod rows;

pub use self::alone::Alone;
pub use self::chain::{Chain, Role};
pub use self::ground::Ground;
pub use self::pipeline::Pipeline;
