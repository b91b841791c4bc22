//! Short runs of some scenarios, and checks of the lists of scenarios and breaks.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, which print their seeds and figures"
)]

mod scenarios;
