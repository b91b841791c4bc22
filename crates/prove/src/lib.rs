//! The fault-injection suite: scenarios that inject faults into real servers and processes while an
//! oracle accounts for every reading.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "only tests use it, and a test that can't be set up has to fail"
)]

pub mod breaks;
pub mod build;
pub mod environment;
pub mod history;
pub mod message;
pub mod oracle;
#[cfg(rigline_faults)]
pub mod point;
pub mod scenario;
pub mod scenarios;
pub mod traffic;
