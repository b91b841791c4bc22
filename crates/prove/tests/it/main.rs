//! A short form of the attack, and whether it notices.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, which say their seeds and figures"
)]

mod attacks;
